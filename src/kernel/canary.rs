//! A kernel whose only purpose is to show that the driver computes at all.
//!
//! Checking outputs is not enough for that. A driver that does nothing may hand
//! out the same memory for every buffer, and then the "output" of a copy is its
//! input, read back from where it was uploaded to.

use minijinja::context;
use rand_core::Rng;

use super::Parameters;
use super::element::{Element, Tensor};
use super::inputs;
use super::program::{BufferSpec, Pass, Program, Role};
use super::template::{TemplateError, Templates};
use crate::units::Bytes;

/// Words that are challenged, one an invocation.
const WORDS: u32 = 64;

/// A challenge of random words.
pub struct Canary {
    words: Vec<u32>,
}

impl Canary {
    /// The challenge that `seed` gives.
    pub fn new(seed: u64) -> Self {
        let mut rng = inputs::stream(seed, u64::MAX, 0);
        Self {
            words: (0..WORDS).map(|_| rng.next_u32()).collect(),
        }
    }

    /// The program that answers it.
    ///
    /// # Errors
    /// When the template does not render.
    pub fn program(&self) -> Result<Program, TemplateError> {
        let template = "canary.wgsl.jinja";
        let buffer = |role| BufferSpec {
            role,
            size: Bytes(4 * u64::from(WORDS)),
        };
        Ok(Program {
            parameters: Parameters::new(),
            buffers: vec![buffer(Role::Input(0)), buffer(Role::Output)],
            passes: vec![Pass {
                template,
                // Never another set's: those may be what is under test.
                wgsl: Templates::builtin().render(template, context! { lanes => WORDS })?,
                bindings: vec![0, 1],
                workgroups: [1, 1, 1],
            }],
        })
    }

    /// The words, as the program reads them.
    pub fn input(&self) -> Tensor {
        let bytes = self.words.iter().flat_map(|word| word.to_le_bytes());
        Tensor {
            bytes: bytes.collect(),
            element: Element::I32,
            count: self.words.len(),
        }
    }

    /// Whether `output` is the answer.
    pub fn is_answered(&self, output: &[u8]) -> bool {
        let answer = |word: &u32| word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let expected = self.words.iter().map(answer);
        let found = output
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&b| u32::from_le_bytes(b));
        found.eq(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1·1664525 + 1013904223 = 1015568748 and 2³¹·1664525 + 1013904223 =
    /// 2³¹ + 1013904223 (mod 2³²), by hand.
    #[test]
    fn only_the_answer_is_accepted() {
        let canary = Canary {
            words: vec![1, 1 << 31],
        };
        let answer = [1_015_568_748u32, 3_161_387_871];
        let bytes: Vec<u8> = answer.iter().flat_map(|w| w.to_le_bytes()).collect();
        assert!(canary.is_answered(&bytes));
        assert!(!canary.is_answered(&canary.input().bytes));
        assert!(!canary.is_answered(&[0; 8]));
        assert!(!canary.is_answered(&bytes[..4]));
    }
}
