//! Which clock a case is timed by: the device's timestamps, once they have been
//! shown to agree with the wall clock, else the host's.

use super::measurement::{Clock, Flag};
use crate::gpu::device::{Batch, Series};
use crate::stats;
use crate::units::Seconds;

/// Device time may exceed wall time by this much, for the two clocks' rates.
const RATE_TOLERANCE: f64 = 1e-3;
/// Wall time may exceed device time by this share of it: frequency of clocks,
/// scheduling of the waiting thread.
const UNEXPLAINED_SHARE: f64 = 0.10;
/// … and by this many submit overheads.
const UNEXPLAINED_OVERHEADS: f64 = 5.0;
/// … and by this much at least, a time slice of the host's scheduler.
const UNEXPLAINED_FLOOR: Seconds = Seconds(0.004);

/// The rates of the two clocks may differ by this share.
const SAME_RATE: f64 = 0.005;
/// A batch that takes this long shows a difference of [`SAME_RATE`] beyond
/// [`UNEXPLAINED_FLOOR`] by itself.
const LONG_BATCH: Seconds = Seconds(UNEXPLAINED_FLOOR.0 / SAME_RATE);
/// The lowest of so many batches tell what a batch costs beyond its dispatches.
const LOWEST: usize = 3;
/// Share of the time of its dispatches that a batch may lack.
const LACKING: f64 = 0.05;

/// The clock that was chosen for a case, and what is to be said about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Whose clock.
    pub clock: Clock,
    /// Why the host's, or that the device's is not proven.
    pub flag: Option<Flag>,
}

impl Choice {
    /// The host's, since the device's is not to be trusted.
    pub const REJECTED: Self = Self {
        clock: Clock::Host,
        flag: Some(Flag::TimestampsRejected),
    };
}

/// Batches of two sizes by which the device's clock is held against the host's: what a
/// batch costs beyond its dispatches is the same for both, so that only the rates of
/// the clocks are left in the difference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Dispatches of the small ones.
    pub few: u32,
    /// Dispatches of the large ones.
    pub many: u32,
    /// The small ones.
    pub small: Vec<Batch>,
    /// The large ones.
    pub large: Vec<Batch>,
}

/// What a comparison says of the device's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// It runs as the host's does.
    Proven,
    /// It does not.
    Refuted,
    /// The host's clock was disturbed too much to tell.
    Open,
}

impl Comparison {
    /// Whether more batches would make it surer.
    pub fn is_short(&self) -> bool {
        let is_long = |batch: &Batch| batch.wall >= LONG_BATCH;
        self.small.is_empty() || self.large.len() < LOWEST && !self.large.iter().any(is_long)
    }

    /// What the device's clock counts in one second of the host's, between what and
    /// what. `None` where timestamps are missing, or larger batches take no longer.
    ///
    /// A batch takes the host longer than the device by what submitting and waking up
    /// cost. That is never negative and has a floor, which the lowest of the batches
    /// are near, and the difference between the lowest and the third tells how near. A
    /// wrong rate moves the floors of the two sizes apart, by its share of the
    /// difference in time.
    pub fn rate(&self) -> Option<[f64; 2]> {
        let (small, large) = (
            timed(&self.small, self.few)?,
            timed(&self.large, self.many)?,
        );
        let longer = median_device(&large)? - median_device(&small)?;
        if longer <= 0.0 {
            return None;
        }
        let [small, large] = [floor(&small)?, floor(&large)?];
        let rate = |apart: f64| longer / (longer + apart).max(f64::MIN_POSITIVE);
        Some([rate(large[1] - small[0]), rate(large[0] - small[1])])
    }

    /// What the rate says.
    pub fn agreement(rate: Option<[f64; 2]>) -> Agreement {
        let (least, most) = (1.0 - SAME_RATE, 1.0 + SAME_RATE);
        match rate {
            Some([low, high]) if low >= least && high <= most => Agreement::Proven,
            Some([low, high]) if high < least || low > most => Agreement::Refuted,
            _ => Agreement::Open,
        }
    }

