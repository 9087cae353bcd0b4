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

/// The clock that was chosen for a case, and why if it is not the device's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Whose clock.
    pub clock: Clock,
    /// Why the host's.
    pub flag: Option<Flag>,
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
        Choice {
            clock: Clock::Host,
            flag: Some(Flag::TimestampsRejected),
        }
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
        };
        assert_eq!(choose(&[batch], OVERHEAD).flag, Some(Flag::HostTimed));
    }
}
