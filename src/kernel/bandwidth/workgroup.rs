//! Workgroup memory: every invocation walks through its workgroup's tile over and
//! over and sums up what it reads.
//!
//! Traffic is every byte of the tile written once and every byte that an
//! invocation reads, whether the hardware hands one read to several invocations
//! or not.

use minijinja::context;

use super::read::whole_numbers;
use super::{LANES, floats, wgsl_type, working_set};
use crate::kernel::capabilities::Unfit;
use crate::kernel::element::{Element, Tensor};
use crate::kernel::problem::{Checked, Problem, Verdict, Work, WorkUnit};
use crate::kernel::program::{BufferSpec, Pass, Program, Role};
use crate::kernel::{Build, BuildError, Candidates, Parameters};
use crate::units::Bytes;

/// (vector width, loads at a time) that are tried.
const FORMS: &[(u32, u32)] = &[(1, 8), (2, 8), (4, 4), (4, 8)];
/// Vectors that an invocation reads: four times as many numbers below 2⁷ stay
/// below 2²⁴, which float32 holds exactly.
const READS: u32 = 2048;

/// Candidates of reading a tile.
pub fn workgroup(build: &Build) -> Candidates {
    FORMS
        .iter()
        .map(|&(width, unroll)| program(build, width, unroll))
        .collect()
}

fn program(build: &Build, width: u32, unroll: u32) -> Result<Program, BuildError> {
    let needed = Bytes(working_set(build)?);
    let allowed = build.capabilities.max_workgroup_memory;
    if needed > allowed {
        return Err(Unfit::WorkgroupMemory { needed, allowed }.into());
    }
    let lanes = LANES.min(build.capabilities.max_workgroup_invocations);
    let groups: u32 = if build.capabilities.software {
        32
    } else {
        1 << 12
    };
    let template = "bandwidth_workgroup.wgsl.jinja";
    let wgsl = build.templates.render(
        template,
        context! {
            lanes, width, unroll,
            slots => needed.0 / 4 / u64::from(width),
            type => wgsl_type(width),
        },
    )?;
    let buffer = |role, size| BufferSpec {
        role,
        size: Bytes(size),
    };
    let sums = u64::from(groups * lanes);
    Ok(Program {
        parameters: Parameters::from([
            ("width".into(), width),
            ("unroll".into(), unroll),
            ("reads".into(), READS),
            ("lanes".into(), lanes),
            ("workgroups".into(), groups),
        ]),
        buffers: vec![
            BufferSpec::uniform(vec![READS]),
            buffer(Role::Input(0), needed.0),
            buffer(Role::Output, Element::F32.buffer_size(sums)),
        ],
        passes: vec![Pass {
            template,
            wgsl,
            bindings: vec![0, 1, 2],
            workgroups: [groups, 1, 1],
        }],
    })
}

/// Sums over a tile of whole numbers.
pub struct Workgroup {
    inputs: [Tensor; 1],
}

impl Workgroup {
    /// A tile of `bytes`.
    pub fn new(bytes: u64, seed: u64) -> Self {
        Self {
            inputs: [whole_numbers(seed, (bytes / 4) as usize)],
        }
    }
}

impl Problem for Workgroup {
    fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    fn work(&self, program: &Program) -> Work {
        let parameter = |name| u64::from(program.parameter(name));
        let read = 4 * parameter("width") * parameter("reads") * parameter("lanes");
        let written = 4 * self.inputs[0].count as u64;
        Work {
            operations: 0,
            unit: WorkUnit::Flop,
            bytes: parameter("workgroups") * (read + written),
        }
    }

    fn reference_macs(&self) -> u64 {
        4 * u64::from(READS) * u64::from(LANES)
    }

    fn check(&self, program: &Program, output: &[u8]) -> Verdict {
        let parameter = |name| program.parameter(name) as usize;
        let tile = self.inputs[0].values();
        let vectors: Vec<f64> = tile
            .chunks(parameter("width"))
            .map(|vector| vector.iter().sum())
            .collect();
        let sum = |lane: usize| -> f64 {
            let slots = vectors.iter().cycle().skip(lane % vectors.len());
            slots.take(parameter("reads")).sum()
        };
        let sums: Vec<f64> = (0..parameter("lanes")).map(sum).collect();
        let count = parameter("workgroups") * sums.len();
        let mut tracker = Verdict::tracker(Checked::Full, 0.0);
        for (index, found) in floats(output).take(count).enumerate() {
            let (group, lane) = (index / sums.len(), index % sums.len());
            tracker.compare(found, sums[lane], sums[lane].abs(), || {
                format!("workgroup {group}, invocation {lane}")
            });
        }
        tracker.verdict(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        let parameters = [
            ("width", 4),
            ("reads", READS),
            ("lanes", 8),
            ("workgroups", 2),
        ];
        Program {
            parameters: parameters.map(|(n, v)| (n.to_owned(), v)).into(),
            buffers: Vec::new(),
            passes: Vec::new(),
        }
    }

    /// Sums in float32, the way the invocations do, `missing` reads short.
    #[test]
    fn sums_are_exact_and_a_missing_read_shows() {
        let problem = Workgroup::new(12 << 10, 3);
        let tile = problem.inputs[0].values();
        let rejection = |missing: u32| {
            let sum = |lane: usize| {
                (0..(READS - missing) as usize).fold(0f32, |sum, read| {
                    let first = (lane + read) % 768 * 4;
                    tile[first..first + 4]
                        .iter()
                        .fold(sum, |s, v| s + *v as f32)
                })
            };
            let sums: Vec<f64> = (0..16).map(|i| f64::from(sum(i % 8))).collect();
            let output = Tensor::new(Element::F32, &sums).bytes;
            problem.check(&program(), &output).rejection
        };
        assert_eq!(rejection(0), None);
        assert!(rejection(1).is_some());
    }

    /// 2 workgroups · (8 invocations · 2048 reads · 16 bytes + a tile of 12 KiB).
    #[test]
    fn traffic_is_every_read_and_the_tile_once() {
        let work = Workgroup::new(12 << 10, 3).work(&program());
        assert_eq!(work.bytes, 2 * (8 * 2048 * 16 + 12_288));
    }
}