    /// How many times as long large batches take as small ones, where that is less than
    /// their dispatches explain: a driver that leaves out repeated dispatches. By
    /// `clock`, since one that lies proves nothing. The first dispatch of a batch may take
    /// as long as two.
    pub fn lacking(&self, clock: Clock, overhead: Seconds) -> Option<f64> {
        let (few, many) = (f64::from(self.few), f64::from(self.many));
        let worked = |batch: &Batch| match duration_of(batch) {
            Some(device) if clock == Clock::Device => device,
            _ => batch.wall.0 - overhead.0,
        };
        let worked = |batches: &[Batch], q| {
            let worked: Vec<f64> = batches.iter().map(worked).collect();
            stats::quantile(&worked, q)
        };
        // The longest large one over the shortest small one: what disturbs the device only
        // makes batches longer, and may not make a driver look as if it left work out.
        let ratio = worked(&self.large, 1.0)? / worked(&self.small, 0.0)?;
        let least = (1.0 - LACKING) * (many + 1.0) / (few + 1.0);
        (self.few > 0 && ratio < least).then_some(ratio)
    }
}

fn duration_of(batch: &Batch) -> Option<f64> {
    batch.device?.duration().ok().map(|device| device.0)
}

/// Wall and device time of each of some batches of `dispatches`. Nothing at all may take
/// the device less than a tick.
fn timed(batches: &[Batch], dispatches: u32) -> Option<Vec<[f64; 2]>> {
    let nothing = (dispatches == 0).then_some(0.0);
    let timed = |batch: &Batch| Some([batch.wall.0, duration_of(batch).or(nothing)?]);
    batches.iter().map(timed).collect()
}

fn median_device(batches: &[[f64; 2]]) -> Option<f64> {
    let durations: Vec<f64> = batches.iter().map(|[_, device]| *device).collect();
    stats::median(&durations)
}

/// The least that the host waits longer than the device works: between what and what.
fn floor(batches: &[[f64; 2]]) -> Option<[f64; 2]> {
    let mut beyond: Vec<f64> = batches.iter().map(|[wall, device]| wall - device).collect();
    beyond.sort_by(f64::total_cmp);
    let lowest = beyond.first()?;
    let spread = beyond.get(LOWEST - 1).map(|third| third - lowest);
    Some([lowest - spread.unwrap_or(UNEXPLAINED_FLOOR.0), *lowest])
}

/// Device duration of a batch if it agrees with the wall clock: not longer than
/// it, and what is missing is explained by the cost of submitting.
pub fn device_time(batch: &Batch, overhead: Seconds) -> Option<Seconds> {
    let device = batch.device?.duration().ok()?;
    agrees(batch.wall, device, overhead).then_some(device)
}

/// Whether device time is not longer than wall time, and what is missing is
/// explained by the cost of submitting, `overhead` for all submissions together.
fn agrees(wall: Seconds, device: Seconds, overhead: Seconds) -> bool {
    let gap = wall.0 - device.0;
    let explained = (UNEXPLAINED_OVERHEADS * overhead.0)
        .max(UNEXPLAINED_SHARE * wall.0)
        .max(UNEXPLAINED_FLOOR.0);
    gap >= -RATE_TOLERANCE * wall.0 && gap <= explained
}

/// Chooses the clock from the batches of the warm-up: the device's if most of
/// its timestamps agree with the wall clock.
pub fn choose(warm_up: &[Batch], overhead: Seconds) -> Choice {
    if warm_up.iter().all(|batch| batch.device.is_none()) {
        return Choice {
            clock: Clock::Host,
            flag: Some(Flag::HostTimed),
        };
    }
    let agreeing = warm_up
        .iter()
        .filter(|batch| device_time(batch, overhead).is_some());
    if 2 * agreeing.count() > warm_up.len() {
        Choice {
            clock: Clock::Device,
            flag: None,
        }
    } else {
        Choice::REJECTED
    }
}

/// Duration of a batch by `clock`; `None` rejects the sample.
pub fn duration(batch: &Batch, clock: Clock, overhead: Seconds) -> Option<Seconds> {
    match clock {
        Clock::Device => device_time(batch, overhead),
        Clock::Host => Some(batch.wall),
    }
}

