//! Cards that are slower than others of their model.
//!
//! What cards of one model reach scatters by some per cent, from card to card and from
//! case to case. A card is judged once, by all its cases together: by the median of the
//! logarithms of its speed over the median card's. Of these numbers, one a card, the
//! lowest is held against the others by Student's t, with Bonferroni's correction for
//! the number of cards, then the next lowest against the rest, up to a quarter of the
//! cards (Rosner's generalised test, Technometrics 25(2), 1983, of one side: a card
//! that is faster is no defect). A card is named if it is also more than
//! [`ORDINARY_SPREAD`] slower.

use std::collections::BTreeMap;

use super::{mean_and_deviation, median, student_t};

/// Cards of one model differ by 5 % in the ordinary course of manufacture: less is
/// nothing to remark upon.
pub const ORDINARY_SPREAD: f64 = 0.05;
/// Share of fleets of healthy cards, of normal scatter, in which any is named, at most.
const FALSE_ALARMS: f64 = 0.05;
/// Among fewer cards nobody knows which is the odd one: they differ.
pub const FEWEST_TO_NAME: usize = 4;
/// Cards of so many, one at least, are named at most: more are no exception.
const ONE_OF: usize = 4;
/// Of a normal distribution, the standard deviation over the median absolute
/// deviation: 1/Φ⁻¹(3/4).
const PER_MAD: f64 = 1.4826;

/// How the cards of a model lie, over all their cases.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison<K> {
    /// How many there are, two at least.
    pub cards: usize,
    /// How much slower the slowest is than the fastest, as a share of the latter.
    pub range: f64,
    /// Those that are slower than the others, slowest first.
    pub slow: Vec<SlowCard<K>>,
}

/// A card that is slower than others of its model.
#[derive(Clone, Debug, PartialEq)]
pub struct SlowCard<K> {
    /// Which.
    pub card: K,
    /// Cases in which it was held against others.
    pub cases: usize,
    /// How much slower than the median card it is, as a share: the median over cases.
    pub slower: f64,
    /// From how much on it stands out.
    pub limit: f64,
    /// Standard deviation of that share over its cases, from the median absolute
    /// deviation.
    pub scatter: f64,
}

/// A card's place among others: logarithms of its speed over the median card's, case
/// by case.
struct Place<K> {
    card: K,
    cases: Vec<f64>,
    middle: f64,
}

/// Compares cards by their speeds, above 0, in each of several cases. `None` unless two
/// cards have a case in common.
pub fn compare_cards<K: Ord + Copy>(cases: &[Vec<(K, f64)>]) -> Option<Comparison<K>> {
    let mut by_card: BTreeMap<K, Vec<f64>> = BTreeMap::new();
    for case in cases.iter().filter(|case| case.len() > 1) {
        let logarithms: Vec<f64> = case.iter().map(|(_, speed)| speed.ln()).collect();
        let middle = median(&logarithms)?;
        for ((card, _), logarithm) in case.iter().zip(logarithms) {
            by_card.entry(*card).or_default().push(logarithm - middle);
        }
    }
    let place = |(card, cases): (K, Vec<f64>)| {
        let middle = median(&cases)?;
        Some(Place {
            card,
            cases,
            middle,
        })
    };
    let mut places: Vec<Place<K>> = by_card.into_iter().filter_map(place).collect();
    places.sort_by(|a, b| a.middle.total_cmp(&b.middle));
    let middles: Vec<f64> = places.iter().map(|place| place.middle).collect();
    let (slowest, fastest) = (*middles.first()?, *middles.last()?);
    let slow = places.iter().zip(limits_of_the_slow(&middles));
    Some(Comparison {
        cards: places.len(),
        range: -(slowest - fastest).exp_m1(),
        slow: slow
            .map(|(place, limit)| place.slow(&middles, limit))
            .collect(),
    })
}

/// For each of the first of `sorted` that stand out, where it begins to.
fn limits_of_the_slow(sorted: &[f64]) -> Vec<f64> {
    let count = sorted.len();
    if count < FEWEST_TO_NAME {
        return Vec::new();
    }
    let most = count / ONE_OF;
    let middle = median(sorted).unwrap_or(f64::NAN);
    let limits: Vec<f64> = (1..=most)
        .map(|taken| {
            let by_spread = middle + (-ORDINARY_SPREAD).ln_1p();
            lower_limit(&sorted[taken..], FALSE_ALARMS / most as f64).min(by_spread)
        })
        .collect();
    // One that hides another stands out with it.
    let named = (0..most).rev().find(|&at| sorted[at] < limits[at]);
    limits[..named.map_or(0, |last| last + 1)].to_vec()
}

