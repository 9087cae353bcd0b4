//! Cost of a dispatch and of a submission: one workgroup of one invocation that
//! stores one word, which proves that it ran. No operations are counted.

use minijinja::context;

use super::element::{Element, Tensor};
use super::inputs;
use super::problem::{Checked, Problem, Verdict, Work, WorkUnit};
use super::program::{BufferSpec, Pass, Program, Role};
use super::{Build, Candidates, Parameters};
use crate::units::Bytes;

/// Words of the output. Only the first is stored, the others stay poisoned.
const WORDS: u64 = 1;

/// The next-to-empty dispatch.
pub fn empty(build: &Build) -> Candidates {
    let template = "empty.wgsl.jinja";
    let buffer = |role| BufferSpec {
        role,
        size: Bytes(4 * WORDS),
    };
    Ok(vec![Program {
        parameters: Parameters::new(),
        buffers: vec![buffer(Role::Input(0)), buffer(Role::Output)],
        passes: vec![Pass {
            template,
            wgsl: build.templates.render(template, context! {})?,
            bindings: vec![0, 1],
            workgroups: [1, 1, 1],
        }],
    }])
}

/// One word to store.
pub struct Empty {
    inputs: [Tensor; 1],
}

impl Empty {
    /// The word that `seed` gives.
    pub fn new(seed: u64) -> Self {
        Self {
            inputs: [inputs::normal(seed, 0, WORDS as usize, Element::F32)],
        }
    }
}

impl Problem for Empty {
    fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    fn work(&self, _program: &Program) -> Work {
        Work {
            operations: 0,
            unit: WorkUnit::Flop,
            bytes: 0,
        }
    }

    fn reference_macs(&self) -> u64 {
        0
    }

    fn check(&self, _program: &Program, output: &[u8]) -> Verdict {
        let mut tracker = Verdict::tracker(Checked::Full, 0.0);
        let source = &self.inputs[0];
        let found = source.element.read(output, source.count);
        for (found, expected) in found.into_iter().zip(source.values()) {
            tracker.compare(found, expected, expected.abs(), || "the stored word".into());
        }
        tracker.verdict(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_was_not_stored_is_not_computed() {
        let problem = Empty::new(1);
        let program = Program {
            parameters: Parameters::new(),
            buffers: Vec::new(),
            passes: Vec::new(),
        };
        let stored = problem.inputs[0].bytes[..4].to_vec();
        assert_eq!(problem.check(&program, &stored).rejection, None);
        let rejection = problem.check(&program, &[0xff; 4]).rejection.unwrap();
        assert!(rejection.to_string().starts_with("output not computed"));
    }
}
