//! The trend of a series of samples over time.

use super::{median, student_t};

/// How fast a series rises, relative to its median, per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Theil–Sen slope: the median of the slopes between all pairs of samples.
    pub per_s: f64,
    /// Half the width of its 99.8 % interval: 3.1 standard errors, and more where
    /// there are few samples.
    pub half_width_per_s: f64,
}

/// One sample: when, in seconds, and what.
pub type Point = (f64, f64);

/// Confidence of a slope's interval.
const CONFIDENCE: f64 = 0.998;
/// With fewer points nothing is said.
const LEAST_POINTS: usize = 6;
/// Neighbours are merged until no more points than this are left, since there are
/// n²/2 pairs of them.
const MOST_POINTS: usize = 100;
/// Pieces of a stretch whose lines differ …
const PIECES: usize = 4;
/// … of so many points at least.
const LEAST_PIECE: usize = 25;
/// … which count where they leave less than this share of what one line leaves.
const BENT: f64 = 0.75;
/// Standard deviation of a normal distribution over its median absolute deviation,
/// 1/Φ⁻¹(3/4).
const OVER_MAD: f64 = 1.4826;

impl Trend {
    /// The slope that `stretches` of one series have in common, each at a level of
    /// its own. `None` below six points.
    ///
    /// The interval follows from the noise: least squares would have the standard
    /// error s/√Σ(t − t̄)², of which the Theil–Sen slope's is within 5 % for normal
    /// noise; noise with a correlation ρ between neighbours, taken as a first-order
    /// process, carries (1 − ρ)/(1 + ρ) as much information. Single outliers hardly
    /// move s and ρ.
    pub fn of(stretches: &[&[Point]]) -> Option<Self> {
        let all: usize = stretches.iter().map(|points| points.len()).sum();
        let size = all.div_ceil(MOST_POINTS).max(1);
        let merged: Vec<Vec<Point>> = stretches.iter().map(|s| merge(s, size)).collect();
        let n: usize = merged.iter().map(Vec::len).sum();
        let values: Vec<f64> = merged.iter().flatten().map(|(_, value)| *value).collect();
        let level = median(&values)?;
        if n < LEAST_POINTS || level <= 0.0 {
            return None;
        }
        let slopes: Vec<f64> = merged.iter().flat_map(|s| slopes(s)).collect();
        let slope = median(&slopes)?;
        let noise = Noise::of(&merged)?;
        let informed = (1.0 - noise.correlation) / (1.0 + noise.correlation);
        let spread: f64 = merged.iter().map(|s| sum_of_squares(s)).sum();
        let error = noise.scale / (spread * informed).sqrt();
        // A slope and the stretches' levels are estimated.
        let freedom = ((n as f64 * informed) as usize).saturating_sub(merged.len() + 1);
        let errors = student_t(freedom.max(1), CONFIDENCE)?;
        Some(Self {
            per_s: slope / level,
            half_width_per_s: errors * error / level,
        })
    }

    /// Whether it is shown to be below `bound`.
    pub fn is_below(&self, bound_per_s: f64) -> bool {
        self.per_s.abs() + self.half_width_per_s <= bound_per_s
    }

    /// Whether it is shown to be there.
    pub fn is_significant(&self) -> bool {
        self.per_s.abs() > self.half_width_per_s
    }
}

/// Means of `size` neighbours each.
fn merge(points: &[Point], size: usize) -> Vec<Point> {
    let merged = |group: &[Point]| {
        let times: f64 = group.iter().map(|(t, _)| t).sum();
        let values: Vec<f64> = group.iter().map(|(_, value)| *value).collect();
        let value = median(&values);
        (times / group.len() as f64, value.unwrap_or(f64::NAN))
    };
    points.chunks(size).map(merged).collect()
}

/// Slopes between all pairs of points.
fn slopes(points: &[Point]) -> Vec<f64> {
    let mut slopes = Vec::new();
    for (i, (from, low)) in points.iter().enumerate() {
        let later = points[i + 1..].iter().filter(|(to, _)| to > from);
        slopes.extend(later.map(|(to, high)| (high - low) / (to - from)));
    }
    slopes
}

/// What is left of a series without its trend.
struct Noise {
    /// Standard deviation.
    scale: f64,
    /// Correlation between neighbours, from 0 up.
    correlation: f64,
}

impl Noise {
    /// What is left of each stretch by a line of its own; or, where the trend is bent,
    /// by lines through pieces of it: what a single line leaves of an exponential fall
    /// would pass for correlated noise.
    fn of(stretches: &[Vec<Point>]) -> Option<Self> {
        let whole = Self::of_pieces(stretches.iter().map(Vec::as_slice))?;
        let pieces = stretches.iter().flat_map(|points| {
            let pieces = (points.len() / LEAST_PIECE).clamp(1, PIECES);
            points.chunks(points.len().div_ceil(pieces).max(1))
        });
        let pieces = Self::of_pieces(pieces).filter(|noise| noise.scale < BENT * whole.scale);
        Some(pieces.unwrap_or(whole))
    }

