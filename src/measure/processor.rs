//! Processor time: what a software adapter really spends, whoever else is there.

use std::time::Duration;

use crate::units::Seconds;

/// Processor time of this process so far, all of its threads together; `None` where
/// the system does not tell.
#[cfg(unix)]
fn spent() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};

    clock_gettime(ClockId::ProcessCPUTime).try_into().ok()
}

#[cfg(not(unix))]
fn spent() -> Option<Duration> {
    None
}

/// What `work` returns and the processor time that this process spent meanwhile.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (T, Option<Seconds>) {
    let begin = spent();
    let outcome = work();
    let took = spent()
        .zip(begin)
        .and_then(|(end, begin)| end.checked_sub(begin));
    (outcome, took.map(|took| Seconds(took.as_secs_f64())))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A process that computes spends time, however little of it; no bound from above
    /// holds on a busy machine but that of the processors there are.
    #[test]
    fn computing_takes_processor_time() {
        let work = || (0..10_000_000u64).fold(0, |sum, i| std::hint::black_box(sum ^ i));
        let took = timed(work).1.expect("unix tells");
        assert!(took.0 > 0.0);
    }
}
