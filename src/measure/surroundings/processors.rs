//! Time of the processors that this process may use, as Linux tells it: what others
//! took, and whether heat or a limit slowed them down.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::power::sysfs::{self, number};

/// In what the kernel counts processor time for programs: hundredths of a second,
/// on every architecture that this can run on (USER_HZ, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;
/// More than any machine has.
const MOST_PROCESSORS: usize = 1 << 16;
/// Counters that account for less of the time than this are not kept: sandboxes show
/// the file with zeros.
const LEAST_ACCOUNTED: f64 = 0.5;
/// A clock below this share of the highest counts as throttled, as for GPUs.
const THROTTLED_CLOCK: f64 = 0.75;

/// The processors that this process may use.
#[derive(Clone, Debug)]
pub(super) struct Processors {
    proc: PathBuf,
    sysfs: PathBuf,
}

/// Times of these processors, all together, since the machine started.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Usage {
    /// Which ones.
    processors: Vec<usize>,
    idle_s: f64,
    stolen_s: f64,
    /// Idle, stolen and all others.
    accounted_s: f64,
    /// Of this process and the children that it has waited for.
    own_s: f64,
}

/// What others took, as shares of the time of all processors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Taken {
    /// Other processes, and the kernel on their behalf.
    pub others: f64,
    /// The hypervisor.
    pub stolen: f64,
}

impl Processors {
    /// Of this process, on this machine.
    pub(super) fn of_this_process() -> Self {
        Self {
            proc: "/proc".into(),
            sysfs: sysfs::ROOT.into(),
        }
    }

    /// Times so far; `None` where the kernel does not tell them all.
    pub(super) fn usage(&self) -> Option<Usage> {
        let read = |file| fs::read_to_string(self.proc.join(file)).ok();
        let own = own_seconds(&read("self/stat")?)?;
        usage(&read("stat")?, self.allowed()?, own)
    }

    fn allowed(&self) -> Option<Vec<usize>> {
        allowed(&fs::read_to_string(self.proc.join("self/status")).ok()?)
    }

    /// How often heat has slowed one of the processors down; `None` where that is not
    /// counted (Linux, arch/x86/kernel/cpu/mce/therm_throt.c: Intel's processors).
    pub(super) fn throttled(&self) -> Option<u64> {
        let events = ["core_throttle_count", "package_throttle_count"];
        let counters = self.allowed()?.into_iter().flat_map(|processor| {
            let folder = self.folder(processor).join("thermal_throttle");
            events.map(|event| number(&folder.join(event)).ok())
        });
        counters.flatten().reduce(u64::saturating_add)
    }

    /// Whether one of the processors is held below three quarters of its highest
    /// clock (Linux, Documentation/admin-guide/pm/cpufreq.rst). What it runs at says
    /// nothing of the kind: with all cores at work it is lower anyway.
    pub(super) fn are_held_down(&self) -> Option<bool> {
        let held = self.allowed()?.into_iter().filter_map(|processor| {
            let folder = self.folder(processor).join("cpufreq");
            let allowed = number(&folder.join("scaling_max_freq")).ok()?;
            let highest = number(&folder.join("cpuinfo_max_freq")).ok()?;
            Some((allowed as f64) < THROTTLED_CLOCK * highest as f64)
        });
        held.reduce(|a, b| a || b)
    }

    fn folder(&self, processor: usize) -> PathBuf {
        let folder = format!("devices/system/cpu/cpu{processor}");
        Path::new(&self.sysfs).join(folder)
    }
}

impl Usage {
    /// What others took since `before`, over `wall` of time.
    ///
    /// The kernel takes idle time from the clock, but samples what runs at its ticks:
    /// so others are what is neither idle nor stolen nor this process's own.
    pub(super) fn since(&self, before: &Self, wall: Duration) -> Option<Taken> {
        let whole = wall.as_secs_f64() * self.processors.len() as f64;
        let share = |of: fn(&Self) -> f64| (of(self) - of(before)) / whole;
        let is_told = self.processors == before.processors
            && share(|usage| usage.accounted_s) >= LEAST_ACCOUNTED;
        is_told.then(|| {
            let stolen = share(|usage| usage.stolen_s);
            let rest = 1.0 - share(|usage| usage.idle_s) - stolen - share(|usage| usage.own_s);
            Taken {
                others: rest.clamp(0.0, 1.0),
                stolen: stolen.clamp(0.0, 1.0),
            }
        })
    }
}