/// Below this one more value, the lowest, would not be of the normal distribution of
/// the `others`: in a share `alarms` of cases it is below all the same.
fn lower_limit(others: &[f64], alarms: f64) -> f64 {
    let Some((mean, deviation)) = mean_and_deviation(others) else {
        return f64::NEG_INFINITY;
    };
    let count = others.len() as f64;
    // Of one side, for each of all the cards.
    let confidence = 1.0 - 2.0 * alarms / (count + 1.0);
    let t = student_t(others.len() - 1, confidence).unwrap_or(f64::INFINITY);
    mean - t * deviation * (1.0 + 1.0 / count).sqrt()
}

impl<K: Copy> Place<K> {
    fn slow(&self, middles: &[f64], limit: f64) -> SlowCard<K> {
        let of_all = median(middles).unwrap_or(f64::NAN);
        let slower = |logarithm: f64| -(logarithm - of_all).exp_m1();
        let apart: Vec<f64> = self
            .cases
            .iter()
            .map(|case| (case - self.middle).abs())
            .collect();
        SlowCard {
            card: self.card,
            cases: self.cases.len(),
            slower: slower(self.middle),
            limit: slower(limit),
            scatter: PER_MAD * median(&apart).unwrap_or(f64::NAN),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_core::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    const NOBODY: [usize; 0] = [];

    fn one_case(speeds: &[f64]) -> Vec<Vec<(usize, f64)>> {
        vec![speeds.iter().copied().enumerate().collect()]
    }

    fn named(cases: &[Vec<(usize, f64)>]) -> Vec<usize> {
        let found = compare_cards(cases).expect("several cards");
        found.slow.iter().map(|slow| slow.card).collect()
    }

    /// By hand, of 100, 101, 99, 100 and 90: the others' logarithms are 0, 0.00995,
    /// −0.01005 and 0 above that of 100, mean −0.00002, standard deviation 0.00817;
    /// t of 3 degrees of freedom at 1 − 0.05/5 is 4.541, so that the limit is −0.00002 −
    /// 4.541·0.00817·√1.25 = −0.0415, which is 4.1 %, and the ordinary 5 % count. 90 is
    /// 10 % slower; from 90 to 101 it is 10.9 %.
    #[test]
    fn a_slow_card_is_named() {
        let found = compare_cards(&one_case(&[100.0, 101.0, 99.0, 100.0, 90.0])).unwrap();
        assert_eq!(found.cards, 5);
        assert!((found.range - 11.0 / 101.0).abs() < 1e-9);
        let [slow] = &found.slow[..] else {
            panic!("{found:?}");
        };
        assert_eq!((slow.card, slow.cases, slow.scatter), (4, 1, 0.0));
        assert!((slow.slower - 0.1).abs() < 1e-9, "{slow:?}");
        assert!((slow.limit - 0.05).abs() < 1e-9, "{slow:?}");
    }

    /// The limit by hand, of 104, 97, 100, 102 and 80: the others' logarithms over 100
    /// are 0.039221, −0.030459, 0 and 0.019803, mean 0.007141, standard deviation
    /// 0.029744; −0.143862 = 0.007141 − 4.5407·0.029744·√1.25, which is 13.40 % below
    /// the median card's 100.
    #[test]
    fn the_limit_follows_the_scatter_of_the_others() {
        let found = compare_cards(&one_case(&[104.0, 97.0, 100.0, 102.0, 80.0])).unwrap();
        let [slow] = &found.slow[..] else {
            panic!("{found:?}");
        };
        assert!((slow.limit - 0.1340).abs() < 5e-5, "{slow:?}");
        assert_eq!(named(&one_case(&[104.0, 97.0, 100.0, 102.0, 88.0])), NOBODY);
    }

    #[test]
    fn faster_is_no_defect_and_of_three_nobody_is_named() {
        assert_eq!(
            named(&one_case(&[100.0, 100.0, 100.0, 100.0, 150.0])),
            NOBODY
        );
        let three = compare_cards(&one_case(&[100.0, 100.0, 50.0])).unwrap();
        assert_eq!(three.slow, []);
        assert!((three.range - 0.5).abs() < 1e-9);
        assert_eq!(named(&one_case(&[90.0, 90.0, 100.0])), NOBODY);
        assert_eq!(compare_cards(&one_case(&[100.0])), None);
        assert_eq!(compare_cards::<usize>(&[]), None);
    }

    /// Two slow cards of eight spread the others, and are named all the same; three of
    /// eight are more than a quarter.
    #[test]
    fn slow_cards_do_not_hide_one_another() {
        let mut speeds = [100.0, 100.5, 99.5, 100.2, 99.8, 100.1, 90.0, 89.0];
        assert_eq!(named(&one_case(&speeds)), [7, 6]);
        speeds[5] = 89.5;
        assert_eq!(named(&one_case(&speeds)), NOBODY);
    }

    /// A card that is slow in one case of three is not slow; one that is slow in two is.
    #[test]
    fn a_card_is_judged_by_all_its_cases() {
        let usual = [100.0, 101.0, 99.0, 100.0, 100.0];
        let slow = [100.0, 101.0, 99.0, 100.0, 80.0];
        let cases = |cases: [[f64; 5]; 3]| cases.map(|case| one_case(&case).remove(0));
        assert_eq!(named(&cases([usual, usual, slow])), NOBODY);
        assert_eq!(named(&cases([usual, slow, slow])), [4]);
        // A case that a card alone has tells nothing.
        let mut alone = cases([usual, slow, slow]).to_vec();
        alone.push(vec![(4, 1e9)]);
        assert_eq!(compare_cards(&alone).unwrap().slow[0].cases, 3);
    }

    /// A standard normal value, by Box and Muller.
    fn normal(rng: &mut impl Rng) -> f64 {
        let [u, v] = [0; 2].map(|_| (rng.next_u32() as f64 + 0.5) / 4_294_967_296.0);
        (-2.0 * f64::ln(u)).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Cards of which each has a speed of its own, of this standard deviation, and half
    /// as much on top in every one of 14 cases; the first is slower by `slow`.
    fn fleet(rng: &mut impl Rng, cards: usize, spread: f64, slow: f64) -> Vec<Vec<(usize, f64)>> {
        let own: Vec<f64> = (0..cards).map(|_| spread * normal(rng)).collect();
        let case = |rng: &mut _| {
            let speed = |(card, own): (usize, &f64)| {
                let slower = if card == 0 { 1.0 - slow } else { 1.0 };
                (card, slower * (own + 0.5 * spread * normal(rng)).exp())
            };
            own.iter().enumerate().map(speed).collect()
        };
        (0..14).map(|_| case(rng)).collect()
    }

    /// How many of 100 fleets have the first card named, and any other.
    fn simulated(cards: usize, spread: f64, slow: f64) -> [f64; 2] {
        const FLEETS: usize = 600;
        let mut rng = Pcg64Mcg::seed_from_u64(cards as u64);
        let mut counts = [0.0; 2];
        for _ in 0..FLEETS {
            let named = named(&fleet(&mut rng, cards, spread, slow));
            counts[0] += f64::from(u8::from(named.contains(&0)));
            counts[1] += f64::from(u8::from(named.iter().any(|&card| card != 0)));
        }
        counts.map(|count| 100.0 * count / FLEETS as f64)
    }

    /// The requirement is 5 of 100; of 600 fleets three standard errors are 2.7.
    #[test]
    fn healthy_cards_are_named_in_no_more_fleets_than_allowed() {
        println!("healthy fleets of 14 cases in which a card is named, of 100");
        println!("cards  spread 1 %   1.5 %     2 %     3 %");
        for cards in [3, 4, 5, 8, 16, 32, 64] {
            let named = [0.01, 0.015, 0.02, 0.03].map(|spread| {
                let [first, others] = simulated(cards, spread, 0.0);
                first + others
            });
            let [one, more, two, three] = named;
            println!("{cards:5}  {one:10.1}  {more:6.1}  {two:6.1}  {three:6.1}");
            let most = if cards == 3 { 0.0 } else { 5.0 + 2.7 };
            assert!(
                named.iter().all(|share| *share <= most),
                "{cards}: {named:?}"
            );
        }
    }

    #[test]
    fn a_card_that_is_8_percent_slow_is_found_among_five_and_more() {
        println!("one card 8 % slow, spread 1 %: found, and another named, of 100 fleets");
        for cards in [3, 4, 5, 6, 8, 16, 32, 64] {
            let [found, others] = simulated(cards, 0.01, 0.08);
            println!("{cards:5}  {found:6.1}  {others:6.1}");
            let least = match cards {
                3 => 0.0,
                4 => 50.0,
                _ => 90.0,
            };
            assert!(found >= least && others <= 5.0, "{cards}: {found} {others}");
            assert!(cards > 3 || found == 0.0);
        }
    }
}
