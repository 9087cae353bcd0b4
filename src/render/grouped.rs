//! What belongs together, in the order in which it comes.

use std::collections::HashMap;
use std::hash::Hash;

/// The items with one key, a group for each key in the order of their first items.
pub(super) fn grouped<T, K: Eq + Hash>(
    items: impl Iterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    let mut places: HashMap<K, usize> = HashMap::new();
    for item in items {
        let place = *places.entry(key(&item)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_in_the_order_of_their_first_items() {
        let groups = grouped("banana".chars(), |c| *c);
        let groups: Vec<String> = groups.into_iter().map(String::from_iter).collect();
        assert_eq!(groups, ["b", "aaa", "nn"]);
        assert!(grouped("".chars(), |c| *c).is_empty());
    }
}