/// Seconds that each batch of a series took by `clock`; the host's where the
/// device's timestamps do not agree with the wall clock over the whole series,
/// within which single batches cannot be told apart from outside.
pub fn series_durations(series: &Series, clock: Clock, overhead: Seconds) -> (Clock, Vec<Seconds>) {
    let by_host = || series.batches.iter().map(|batch| batch.wall).collect();
    if clock == Clock::Host {
        return (Clock::Host, by_host());
    }
    let durations = series
        .batches
        .iter()
        .map(|batch| batch.device?.duration().ok());
    let durations: Option<Vec<Seconds>> = durations.collect();
    let wall = Seconds((series.end - series.begin).as_secs_f64());
    let all_agree = |durations: &Vec<Seconds>| {
        let device = Seconds(durations.iter().map(|s| s.0).sum());
        let overheads = Seconds(overhead.0 * durations.len() as f64);
        agrees(wall, device, overheads)
    };
    match durations.filter(all_agree) {
        Some(durations) => (Clock::Device, durations),
        None => (Clock::Host, by_host()),
    }
}

/// Median wall time of submissions that do next to nothing.
pub fn overhead(empty: &[Batch]) -> Seconds {
    let walls: Vec<f64> = empty.iter().map(|batch| batch.wall.0).collect();
    Seconds(stats::median(&walls).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::timer::DeviceSpan;

    const OVERHEAD: Seconds = Seconds(1e-4);

    fn batch(wall_s: f64, begin: u64, end: u64) -> Batch {
        Batch {
            wall: Seconds(wall_s),
            cost: Seconds(wall_s),
            device: Some(DeviceSpan::new(begin, end, 1e-9)),
            invocations: None,
        }
    }

    #[test]
    fn agreeing_timestamps_are_used() {
        let good = batch(0.0201, 1_000, 20_001_000);
        assert_eq!(device_time(&good, OVERHEAD), Some(Seconds(0.02)));
        assert_eq!(choose(&[good; 3], OVERHEAD).clock, Clock::Device);
    }

    #[test]
    fn timestamps_that_cannot_be_true_are_not() {
        let cases = [
            ("unwritten", batch(0.02, 0, 0)),
            ("constant", batch(0.02, 5, 5)),
            ("backwards", batch(0.02, 20_000_000, 5)),
            ("longer than the wall", batch(0.02, 1, 40_000_000)),
            ("of another clock", batch(0.02, 1, 2_000_000)),
        ];
        for (what, batch) in cases {
            assert_eq!(device_time(&batch, OVERHEAD), None, "{what}");
            let choice = choose(&[batch; 3], OVERHEAD);
            assert_eq!(choice.clock, Clock::Host, "{what}");
            assert_eq!(choice.flag, Some(Flag::TimestampsRejected), "{what}");
        }
    }

    /// Four batches of 20 ms of wall time; device time by `spans`.
    fn series(spans: [(u64, u64); 4]) -> Series {
        let begin = std::time::Instant::now();
        Series {
            begin,
            end: begin + std::time::Duration::from_millis(80),
            batches: spans.map(|(from, to)| batch(0.02, from, to)).to_vec(),
        }
    }

    #[test]
    fn a_series_is_timed_by_the_device_only_if_all_of_it_agrees() {
        let ms = |from: u64, to: u64| (1 + from * 1_000_000, 1 + to * 1_000_000);
        let by = |spans| series_durations(&series(spans), Clock::Device, OVERHEAD).0;
        // The host hears of the ends late: batches differ, their sum does not.
        let good = [ms(0, 21), ms(21, 40), ms(40, 60), ms(60, 80)];
        assert_eq!(by(good), Clock::Device);
        assert_eq!(by([ms(0, 20), (0, 0), ms(40, 60), ms(60, 80)]), Clock::Host);
        assert_eq!(by([ms(0, 40); 4]), Clock::Host, "longer than the wall");
        assert_eq!(by([ms(0, 2); 4]), Clock::Host, "of another rate");
    }

    #[test]
    fn without_timestamps_the_host_times_and_says_so() {
        let batch = Batch {
            wall: Seconds(0.02),
            cost: Seconds(0.02),
            device: None,
            invocations: None,
        };
        assert_eq!(choose(&[batch], OVERHEAD).flag, Some(Flag::HostTimed));
    }

    /// Batches of 5 and 20 ms by a device whose clock runs at `rate`, after which the
    /// host wakes up late by one of these times, in microseconds.
    fn compared(rate: f64, late_us: &[u32]) -> Comparison {
        let timed = |device_s: f64, late_us: u32| {
            let wall = device_s + 5e-5 + 1e-6 * f64::from(late_us);
            batch(wall, 1, 1 + (device_s * rate * 1e9).round() as u64)
        };
        Comparison {
            few: 50,
            many: 200,
            small: late_us
                .iter()
                .rev()
                .map(|late| timed(0.005, *late))
                .collect(),
            large: late_us.iter().map(|late| timed(0.02, *late)).collect(),
        }
    }

    /// Late by up to 8 µs among the lowest three, which are 0.05 % of the 15 ms by which
    /// the sizes differ: all from ±1 % on is refuted, and nothing within ±0.4 %. Delays
    /// of milliseconds in most batches change nothing.
    #[test]
    fn a_rate_that_is_one_per_cent_off_is_seen_through_the_host_being_late() {
        let late = [3000, 5, 0, 9000, 4, 400, 8, 70];
        for percent in (80..=120).filter(|percent| *percent != 100) {
            let comparison = compared(f64::from(percent) / 100.0, &late);
            let rate = comparison.rate();
            assert_eq!(
                Comparison::agreement(rate),
                Agreement::Refuted,
                "{percent}: {rate:?}"
            );
        }
        for rate in [0.996, 1.0, 1.004] {
            let [low, high] = compared(rate, &late).rate().unwrap();
            assert!(
                low <= rate && rate <= high && high - low < 2e-3,
                "{low} {high}"
            );
            assert_eq!(Comparison::agreement(Some([low, high])), Agreement::Proven);
        }
    }

    /// Where every batch is late by something else, a rate of 1 is neither proven nor
    /// refuted; nor is one that is 1 % off taken for right.
    #[test]
    fn a_host_that_is_always_late_proves_nothing() {
        let late = [3000, 800, 1500, 9000, 2200];
        for rate in [0.99, 1.0, 1.01] {
            let rate = compared(rate, &late).rate();
            assert_eq!(Comparison::agreement(rate), Agreement::Open, "{rate:?}");
        }
        assert_eq!(Comparison::agreement(None), Agreement::Open);
    }

    /// A single batch of 0.8 s, and a submission of nothing: 4 ms are 0.5 % of it.
    #[test]
    fn a_long_batch_is_enough() {
        let nothing = batch(6e-5, 1, 10_001);
        let long = |wall: f64, device_ns| Comparison {
            few: 0,
            many: 1,
            small: vec![nothing; 3],
            large: vec![batch(wall, 1, device_ns)],
        };
        let right = long(1.0, 999_900_000);
        assert!(!right.is_short());
        assert_eq!(Comparison::agreement(right.rate()), Agreement::Proven);
        assert!(long(0.7, 699_900_000).is_short());
        let slow = long(1.0, 988_000_000);
        assert_ne!(Comparison::agreement(slow.rate()), Agreement::Proven);
    }

    /// 200 dispatches take as long as 50, or as one more than 50: the driver leaves out
    /// all but the first, or three of four from the second batch on. What takes 3.6
    /// times as long is right where a first dispatch may be slow, of 4 to 16 of them.
    #[test]
    fn dispatches_that_are_left_out_make_large_batches_short() {
        let timed = |device_us: u64| batch(1.0, 1, 1 + 1000 * device_us);
        let lacking = |few, many, small, large| {
            let comparison = Comparison {
                few,
                many,
                small: vec![timed(small); 4],
                large: vec![timed(large); 4],
            };
            let ratio = comparison.lacking(Clock::Device, OVERHEAD);
            ratio.map(|ratio| (1000.0 * ratio).round() / 1000.0)
        };
        assert_eq!(lacking(50, 200, 5000, 20_000), None);
        assert_eq!(lacking(4, 16, 5000, 18_000), None);
        assert_eq!(lacking(50, 200, 5000, 18_000), Some(3.6));
        assert_eq!(lacking(50, 200, 5000, 5000), Some(1.0));
        assert_eq!(lacking(1, 4, 5000, 5000), Some(1.0));
        assert_eq!(lacking(0, 1, 10, 5000), None);
    }
}