/// Times of the `processors` from the text of `/proc/stat`; `None` where it lacks
/// one of them, as in containers that number their own.
fn usage(stat: &str, processors: Vec<usize>, own_s: f64) -> Option<Usage> {
    let mut usage = Usage {
        processors,
        idle_s: 0.0,
        stolen_s: 0.0,
        accounted_s: 0.0,
        own_s,
    };
    let mut found = 0;
    for line in stat.lines() {
        let Some((processor, times)) = processor(line) else {
            continue;
        };
        if !usage.processors.contains(&processor) {
            continue;
        }
        found += 1;
        let [user, nice, system, idle, iowait, irq, softirq, steal] = times;
        usage.idle_s += idle + iowait;
        usage.stolen_s += steal;
        // What guests run is a part of what users run.
        usage.accounted_s += user + nice + system + idle + iowait + irq + softirq + steal;
    }
    (found == usage.processors.len() && found > 0).then_some(usage)
}

/// A line `cpu7 USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ STEAL …`, in seconds.
fn processor(line: &str) -> Option<(usize, [f64; 8])> {
    let numbered = line.strip_prefix("cpu")?;
    // Without a number it is the sum of all.
    if !numbered.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut words = numbered.split_ascii_whitespace();
    let processor = words.next()?.parse().ok()?;
    let mut times = [0.0; 8];
    for time in &mut times {
        *time = words.next()?.parse::<u64>().ok()? as f64 / TICKS_PER_SECOND;
    }
    Some((processor, times))
}

/// Time of this process and of children it has waited for, from the text of
/// `/proc/self/stat`: its 14th to 17th field. The second is the program's name, which
/// may hold anything.
fn own_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let times = rest.split_ascii_whitespace().skip(11).take(4);
    let ticks: Option<Vec<u64>> = times.map(|time| time.parse().ok()).collect();
    let ticks = ticks.filter(|ticks| ticks.len() == 4)?;
    Some(ticks.into_iter().map(|ticks| ticks as f64).sum::<f64>() / TICKS_PER_SECOND)
}

