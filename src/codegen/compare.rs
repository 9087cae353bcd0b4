//! Two surveys: what changed, and whether it got worse.

use serde::Serialize;

use super::survey::{Shader, Survey};

/// What changed from one survey to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The older survey's compiler, where it is another one: then no change is a
    /// verdict on the shaders.
    pub other_compiler: Option<String>,
    /// Shader by shader.
    pub changes: Vec<Change>,
}

/// A change of one shader.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Which shader.
    pub shader: String,
    /// What changed: from what to what.
    pub what: String,
    /// Whether it is one of those that fail a gate.
    pub worse: bool,
}

impl Comparison {
    /// Compares two surveys of the same target. With `all`, shaders that are gone
    /// count; otherwise `now` is only a part.
    pub fn of(before: &Survey, now: &Survey, all: bool) -> Self {
        let find = |survey: &'_ Survey, title: &str| -> Option<Shader> {
            let mut shaders = survey.shaders.iter();
            shaders.find(|shader| shader.title() == title).cloned()
        };
        let mut changes = Vec::new();
        for shader in &now.shaders {
            let title = shader.title();
            let list = match find(before, &title) {
                Some(before) => differences(&before, shader),
                None => vec![(
                    format!(
                        "new, {}",
                        if shader.statistics.spills() {
                            "and spills"
                        } else {
                            "without spills"
                        }
                    ),
                    shader.statistics.spills(),
                )],
            };
            changes.extend(list.into_iter().map(|(what, worse)| Change {
                shader: title.clone(),
                what,
                worse,
            }));
        }
        let gone = before.shaders.iter().map(Shader::title);
        let gone = gone.filter(|title| all && find(now, title).is_none());
        changes.extend(gone.map(|shader| Change {
            shader,
            what: "gone".into(),
            worse: true,
        }));
        let other = before.compiler != now.compiler;
        Self {
            other_compiler: other.then(|| before.compiler.clone()),
            changes,
        }
    }

    /// Whether a gate fails.
    pub fn is_worse(&self) -> bool {
        self.other_compiler.is_none() && self.changes.iter().any(|change| change.worse)
    }
}

/// What changed of a shader, and whether that is worse.
fn differences(before: &Shader, now: &Shader) -> Vec<(String, bool)> {
    let (old, new) = (&before.statistics, &now.statistics);
    let more = |a: Option<u64>, b: Option<u64>| b.unwrap_or(0) > a.unwrap_or(0);
    let counts = [
        (
            "spills",
            old.spills,
            new.spills,
            more(old.spills, new.spills),
        ),
        (
            "scratch bytes",
            old.scratch_bytes,
            new.scratch_bytes,
            more(old.scratch_bytes, new.scratch_bytes),
        ),
        (
            "occupancy",
            old.occupancy,
            new.occupancy,
            more(new.occupancy, old.occupancy),
        ),
        ("registers", old.registers, new.registers, false),
        (
            "workgroup bytes",
            old.workgroup_bytes,
            new.workgroup_bytes,
            false,
        ),
        ("instructions", old.instructions, new.instructions, false),
    ];
    let counts = counts.into_iter().filter(|(_, a, b, _)| a != b);
    let mut list: Vec<(String, bool)> = counts
        .map(|(name, a, b, worse)| (changed(name, a, b), worse))
        .collect();
    let matrix = |shader: &Shader| shader.hot_loop.map(|mix| u64::from(mix.matrix));
    let (had, has) = (matrix(before), matrix(now));
    if had != has {
        let vanished = had.unwrap_or(0) > 0 && has.unwrap_or(0) == 0;
        list.push((
            changed("matrix instructions in the hot loop", had, has),
            vanished,
        ));
    }
    let (had, has) = (before.percent_flop, now.percent_flop);
    if had != has {
        let worse = has.unwrap_or(0.0) < had.unwrap_or(0.0);
        list.push((changed("FLOP share of the hot loop", had, has), worse));
    }
    list
}

