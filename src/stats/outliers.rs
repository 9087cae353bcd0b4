//! Values that lie apart from the others.

use super::median;

/// Robust standard deviations from which on a value lies apart (Iglewicz and Hoaglin,
/// How to Detect and Handle Outliers, 1993).
const DEVIATIONS: f64 = 3.5;
/// Of a normal distribution, the standard deviation over the median absolute
/// deviation: 1/Φ⁻¹(3/4).
const PER_MAD: f64 = 1.4826;

/// The positions of values that lie apart, and how far each is from the median, as a
/// share of it: farther than `least`, and than 3.5 standard deviations as the median
/// absolute deviation estimates them, which a minority of outliers cannot move. None
/// below three values: of two that differ nobody knows which is out.
pub fn outliers(values: &[f64], least: f64) -> Vec<(usize, f64)> {
    let Some(centre) = median(values).filter(|&centre| values.len() > 2 && centre > 0.0) else {
        return Vec::new();
    };
    let deviations: Vec<f64> = values.iter().map(|value| value / centre - 1.0).collect();
    let sizes: Vec<f64> = deviations.iter().map(|d| d.abs()).collect();
    let spread = DEVIATIONS * PER_MAD * median(&sizes).unwrap_or(0.0);
    let bound = spread.max(least);
    let apart = deviations.into_iter().enumerate();
    apart
        .filter(|(_, deviation)| deviation.abs() > bound)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: the median of the seven is 100, the deviations are 0, 1, 1, 2, 2, 1
    /// and 12 %, their median 1 %, and 3.5 robust deviations are 5.2 %.
    #[test]
    fn a_value_far_from_the_others_is_out() {
        let values = [100.0, 101.0, 99.0, 102.0, 98.0, 101.0, 88.0];
        let out = outliers(&values, 0.05);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].0, 6);
        assert!((out[0].1 + 0.12).abs() < 1e-12, "{out:?}");
        assert!(outliers(&values[..6], 0.05).is_empty());
    }

    /// By hand: around 100 the deviations of 90, 95, 100, 105 and 112 are 10, 5, 0, 5
    /// and 12 %, their median 5 %, and 3.5 robust deviations are 26 %.
    #[test]
    fn where_all_are_scattered_none_is_out() {
        assert!(outliers(&[90.0, 95.0, 100.0, 105.0, 112.0], 0.05).is_empty());
    }

    /// Two of three alike leave no scatter at all; the least bound is what counts.
    #[test]
    fn the_least_bound_holds_where_there_is_no_scatter() {
        assert_eq!(outliers(&[100.0, 100.0, 94.0], 0.05).len(), 1);
        assert!(outliers(&[100.0, 100.0, 96.0], 0.05).is_empty());
    }

    #[test]
    fn of_two_nobody_knows_which_is_out() {
        assert!(outliers(&[100.0, 50.0], 0.05).is_empty());
        assert!(outliers(&[], 0.05).is_empty());
        assert!(outliers(&[0.0, 0.0, 1.0], 0.05).is_empty(), "no share of 0");
    }
}
