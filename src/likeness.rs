//! Which of the known names somebody may have meant.

use std::collections::HashSet;

/// Names that look less like a text than this look nothing like it.
const LEAST: f64 = 0.25;

/// Letters of a name that are compared: each of a file's many names costs no more.
const COMPARED: usize = 100;

/// How alike two names look: the share of letter pairs that they have in
/// common, from 0 to 1 (the Sørensen–Dice coefficient).
pub(crate) fn likeness(a: &str, b: &str) -> f64 {
    let pairs = |text: &str| -> HashSet<(char, char)> {
        let letters: Vec<char> = text
            .chars()
            .flat_map(char::to_lowercase)
            .filter(|c| c.is_alphanumeric())
            .take(COMPARED)
            .collect();
        letters.windows(2).map(|pair| (pair[0], pair[1])).collect()
    };
    let (a, b) = (pairs(a), pairs(b));
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    2.0 * a.intersection(&b).count() as f64 / (a.len() + b.len()) as f64
}

/// Up to `count` of the candidates that look most like something, by their `score`,
/// best first; those that look nothing like it are left out.
pub(crate) fn nearest<T>(
    candidates: impl IntoIterator<Item = T>,
    score: impl Fn(&T) -> f64,
    count: usize,
) -> Vec<T> {
    let scored = candidates.into_iter().map(|one| (score(&one), one));
    let mut scored: Vec<(f64, T)> = scored.filter(|(score, _)| *score >= LEAST).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.truncate(count);
    scored.into_iter().map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// night: ni ig gh ht; nacht: na ac ch ht: one of four and four.
    #[test]
    fn likeness_is_the_share_of_common_letter_pairs() {
        assert_eq!(likeness("night", "nacht"), 0.25);
        assert_eq!(likeness("RTX-4090", "rtx 4090"), 1.0);
        assert_eq!(likeness("a", "a"), 0.0, "no pair");
    }

    #[test]
    fn the_nearest_come_first_and_what_is_unlike_is_left_out() {
        let names = ["attention", "matmul", "matrix", "peak"];
        let near = nearest(names, |name| likeness("matmull", name), 5);
        assert_eq!(near, ["matmul", "matrix"]);
        assert_eq!(nearest(names, |name| likeness("matmull", name), 1).len(), 1);
    }
}
