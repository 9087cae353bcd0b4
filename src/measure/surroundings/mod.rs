//! What else went on while a case was measured: other work on the processors of a
//! software adapter, other processes on a GPU, a lowered power limit, a battery.

mod processors;
mod states;
mod supply;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Phase;
use super::measurement::{Flag, Measurement};
use crate::gpu::adapter::AdapterDescription;
use crate::gpu::bus;
use crate::power::nvml::{self, GpuProcess, Limits, WatchedGpu};
use crate::power::spec::{NvmlDevice, PowerSpec};
use crate::power::sysfs;
use processors::{Processors, Usage};
use states::StateReader;

/// From this share of the processors' time on, others move a software adapter's
/// figure by more than what counts as a change of speed there.
const MOST_OTHERS: f64 = 0.05;

/// What else went on while a case was measured. Null is what the system does not
/// tell, or what does not matter on the adapter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Surroundings {
    /// On a software adapter: share of the time of the processors that flopwatt may
    /// use which other processes took; of several lives, in that in which it was most.
    pub others_share: Option<f64>,
    /// On a software adapter: share of that time which the hypervisor kept, likewise.
    pub stolen_share: Option<f64>,
    /// On a software adapter: whether processors were slowed down by heat, or held
    /// below three quarters of their highest clock.
    pub processors_throttled: Option<bool>,
    /// Processes of others on the GPU, at the begin or the end. Null also where the
    /// list does not even show this process, as in many containers.
    pub gpu_processes: Option<Vec<GpuProcess>>,
    /// Why the list of processes shows nobody; null where it does, and where there is
    /// none.
    #[serde(default)]
    pub gpu_processes_reason: Option<String>,
    /// Power limits of the GPU, at the end.
    pub gpu_limits: Option<Limits>,
    /// Whether the machine ran on a battery, at the begin or the end.
    pub on_battery: Option<bool>,
}

/// Watches an adapter's surroundings.
#[derive(Debug)]
pub struct Watch {
    processors: Option<Processors>,
    gpu: Option<Arc<WatchedGpu>>,
    /// Processes on the GPU that are this one and its parent.
    own: Vec<u32>,
    /// Whether the GPU's list of processes does not show those that use it.
    is_blind: bool,
}

/// A case that is watched from the moment on at which it is warmed up: what it takes
/// to verify it tells nothing of the time in which it is timed, and may be longer.
#[derive(Debug)]
pub struct WatchedCase<'a> {
    watch: &'a Watch,
    /// Whether a source of power tells the state of the GPU.
    metered: bool,
    begun: Option<(Begun, Option<StateReader>)>,
}

/// The state of the surroundings when something began.
#[derive(Debug)]
pub struct Begun {
    at: Instant,
    usage: Option<Usage>,
    throttled: Option<u64>,
    others: Option<Vec<GpuProcess>>,
    on_battery: Option<bool>,
}

impl Watch {
    /// Watches the processors of a software adapter, and of the GPUs that NVML knows
    /// the one that `power` names, or else the adapter itself.
    pub fn new(adapter: &AdapterDescription, power: &PowerSpec) -> Self {
        let gpu = match power {
            PowerSpec::Nvml(Some(device)) => Some(device.clone()),
            _ => at_place_of(adapter),
        };
        Self {
            processors: adapter.is_software().then(Processors::of_this_process),
            gpu: gpu
                .and_then(|gpu| WatchedGpu::find(nvml::LIBRARIES, &gpu))
                .map(Arc::new),
            own: own_processes(),
            is_blind: false,
        }
    }

    /// Opens a device on the watched GPU with `open`. In a container NVML numbers
    /// processes as the host does: where this one is not found by its number, it is
    /// what has come by then. Where nothing has, the list shows nobody.
    pub fn while_opening<T>(&mut self, open: impl FnOnce() -> T) -> T {
        let before = pids(self.processes());
        let opened = open();
        let after = pids(self.processes());
        self.is_blind = !shows_itself(&before, &after, &self.own);
        self.own = own_among(&before, &after, &self.own);
        opened
    }

