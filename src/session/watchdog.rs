//! How long a worker may be silent before it counts as hung and is killed, which
//! costs its case.
//!
//! The limit follows from what the case is expected to take. A driver that hangs
//! is given up after a minute or two, and one that has much to do is not.

use crate::measure::{FirstRun, Phase};
use crate::units::Seconds;

/// Longest silence while nothing long is announced. Whatever else a phase may take
/// comes on top of it: reading a result back, a host that is busy otherwise.
pub const DEFAULT_LIMIT: Seconds = Seconds(60.0);
/// Longest silence while the host works and the driver does not, or not alone:
/// inputs are drawn, an idle device is watched, files are written.
const HOST_LIMIT: Seconds = Seconds(300.0);
/// Longest compilation of one program.
const COMPILATION: Seconds = Seconds(120.0);
/// Multiply-adds a second that the slowest host's reference is trusted to do.
const REFERENCE_MACS_PER_S: f64 = 5e7;
/// Operations, or bytes, a second of the slowest kernel on the slowest software
/// adapter, …
const SOFTWARE_PER_S: f64 = 1e8;
/// … and on the slowest GPU.
const GPU_PER_S: f64 = 5e9;
/// Runs of a program while it is verified and tried: on other inputs first, on its
/// own, two for its rate.
const FIRST_RUNS: f64 = 4.0;
/// Dispatches in a row before a warm-up has an end or a sample is told: batches in
/// flight, several tries.
const IN_A_ROW: f64 = 4.0;
/// What has been measured may take so many times as long later on: clocks fall,
/// and others use the machine, too.
const MARGIN: f64 = 20.0;

/// Longest silence in `phase`.
pub fn limit(phase: Phase) -> Seconds {
    let expected = match phase {
        Phase::Inputs | Phase::Resting | Phase::Dumping => return HOST_LIMIT,
        Phase::Verifying { effort } | Phase::Tuning { effort, .. } => first_run(effort),
        Phase::WarmingUp { dispatch } => MARGIN * IN_A_ROW * dispatch.0,
        Phase::Sampling { sample, .. } | Phase::StayingBusy { sample } => {
            MARGIN * IN_A_ROW * sample.0
        }
    };
    Seconds(DEFAULT_LIMIT.0 + expected)
}

/// Seconds that a program may take until its output is compared and its rate is
/// known.
fn first_run(effort: FirstRun) -> f64 {
    let per_s = match effort.software {
        true => SOFTWARE_PER_S,
        false => GPU_PER_S,
    };
    let dispatch = effort.work.operations.max(effort.work.bytes) as f64 / per_s;
    let reference = effort.reference_macs as f64 / REFERENCE_MACS_PER_S;
    COMPILATION.0 + FIRST_RUNS * dispatch + reference
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::problem::{Work, WorkUnit};

    /// A product of 4096³: 2·4096³ = 1.37·10¹¹ operations, 27.5 s at 5·10⁹ a second,
    /// four times; a reference of 2³² multiply-adds at most, 86 s at 5·10⁷.
    #[test]
    fn a_first_run_is_allowed_what_it_has_to_do() {
        let effort = |side: u64, software| FirstRun {
            work: Work {
                operations: 2 * side.pow(3),
                unit: WorkUnit::Flop,
                bytes: 12 * side.pow(2),
            },
            software,
            reference_macs: side.pow(3).min(1 << 32),
        };
        let verifying = |side, software| {
            let effort = effort(side, software);
            limit(Phase::Verifying { effort }).0
        };
        assert!((verifying(4096, false) - (60.0 + 120.0 + 4.0 * 27.5 + 85.9)).abs() < 1.0);
        assert!((verifying(1, false) - 180.0).abs() < 0.01);
        // 256³: 3.4·10⁷ operations, 0.34 s at 10⁸ a second; 1.7·10⁷ multiply-adds.
        assert!((verifying(256, true) - (180.0 + 4.0 * 0.336 + 0.336)).abs() < 0.01);
    }

    /// Once a dispatch has been seen, a silence of a few of them is no hang and one
    /// of a few hundred is.
    #[test]
    fn what_was_measured_decides_from_then_on() {
        let sampling = |seconds| {
            let sample = Seconds(seconds);
            limit(Phase::Sampling { samples: 3, sample }).0
        };
        assert!((sampling(0.02) - 61.6).abs() < 1e-9);
        assert!((sampling(10.0) - 860.0).abs() < 1e-9);
        let dispatch = Seconds(0.0);
        assert_eq!(limit(Phase::WarmingUp { dispatch }), DEFAULT_LIMIT);
    }
}
