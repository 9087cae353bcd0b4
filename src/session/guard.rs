//! The guard: a process that sets power limits and restores the old one when its
//! parent has ended, however that came about.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::console;
use crate::power::nvml::{Allowed, LIBRARIES, Library, LimitError, LimitedGpu};
use crate::units::Watts;

/// From the parent, one JSON object a line: set this limit. The end of the input
/// means: restore the old one and exit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Set {
    /// The limit.
    pub set_w: Watts,
}

/// From the guard, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// First of all: limits can be set, and this one will be restored.
    Ready {
        /// The limit before.
        limit_w: Watts,
        /// What the device allows.
        allowed: Allowed,
    },
    /// The limit is set and enforced.
    Set {
        /// The limit in force.
        enforced_w: Watts,
    },
    /// It cannot be set; in place of [`Answer::Ready`], none can.
    Refused {
        /// Why.
        why: LimitError,
    },
    /// Last of all: the old limit is set.
    Restored,
    /// Last of all: the old limit could not be set.
    NotRestored {
        /// Why.
        why: LimitError,
    },
}

/// Guards the GPU with NVML's number `index` until standard input ends.
///
/// # Errors
/// When signals cannot be caught; no limit was set then.
pub fn serve(index: u32) -> Result<(), ctrlc::Error> {
    // Whoever ends the parent may signal this process as well, which then still
    // has the limit to restore: it ends with its input.
    ctrlc::set_handler(|| {})?;
    // A parent that does not listen any more has ended, and so will the input.
    let guard = match Guard::begin(index) {
        Ok(guard) => guard,
        Err(why) => {
            let _ = say(&Answer::Refused { why });
            return Ok(());
        }
    };
    let _ = say(&Answer::Ready {
        limit_w: guard.before_w,
        allowed: guard.allowed,
    });
    for line in io::stdin().lines().map_while(Result::ok) {
        let _ = say(&match guard.set(&line) {
            Ok(enforced_w) => Answer::Set { enforced_w },
            Err(why) => Answer::Refused { why },
        });
    }
    Ok(())
}

fn say(answer: &Answer) -> io::Result<()> {
    let mut out = console::to_parent().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// A GPU whose limit is restored on drop.
struct Guard {
    gpu: LimitedGpu,
    index: u32,
    before_w: Watts,
    allowed: Allowed,
}

impl Guard {
    /// Notes the limit and sets it once more, which shows whether this user may.
    fn begin(index: u32) -> Result<Self, LimitError> {
        let library = Library::open(LIBRARIES);
        let library = library.map_err(|error| LimitError::Driver(error.to_string()))?;
        let gpu = LimitedGpu::new(library, index);
        let before_w = gpu.limit()?;
        let allowed = gpu.allowed()?;
        gpu.set(before_w)?;
        Ok(Self {
            gpu,
            index,
            before_w,
            allowed,
        })
    }

    /// Sets what a request asks for, where it is not set already, and waits until
    /// it is in force.
    fn set(&self, request: &str) -> Result<Watts, LimitError> {
        let request = serde_json::from_str(request);
        let Set { set_w } = request.map_err(|e| LimitError::Driver(e.to_string()))?;
        self.allowed.check(set_w)?;
        if self.gpu.limit()? != set_w {
            self.gpu.set(set_w)?;
        }
        self.gpu.wait_until_enforced(set_w)?;
        Ok(set_w)
    }

    fn restore(&self) -> Result<(), LimitError> {
        self.gpu.set(self.before_w)?;
        let enforced_w = self.gpu.limit()?;
        if enforced_w != self.before_w {
            return Err(LimitError::NotInForce {
                wanted_w: self.before_w,
                enforced_w,
            });
        }
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let restored = self.restore();
        let answer = match &restored {
            Ok(()) => Answer::Restored,
            Err(why) => Answer::NotRestored { why: why.clone() },
        };
        // Without a parent that says it, this process does.
        if let (Err(_), Err(why)) = (say(&answer), restored) {
            let why = not_restored(self.index, self.before_w, &why);
            console::say(format!("error: {why}"));
        }
    }
}

/// What a person has to do where nobody restored a limit.
pub(super) fn not_restored(index: u32, before_w: Watts, why: &impl std::fmt::Display) -> String {
    format!(
        "the power limit of nvml:{index} is not restored to {before_w} ({why}): restore it with \
         `nvidia-smi -i {index} -pl {}`, as root",
        before_w.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_single_lines() {
        let request = Set {
            set_w: Watts(300.0),
        };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(line, r#"{"set_w":300.0}"#);
        let answers = [
            Answer::Restored,
            Answer::Set {
                enforced_w: Watts(300.0),
            },
            Answer::Refused {
                why: LimitError::OutOfRange {
                    wanted_w: Watts(1.0),
                    least_w: Watts(100.0),
                    most_w: Watts(300.0),
                },
            },
            Answer::NotRestored {
                why: LimitError::NoPermission,
            },
        ];
        for answer in answers {
            let line = serde_json::to_string(&answer).unwrap();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer);
        }
    }
}