fn changed<T: ToString>(name: &str, before: Option<T>, now: Option<T>) -> String {
    let text = |value: Option<T>| value.map_or_else(|| "unknown".into(), |v| v.to_string());
    format!("{name} {} → {}", text(before), text(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codegen::listing::Mix;
    use crate::codegen::statistics::Statistics;

    fn shader(case: &str) -> Shader {
        Shader {
            case: case.into(),
            parameters: Default::default(),
            pass: 1,
            template: "t.wgsl.jinja".into(),
            statistics: Statistics {
                registers: Some(96),
                spills: Some(0),
                scratch_bytes: Some(0),
                occupancy: Some(10),
                ..Default::default()
            },
            hot_loop: Some(Mix {
                fma: 8,
                matrix: 2,
                address: 10,
                ..Default::default()
            }),
            percent_flop: Some(50.0),
            bound_percent_of_peak: None,
        }
    }

    fn survey(compiler: &str, shaders: &[Shader]) -> Survey {
        Survey {
            adapter: "Testcard 1".into(),
            architecture: None,
            compiler: compiler.into(),
            shaders: shaders.to_vec(),
            skipped: Vec::new(),
        }
    }

    fn after(change: impl Fn(&mut Shader)) -> Comparison {
        let before = shader("a");
        let mut now = before.clone();
        change(&mut now);
        Comparison::of(&survey("1", &[before]), &survey("1", &[now]), true)
    }

    #[test]
    fn what_got_worse_fails_and_says_what_it_is() {
        let told = |change: &dyn Fn(&mut Shader)| {
            let comparison = after(change);
            let text: Vec<String> = comparison.changes.iter().map(|c| c.what.clone()).collect();
            (comparison.is_worse(), text.join("; "))
        };
        let worse = |text: &str| (true, text.to_owned());
        let fine = |text: &str| (false, text.to_owned());
        assert_eq!(told(&|_| {}), fine(""));
        assert_eq!(
            told(&|s| s.statistics.spills = Some(4)),
            worse("spills 0 → 4")
        );
        assert_eq!(
            told(&|s| {
                s.statistics.spills = None;
                s.statistics.scratch_bytes = Some(64);
            }),
            worse("spills 0 → unknown; scratch bytes 0 → 64")
        );
        assert_eq!(
            told(&|s| s.statistics.occupancy = Some(8)),
            worse("occupancy 10 → 8")
        );
        assert_eq!(
            told(&|s| s.statistics.occupancy = Some(12)),
            fine("occupancy 10 → 12")
        );
        assert_eq!(
            told(&|s| s.statistics.registers = Some(97)),
            fine("registers 96 → 97")
        );
        assert_eq!(
            told(&|s| s.percent_flop = Some(49.9)),
            worse("FLOP share of the hot loop 50 → 49.9")
        );
        assert_eq!(
            told(&|s| s.hot_loop = Some(Mix {
                fma: 10,
                ..Default::default()
            })),
            worse("matrix instructions in the hot loop 2 → 0")
        );
    }

    #[test]
    fn another_compiler_is_no_verdict() {
        let mut now = shader("a");
        now.statistics.spills = Some(9);
        let comparison = Comparison::of(&survey("1", &[shader("a")]), &survey("2", &[now]), true);
        assert_eq!(comparison.other_compiler.as_deref(), Some("1"));
        assert!(comparison.changes[0].worse && !comparison.is_worse());
    }

    #[test]
    fn shaders_that_vanish_count_unless_only_a_part_was_asked_for() {
        let before = survey("1", &[shader("a"), shader("b")]);
        let now = survey("1", &[shader("a")]);
        assert!(Comparison::of(&before, &now, true).is_worse());
        assert!(!Comparison::of(&before, &now, false).is_worse());
        let mut spilling = shader("c");
        spilling.statistics.spills = Some(1);
        let more = survey("1", &[shader("a"), shader("b"), spilling]);
        assert!(Comparison::of(&before, &more, true).is_worse());
        assert!(!Comparison::of(&now, &before, true).is_worse());
    }
}
