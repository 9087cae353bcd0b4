//! Several lives of a case as one figure. Pure.

use super::measurement::{Flag, Life, Measurement, Rate, Time};
use super::surroundings::Surroundings;
use crate::stats::{self, LifeMedian};

/// The first life of a case and the others, all of which have a figure, as one: times
/// are those over lives, power and clocks those of the first, and whatever is to be known
/// of one is to be known of all. Lives that scatter by more than `half_width`, relative
/// to their median, disagree.
pub fn united(first: Measurement, others: Vec<Measurement>, half_width: f64) -> Measurement {
    let all = std::iter::once(&first).chain(&others);
    let times: Vec<Time> = all.filter_map(|life| life.time.clone()).collect();
    let mut whole = first;
    for life in others {
        let error = |m: &Measurement| m.verification.max_scaled_error;
        if error(&life) > error(&whole) {
            whole.verification = life.verification;
        }
        life.flags.into_iter().for_each(|flag| whole.flag(flag));
        whole.timed.extend(life.timed);
        whole.surroundings = Surroundings::of_both(whole.surroundings, life.surroundings);
    }
    let Some(time) = Time::over_lives(&times).filter(|time| time.lives.len() > 1) else {
        return whole;
    };
    let medians: Vec<LifeMedian> = time.lives.iter().map(Life::median).collect();
    if stats::scatter_of_lives(&medians).is_some_and(|scatter| scatter > half_width) {
        whole.flag(Flag::LivesDisagree);
    }
    let operations = whole.work.filter(|&work| work > 0);
    whole.gflops = operations.map(|operations| Rate::at(operations, &time));
    whole.gbytes_per_s = whole.bytes.and_then(|bytes| time.gbytes_per_s(bytes));
    whole.time = Some(time);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::measurement::{
        Cache, Clock, IntervalKind, Reason, ReasonCode, Status, Verification,
    };
    use crate::units::{Gflops, Seconds};

    /// Ten samples that do not scatter, of 2·10⁹ operations and 4·10⁹ bytes each.
    fn life(seconds: f64, error: f64, flags: &[Flag]) -> Measurement {
        let id = "matmul/f32/naive/1x1x1".parse().unwrap();
        let time = Time::summarise(&[seconds; 10], Clock::Device, Cache::Hot, 4);
        Measurement {
            work: Some(2_000_000_000),
            bytes: Some(4_000_000_000),
            time,
            verification: Verification {
                max_scaled_error: Some(error),
                ..Verification::NONE
            },
            surroundings: Some(Box::new(Surroundings {
                others_share: Some(error),
                ..Surroundings::default()
            })),
            flags: flags.to_vec(),
            ..Measurement::without_figures(&id, Status::Ok, Reason::new(ReasonCode::Device, ""))
        }
    }

    /// Medians 1, 1.25 and 2 s: logarithms 0, 0.22314 and 0.69315, mean 0.30543, s =
    /// 0.35383, and t(2)·s/√3 = 0.87897.
    #[test]
    fn a_figure_is_the_median_of_its_lives() {
        let first = life(2.0, 0.1, &[Flag::LongDispatch]);
        let others = vec![
            life(1.0, 0.3, &[Flag::LongDispatch, Flag::CpuLoad]),
            life(1.25, 0.2, &[]),
        ];
        let whole = united(first, others, 0.01);
        let time = whole.time.unwrap();
        assert_eq!(time.median_s, Seconds(1.25));
        assert_eq!(time.samples_s.len(), 30);
        assert_eq!(time.samples_s[10], Seconds(1.0));
        let medians: Vec<f64> = time.lives.iter().map(|life| life.median_s.0).collect();
        assert_eq!(medians, [2.0, 1.0, 1.25]);
        let interval = time.interval_s.unwrap();
        assert_eq!(interval.kind, IntervalKind::OverLives);
        assert!((interval.low.0.ln() - (0.30543 - 0.87897)).abs() < 1e-4);
        assert!((interval.high.0.ln() - (0.30543 + 0.87897)).abs() < 1e-4);
        assert_eq!(
            time.interval_in_words().as_deref(),
            Some("95 % over 3 lives")
        );
        let rate = whole.gflops.unwrap();
        assert_eq!(rate.median, Gflops(1.6));
        let slowest = rate.interval.unwrap().low.0;
        assert!((slowest - 2.0 / interval.high.0).abs() < 1e-9);
        assert_eq!(whole.gbytes_per_s, Some(3.2));
        assert_eq!(whole.verification.max_scaled_error, Some(0.3));
        let around = whole.surroundings.unwrap();
        assert_eq!(around.others_share, Some(0.3));
        let expected = [Flag::LongDispatch, Flag::CpuLoad, Flag::LivesDisagree];
        assert_eq!(whole.flags, expected);
    }

    /// Three lives 0.1 % apart have that as their standard deviation.
    #[test]
    fn lives_that_scatter_too_much_disagree() {
        let flags = |half_width| {
            let [a, b, c] = [0.999, 1.0, 1.001].map(|s| life(s, 0.1, &[]));
            united(a, vec![b, c], half_width).flags
        };
        assert_eq!(flags(0.0011), []);
        assert_eq!(flags(0.0009), [Flag::LivesDisagree]);
    }

    #[test]
    fn a_single_life_stays_what_it_is() {
        let only = life(1.0, 0.1, &[]);
        assert_eq!(united(only.clone(), Vec::new(), 0.01), only);
    }
}