/// The processors that a process may use, from the text of `/proc/self/status`.
fn allowed(status: &str) -> Option<Vec<usize>> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut processors = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST_PROCESSORS {
            return None;
        }
        processors.extend(first..=last);
    }
    Some(processors)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    const STAT: &str = "\
cpu  1000 0 200 9000 100 0 50 75 7 0
cpu0 400 0 100 4500 50 0 25 25 7 0
cpu1 600 0 100 4500 50 0 25 50 0 0
intr 12345 0 0
ctxt 6789
";

    /// A process whose name ends like a field, with 1.5 s of its own and 0.25 s of
    /// its children's.
    const SELF: &str =
        "12 (a) b) R 1 12 12 0 -1 4194304 97 0 0 0 100 50 20 5 20 0 1 0 30979 3133440 381";

    fn at(stat: &str, own_s: f64) -> Usage {
        usage(stat, vec![0, 1], own_s).unwrap()
    }

    /// In hundredths: idle 4500 + 50 twice, stolen 25 + 50.
    #[test]
    fn times_are_those_of_the_processors_that_may_be_used() {
        let both = at(STAT, 0.0);
        assert_eq!((both.idle_s, both.stolen_s), (91.0, 0.75));
        let only = usage(STAT, vec![1], 0.0).unwrap();
        assert_eq!((only.idle_s, only.stolen_s), (45.5, 0.5));
        // 600 + 100 + 4500 + 50 + 25 + 50, without what guests ran.
        assert_eq!(only.accounted_s, 53.25);
        assert_eq!(usage(STAT, vec![1, 8], 0.0), None);
        assert_eq!(usage(STAT, vec![], 0.0), None);
        assert_eq!(usage("cpu0 1 2 3", vec![0], 0.0), None);
    }

    #[test]
    fn own_time_stands_behind_whatever_the_program_is_called() {
        assert_eq!(own_seconds(SELF), Some(1.75));
        assert_eq!(own_seconds("12 (short) R 1 2 3"), None);
        assert_eq!(own_seconds(""), None);
    }

    #[test]
    fn lists_of_processors_have_ranges() {
        let listed = |list: &str| allowed(&format!("Name:\tx\nCpus_allowed_list:\t{list}\n"));
        assert_eq!(listed("0-3,8,10-11"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(listed("5"), Some(vec![5]));
        assert_eq!(listed("0-99999999999"), None);
        assert_eq!(listed("x"), None);
        assert_eq!(allowed("Name:\tx\n"), None);
    }

    /// Ten seconds on two processors are 20 s: idle for 4 and stolen for 1. This
    /// process took 9, so that 6 s, three tenths, are others'.
    #[test]
    fn others_are_what_is_neither_idle_nor_stolen_nor_own() {
        let before = at(STAT, 1.0);
        let after = Usage {
            idle_s: before.idle_s + 4.0,
            stolen_s: before.stolen_s + 1.0,
            accounted_s: before.accounted_s + 20.0,
            own_s: 10.0,
            ..before.clone()
        };
        let taken = after.since(&before, Duration::from_secs(10)).unwrap();
        assert!((taken.others - 0.30).abs() < 1e-12, "{taken:?}");
        assert!((taken.stolen - 0.05).abs() < 1e-12, "{taken:?}");
        // Rounding may make this process take more than there was.
        let rounded = Usage {
            own_s: 16.5,
            ..after.clone()
        };
        let taken = rounded.since(&before, Duration::from_secs(10)).unwrap();
        assert_eq!(taken.others, 0.0);
        // A sandbox that counts nothing does not make all of it others'.
        assert_eq!(before.since(&before, Duration::from_secs(10)), None);
        let moved = Usage {
            processors: vec![0],
            ..after
        };
        assert_eq!(moved.since(&before, Duration::from_secs(10)), None);
    }

    fn write(folder: &TempDir, file: &str, text: &str) {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_machine_is_read_from_its_files() {
        let folder = TempDir::new().unwrap();
        let processors = Processors {
            proc: folder.path().into(),
            sysfs: folder.path().into(),
        };
        assert_eq!(processors.usage(), None);
        assert_eq!(processors.throttled(), None);
        assert_eq!(processors.are_held_down(), None);
        write(&folder, "self/status", "Cpus_allowed_list:\t0-1\n");
        write(&folder, "self/stat", SELF);
        write(&folder, "stat", STAT);
        assert_eq!(processors.usage(), Some(at(STAT, 1.75)));
        let cpu = |processor, file| format!("devices/system/cpu/cpu{processor}/{file}");
        write(
            &folder,
            &cpu(0, "thermal_throttle/core_throttle_count"),
            "3\n",
        );
        write(
            &folder,
            &cpu(1, "thermal_throttle/core_throttle_count"),
            "4\n",
        );
        write(
            &folder,
            &cpu(1, "thermal_throttle/package_throttle_count"),
            "5\n",
        );
        // Another process's.
        write(
            &folder,
            &cpu(2, "thermal_throttle/core_throttle_count"),
            "9\n",
        );
        assert_eq!(processors.throttled(), Some(12));
        for processor in [0, 1] {
            write(
                &folder,
                &cpu(processor, "cpufreq/cpuinfo_max_freq"),
                "4000000\n",
            );
            write(
                &folder,
                &cpu(processor, "cpufreq/scaling_max_freq"),
                "3000000\n",
            );
        }
        assert_eq!(processors.are_held_down(), Some(false));
        write(&folder, &cpu(1, "cpufreq/scaling_max_freq"), "2999000\n");
        assert_eq!(processors.are_held_down(), Some(true));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*", line in "cpu[0-9 ]*") {
            let _ = usage(&text, vec![0], 0.0);
            let _ = usage(&line, vec![0], 0.0);
            let _ = own_seconds(&text);
            let _ = allowed(&text);
            let _ = allowed(&format!("Cpus_allowed_list:{text}"));
        }
    }
}
