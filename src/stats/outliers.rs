//! Values that lie apart from the others.

use super::median;

/// Robust standard deviations from which on a value lies apart (Iglewicz and Hoaglin,
/// How to Detect and Handle Outliers, 1993).
const DEVIATIONS: f64 = 3.5;
/// Of a normal distribution, the standard deviation over the median absolute
/// deviation: 1/Φ⁻¹(3/4).
const PER_MAD: f64 = 1.4826;

/// Fewer values than this do not show which of them is the odd one.
const FEWEST: usize = 3;

/// What lies apart among values, in shares of their median.
#[derive(Clone, Debug, PartialEq)]
pub struct Outliers {
    /// How far from the median a value may be.
    pub bound: f64,
    /// Position and deviation of each that is farther.
    pub found: Vec<(usize, f64)>,
}

/// The values that are farther from their median than `least`, and than 3.5 standard
/// deviations as the median absolute deviation estimates them, which a minority of
/// outliers cannot move. `None` below three values, of which nobody knows which is out,
/// and where the median is not above 0.
pub fn outliers(values: &[f64], least: f64) -> Option<Outliers> {
    let centre = median(values).filter(|&centre| values.len() >= FEWEST && centre > 0.0)?;
    let deviations: Vec<f64> = values
        .iter()
        .map(|value| (value - centre) / centre)
        .collect();
    let sizes: Vec<f64> = deviations.iter().map(|d| d.abs()).collect();
    let bound = (DEVIATIONS * PER_MAD * median(&sizes)?).max(least);
    let found = deviations.into_iter().enumerate();
    Some(Outliers {
        found: found.filter(|(_, d)| d.abs() > bound).collect(),
        bound,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: the median of the seven is 100, the deviations are 0, 1, 1, 2, 2, 1
    /// and 12 %, their median 1 %, and 3.5 robust deviations are 5.2 %.
    #[test]
    fn a_value_far_from_the_others_is_out() {
        let values = [100.0, 101.0, 99.0, 102.0, 98.0, 101.0, 88.0];
        let out = outliers(&values, 0.05).unwrap().found;
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].0, 6);
        assert!((out[0].1 + 0.12).abs() < 1e-12, "{out:?}");
        assert!(outliers(&values[..6], 0.05).unwrap().found.is_empty());
    }

    /// By hand: around 100 the deviations of 90, 95, 100, 105 and 112 are 10, 5, 0, 5
    /// and 12 %, their median 5 %, and 3.5 robust deviations are 26 %.
    #[test]
    fn where_all_are_scattered_none_is_out() {
        let scattered = outliers(&[90.0, 95.0, 100.0, 105.0, 112.0], 0.05);
        assert!(scattered.unwrap().found.is_empty());
    }

    /// Two of three alike leave no scatter at all; the least bound is what counts.
    #[test]
    fn the_least_bound_holds_where_there_is_no_scatter() {
        let found = |values: &[f64]| outliers(values, 0.05).unwrap().found.len();
        assert_eq!(found(&[100.0, 100.0, 94.0]), 1);
        assert_eq!(found(&[100.0, 100.0, 96.0]), 0);
    }

    #[test]
    fn of_two_nobody_knows_which_is_out() {
        assert_eq!(outliers(&[100.0, 50.0], 0.05), None);
        assert_eq!(outliers(&[], 0.05), None);
        assert_eq!(outliers(&[0.0, 0.0, 1.0], 0.05), None, "no share of 0");
    }

    /// Median 100, deviations 1 0 0 1 20 %: their median is 1, and 3.5 · 1.4826 · 1 =
    /// 5.19 %.
    #[test]
    fn one_slow_card_among_alike_ones_stands_out() {
        let out = outliers(&[101.0, 100.0, 100.0, 99.0, 80.0], 0.05).unwrap();
        assert!((out.bound - 0.051891).abs() < 1e-14);
        assert_eq!(out.found, [(4, -0.2)]);
    }

    /// Median 100, deviations 20 10 0 10 20 % are usual here: the bound is 51.9 %.
    #[test]
    fn cards_that_all_differ_hide_none() {
        let out = outliers(&[80.0, 90.0, 100.0, 110.0, 120.0], 0.05).unwrap();
        assert!((out.bound - 0.51891).abs() < 1e-11);
        assert_eq!(out.found, []);
    }

    #[test]
    fn small_differences_are_no_outliers() {
        let alike = outliers(&[100.0, 100.0, 100.0, 95.5], 0.05).unwrap();
        assert_eq!((alike.bound, alike.found.len()), (0.05, 0));
    }
}