    /// A case that is about to be prepared, and to be `metered` with a source of power
    /// that tells the state of the GPU as well, or not.
    pub fn case(&self, metered: bool) -> WatchedCase<'_> {
        WatchedCase {
            watch: self,
            metered,
            begun: None,
        }
    }

    /// The surroundings now.
    pub fn begin(&self) -> Begun {
        Begun {
            throttled: self.processors.as_ref().and_then(Processors::throttled),
            others: self.others(),
            on_battery: on_battery(),
            usage: self.processors.as_ref().and_then(Processors::usage),
            at: Instant::now(),
        }
    }

    /// What went on since then.
    pub fn end(&self, begun: &Begun) -> Surroundings {
        let taken = self.processors.as_ref().and_then(|processors| {
            let usage = processors.usage()?;
            usage.since(begun.usage.as_ref()?, begun.at.elapsed())
        });
        let throttled = self.processors.as_ref().and_then(|processors| {
            let slowed = processors.throttled().zip(begun.throttled);
            let slowed = slowed.map(|(now, before)| now > before);
            either(slowed, processors.are_held_down())
        });
        let others = all(begun.others.clone(), self.others());
        let shows_nobody = self.is_blind && others.as_ref().is_some_and(Vec::is_empty);
        Surroundings {
            others_share: taken.map(|taken| taken.others),
            stolen_share: taken.map(|taken| taken.stolen),
            processors_throttled: throttled,
            gpu_processes: others.filter(|_| !shows_nobody),
            gpu_processes_reason: shows_nobody.then(|| BLIND.to_owned()),
            gpu_limits: self.gpu.as_ref().map(|gpu| gpu.limits()),
            on_battery: either(begun.on_battery, on_battery()),
        }
    }

    fn processes(&self) -> Option<Vec<GpuProcess>> {
        self.gpu.as_ref()?.processes()
    }

    /// Processes of others.
    fn others(&self) -> Option<Vec<GpuProcess>> {
        let mut processes = self.processes()?;
        processes.retain(|process| !self.own.contains(&process.pid));
        Some(processes)
    }
}

impl WatchedCase<'_> {
    /// Hears of a phase of the case.
    pub fn hear(&mut self, phase: Phase) {
        if matches!(phase, Phase::WarmingUp { .. }) {
            let gpu = self.watch.gpu.as_ref().filter(|_| !self.metered);
            let states = gpu.and_then(StateReader::start);
            self.begun = Some((self.watch.begin(), states));
        }
    }

    /// Enters what went on into the record of the case, which has just been timed.
    pub fn enter(self, measurement: &mut Measurement) {
        let Some((begun, states)) = self.begun else {
            return;
        };
        if let Some(conditions) = states.and_then(|states| states.end(&measurement.timed)) {
            for flag in conditions.flags() {
                measurement.flag(flag);
            }
            measurement.conditions = Some(Box::new(conditions));
        }
        self.watch.end(&begun).enter(measurement);
    }
}

impl Surroundings {
    /// Those of two lives of a case: the most that others took of either, and whoever
    /// was there in either.
    pub fn of_both(one: Option<Box<Self>>, other: Option<Box<Self>>) -> Option<Box<Self>> {
        let (one, other) = match (one, other) {
            (Some(one), Some(other)) => (*one, *other),
            (one, other) => return one.or(other),
        };
        let most = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        let gpu_processes = all(one.gpu_processes, other.gpu_processes);
        let why_not = one.gpu_processes_reason.or(other.gpu_processes_reason);
        Some(Box::new(Self {
            others_share: most(one.others_share, other.others_share),
            stolen_share: most(one.stolen_share, other.stolen_share),
            processors_throttled: either(one.processors_throttled, other.processors_throttled),
            gpu_processes_reason: why_not.filter(|_| gpu_processes.is_none()),
            gpu_processes,
            gpu_limits: other.gpu_limits.or(one.gpu_limits),
            on_battery: either(one.on_battery, other.on_battery),
        }))
    }

    /// What to know of a figure that was measured in them.
    pub fn flags(&self) -> Vec<Flag> {
        let taken = [self.others_share, self.stolen_share];
        let taken: f64 = taken.into_iter().flatten().sum();
        let others = self.gpu_processes.as_ref();
        let flags = [
            (taken > MOST_OTHERS, Flag::CpuLoad),
            (self.processors_throttled == Some(true), Flag::Throttled),
            (
                others.is_some_and(|others| !others.is_empty()),
                Flag::OtherProcesses,
            ),
            (
                self.gpu_limits.is_some_and(Limits::are_lowered),
                Flag::PowerLimited,
            ),
            (self.on_battery == Some(true), Flag::OnBattery),
        ];
        let raised = flags.into_iter().filter(|(raised, _)| *raised);
        raised.map(|(_, flag)| flag).collect()
    }

    /// Enters them into the record of the case.
    pub fn enter(self, measurement: &mut Measurement) {
        for flag in self.flags() {
            measurement.flag(flag);
        }
        measurement.surroundings = Some(Box::new(self));
    }
}

/// Why a list that shows nobody is none.
const BLIND: &str = "NVML does not even list this process, as in many containers";

fn at_place_of(adapter: &AdapterDescription) -> Option<NvmlDevice> {
    let place = adapter.pci_address.as_deref();
    let place = place.filter(|_| adapter.vendor_id == bus::NVIDIA)?;
    place.parse().ok().map(NvmlDevice::Pci)
}

#[cfg(unix)]
fn own_processes() -> Vec<u32> {
    vec![std::process::id(), std::os::unix::process::parent_id()]
}

