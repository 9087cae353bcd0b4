//! Student's t distribution.

use std::f64::consts::FRAC_PI_2;

/// The t that a variable of Student's distribution with `freedom` degrees of freedom
/// stays within, either side of 0, with probability `confidence`: the factor for a mean
/// of `freedom` + 1 values. `None` without a degree of freedom.
pub fn student_t(freedom: usize, confidence: f64) -> Option<f64> {
    if freedom == 0 || !(0.0..1.0).contains(&confidence) {
        return None;
    }
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    // As often as halving still changes the angle.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if within(freedom, middle) < confidence {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some((freedom as f64).sqrt() * ((low + high) / 2.0).tan())
}

/// P(|T| ≤ √ν·tan θ) for ν degrees of freedom (Abramowitz and Stegun, Handbook of
/// Mathematical Functions, 26.7.3 and 26.7.4).
fn within(freedom: usize, angle: f64) -> f64 {
    let (sine, cosine) = angle.sin_cos();
    let is_odd = freedom % 2 == 1;
    let first = if is_odd { cosine } else { 1.0 };
    let (mut term, mut sum) = (first, 0.0);
    for i in (usize::from(is_odd)..freedom.saturating_sub(1)).step_by(2) {
        sum += term;
        term *= cosine * cosine * (i + 1) as f64 / (i + 2) as f64;
    }
    match is_odd {
        true => (angle + sine * sum) / FRAC_PI_2,
        false => sine * sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The textbook's two-sided values. In closed form: for 1 degree of freedom
    /// tan(0.475π), and for 2 of them √(2·0.95²/(1 − 0.95²)).
    #[test]
    fn factors_are_those_of_the_tables() {
        let tables = [
            (1, 12.7062),
            (2, 4.3027),
            (3, 3.1824),
            (4, 2.7764),
            (5, 2.5706),
            (7, 2.3646),
            (10, 2.2281),
            (30, 2.0423),
            (1000, 1.9623),
        ];
        for (freedom, expected) in tables {
            let t = student_t(freedom, 0.95).unwrap();
            assert!((t - expected).abs() < 1e-4, "{freedom}: {t}");
        }
        let t = student_t(3, 0.99).unwrap();
        assert!((t - 5.8409).abs() < 1e-4, "{t}");
        assert_eq!(student_t(0, 0.95), None);
        assert_eq!(student_t(3, 1.0), None);
    }
}