    fn of_pieces<'p>(pieces: impl Iterator<Item = &'p [Point]>) -> Option<Self> {
        let pieces: Vec<Vec<f64>> = pieces.filter(|p| p.len() > 2).map(residuals).collect();
        let sizes: Vec<f64> = pieces.iter().flatten().map(|r| r.abs()).collect();
        let scale = OVER_MAD * median(&sizes)?;
        // The median finds the outliers, and the mean square of the rest scatters less.
        let squares = pieces.iter().flatten().map(|r| cut(*r, scale).powi(2));
        let points: usize = pieces.iter().map(Vec::len).sum();
        let freedom = points.saturating_sub(2 * pieces.len()).max(1);
        let deviation = (squares.sum::<f64>() / freedom as f64).sqrt();
        let correlations: Vec<f64> = pieces.iter().map(|p| correlation(p, scale)).collect();
        let correlation = median(&correlations)?;
        // Two standard errors of the correlation of independent noise.
        let is_seen = correlation > 2.0 / (points as f64).sqrt();
        Some(Self {
            scale: deviation,
            correlation: if is_seen { correlation } else { 0.0 },
        })
    }
}

/// What the points' own line leaves.
fn residuals(points: &[Point]) -> Vec<f64> {
    let slope = median(&slopes(points)).unwrap_or(0.0);
    let mut rest: Vec<f64> = points.iter().map(|(t, x)| x - slope * t).collect();
    let level = median(&rest).unwrap_or(0.0);
    rest.iter_mut().for_each(|x| *x -= level);
    rest
}

/// A residual, or three times the scale where it is an outlier.
fn cut(residual: f64, scale: f64) -> f64 {
    residual.clamp(-3.0 * scale, 3.0 * scale)
}

/// Correlation between neighbours, of residuals cut to three times their `scale`. A
/// level and a slope that are fitted to n points lower it by (2 + 4ρ)/n, which is made
/// good.
fn correlation(residuals: &[f64], scale: f64) -> f64 {
    let cut: Vec<f64> = residuals.iter().map(|r| cut(*r, scale)).collect();
    let squares: f64 = cut.iter().map(|r| r * r).sum();
    if squares <= 0.0 {
        return 0.0;
    }
    let products: f64 = cut.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let seen = products / squares;
    (seen + (2.0 + 4.0 * seen) / cut.len() as f64).clamp(0.0, 0.98)
}

/// Σ(t − t̄)².
fn sum_of_squares(points: &[Point]) -> f64 {
    let mean = points.iter().map(|(t, _)| t).sum::<f64>() / points.len().max(1) as f64;
    points.iter().map(|(t, _)| (t - mean).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 + 0.01·t over ten seconds: a slope of 0.01 on a median of 1.05, exactly.
    #[test]
    fn a_line_has_its_slope_and_no_uncertainty() {
        let points: Vec<Point> = (0..=20)
            .map(|i| f64::from(i) / 2.0)
            .map(|t| (t, 1.0 + 0.01 * t))
            .collect();
        let trend = Trend::of(&[&points]).unwrap();
        assert!((trend.per_s - 0.01 / 1.05).abs() < 1e-12, "{trend:?}");
        assert!(trend.half_width_per_s < 1e-12, "{trend:?}");
        assert!(trend.is_significant() && !trend.is_below(0.009) && trend.is_below(0.01));
        assert_eq!(Trend::of(&[&points[..5]]), None);
    }

    /// Deviations of 1, −1, … have no positive correlation, and s = √(60/58) = 1.0171.
    /// Of 60 points a second apart Σ(t − t̄)² = 60·(60² − 1)/12 = 17 995, and Student's t
    /// for 58 degrees of freedom at 99.8 % is 3.237: 1.0171·3.237/√17995 = 0.024 54 on a
    /// level of 100.
    #[test]
    fn the_uncertainty_is_that_of_least_squares() {
        let noise = |i: i32| if i % 2 == 0 { 1.0 } else { -1.0 };
        let points: Vec<Point> = (0..60).map(|i| (f64::from(i), 100.0 + noise(i))).collect();
        let trend = Trend::of(&[&points]).unwrap();
        assert!(
            (trend.half_width_per_s - 2.454e-4).abs() < 2e-6,
            "{trend:?}"
        );
        assert!(!trend.is_significant(), "{trend:?}");
    }

    /// One sample in ten is five times as long, most of them late.
    #[test]
    fn outliers_are_no_trend() {
        let value = |i: i32| {
            if i > 80 && i % 2 == 0 {
                5.0
            } else {
                1.0 + 0.01 * f64::from(i % 7)
            }
        };
        let points: Vec<Point> = (0..100).map(|i| (f64::from(i), value(i))).collect();
        assert!(!Trend::of(&[&points]).unwrap().is_significant());
    }

    #[test]
    fn each_stretch_has_a_level_of_its_own() {
        let stretch = |level: f64| (0..30).map(f64::from).map(move |t| (t, level + 0.1 * t));
        let (low, high): (Vec<Point>, Vec<Point>) =
            (stretch(10.0).collect(), stretch(20.0).collect());
        let trend = Trend::of(&[&low, &high]).unwrap();
        // The median of both is (12.9 + 20)/2.
        assert!((trend.per_s - 0.1 / 16.45).abs() < 1e-9, "{trend:?}");
    }
}