#[cfg(not(unix))]
fn own_processes() -> Vec<u32> {
    vec![std::process::id()]
}

fn pids(processes: Option<Vec<GpuProcess>>) -> Vec<u32> {
    let processes = processes.into_iter().flatten();
    processes.map(|process| process.pid).collect()
}

/// Whether a list shows the process that has opened a device between `before` and
/// `after`: under a number that is `known`, or as something new.
fn shows_itself(before: &[u32], after: &[u32], known: &[u32]) -> bool {
    let is_it = |pid: &u32| known.contains(pid) || !before.contains(pid);
    after.iter().any(is_it)
}

/// The processes that are no others: those that are `known`, and where none of these
/// uses the GPU, what has come `before` the device was opened and `after`.
fn own_among(before: &[u32], after: &[u32], known: &[u32]) -> Vec<u32> {
    if known.iter().any(|pid| after.contains(pid)) {
        return known.to_vec();
    }
    let came = after.iter().filter(|pid| !before.contains(pid));
    known.iter().chain(came).copied().collect()
}

/// Whether either is so; `None` where neither is told.
fn either(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a || b),
        (one, other) => one.or(other),
    }
}

/// The processes of both lists, each once.
fn all(a: Option<Vec<GpuProcess>>, b: Option<Vec<GpuProcess>>) -> Option<Vec<GpuProcess>> {
    match (a, b) {
        (Some(mut all), Some(others)) => {
            for process in others {
                if !all.iter().any(|known| known.pid == process.pid) {
                    all.push(process);
                }
            }
            Some(all)
        }
        (one, other) => one.or(other),
    }
}

fn on_battery() -> Option<bool> {
    supply::is_battery(Path::new(sysfs::ROOT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Watts;

    fn process(pid: u32) -> GpuProcess {
        GpuProcess { pid, name: None }
    }

    #[test]
    fn everything_that_doubts_a_figure_is_flagged_and_what_is_not_told_is_not() {
        let flags = |surroundings: Surroundings| surroundings.flags();
        let nothing = Surroundings::default();
        assert_eq!(flags(nothing.clone()), []);
        let limits = |enforced, default| {
            Some(Limits {
                enforced_w: Some(Watts(enforced)),
                default_w: Some(Watts(default)),
            })
        };
        let quiet = Surroundings {
            others_share: Some(0.04),
            stolen_share: Some(0.005),
            processors_throttled: Some(false),
            gpu_processes: Some(vec![]),
            gpu_processes_reason: None,
            gpu_limits: limits(300.0, 300.0),
            on_battery: Some(false),
        };
        assert_eq!(flags(quiet.clone()), []);
        // Neither share alone is too much, but both are.
        let busy = Surroundings {
            stolen_share: Some(0.02),
            ..quiet.clone()
        };
        assert_eq!(flags(busy), [Flag::CpuLoad]);
        let all = Surroundings {
            others_share: None,
            stolen_share: Some(0.06),
            processors_throttled: Some(true),
            gpu_processes: Some(vec![process(7)]),
            gpu_processes_reason: None,
            gpu_limits: limits(250.0, 300.0),
            on_battery: Some(true),
        };
        let expected = [
            Flag::CpuLoad,
            Flag::Throttled,
            Flag::OtherProcesses,
            Flag::PowerLimited,
            Flag::OnBattery,
        ];
        assert_eq!(flags(all), expected);
    }

    #[test]
    fn a_process_is_known_by_its_number_or_by_when_it_came() {
        // This process is 10, its parent 9; 7 was there before.
        assert_eq!(own_among(&[7], &[7, 10], &[10, 9]), [10, 9]);
        // Another one that came meanwhile is not taken for this one.
        assert_eq!(own_among(&[7], &[7, 10, 11], &[10, 9]), [10, 9]);
        // In a container the host calls this process 31007.
        assert_eq!(own_among(&[7], &[7, 31007], &[10, 9]), [10, 9, 31007]);
        assert_eq!(own_among(&[], &[], &[10, 9]), [10, 9]);
    }

    #[test]
    fn a_list_without_this_process_shows_nobody() {
        assert!(shows_itself(&[7], &[7, 10], &[10, 9]));
        assert!(shows_itself(&[7, 10], &[7, 10], &[10, 9]));
        assert!(shows_itself(&[7], &[7, 31007], &[10, 9]));
        assert!(!shows_itself(&[], &[], &[10, 9]));
        assert!(!shows_itself(&[7], &[7], &[10, 9]));
    }

    #[test]
    fn who_came_and_who_went_are_both_there() {
        let both = all(
            Some(vec![process(1), process(2)]),
            Some(vec![process(2), process(3)]),
        );
        assert_eq!(both, Some(vec![process(1), process(2), process(3)]));
        assert_eq!(all(None, Some(vec![process(1)])), Some(vec![process(1)]));
        assert_eq!(all(None, None), None);
    }
}
