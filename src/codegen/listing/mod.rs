//! A compiler's own disassembly: what its instructions do, and which loop is hot.
//!
//! One file an instruction set. What is told apart is coarse on purpose: the
//! question is which share of the instructions computes.

mod aco;
mod nak;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Executable;

/// What an instruction is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Multiplies and adds: FMA and dot products.
    Fma,
    /// A product on matrix units.
    Matrix,
    /// Reads or writes memory of any kind, or passes values between lanes through
    /// the units that do.
    Memory,
    /// Integer arithmetic, which in these kernels is addresses and indices.
    Address,
    /// Comparisons, branches, masks of lanes, waits and barriers.
    Control,
    /// All else: moves, conversions, other floating-point arithmetic.
    Other,
}

/// What executes an instruction, as far as throughput differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nothing that lanes compute with: scalar, memory and control.
    None,
    /// Arithmetic in single precision, and what runs at its rate.
    Single,
    /// Arithmetic on pairs of halves.
    Half,
    /// Arithmetic in double precision.
    Double,
    /// Integer arithmetic and all else that lanes do.
    Integer,
    /// Matrix units.
    Matrix,
}

/// One instruction of a subgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it is there for.
    pub class: Class,
    /// What executes it.
    pub unit: Unit,
    /// Arithmetic operations: of a lane, or of all lanes for [`Unit::Matrix`]. A
    /// multiplication or addition is one, both together are two.
    pub operations: u32,
}

impl Instruction {
    fn new(class: Class, unit: Unit, operations: u32) -> Self {
        Self {
            class,
            unit,
            operations,
        }
    }

    /// Operations of all `lanes` together.
    pub fn work(&self, lanes: u32) -> u64 {
        let of_one = u64::from(self.operations);
        match self.unit {
            Unit::Matrix => of_one,
            _ => of_one * u64::from(lanes),
        }
    }
}

/// Instructions that are executed one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
struct Block {
    instructions: Vec<Instruction>,
    /// Positions of the blocks that may come next.
    next: Vec<usize>,
}

/// The instruction set of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    Aco,
    Nak,
}

/// What the instructions of a loop are, by [`Class`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix {
    /// See [`Class::Fma`].
    pub fma: u32,
    /// See [`Class::Matrix`].
    pub matrix: u32,
    /// See [`Class::Memory`].
    pub memory: u32,
    /// See [`Class::Address`].
    pub address: u32,
    /// See [`Class::Control`].
    pub control: u32,
    /// See [`Class::Other`].
    pub other: u32,
}

impl Mix {
    fn of(instructions: &[Instruction]) -> Self {
        let mut mix = Self::default();
        for instruction in instructions {
            *match instruction.class {
                Class::Fma => &mut mix.fma,
                Class::Matrix => &mut mix.matrix,
                Class::Memory => &mut mix.memory,
                Class::Address => &mut mix.address,
                Class::Control => &mut mix.control,
                Class::Other => &mut mix.other,
            } += 1;
        }
        mix
    }

    /// All instructions.
    pub fn total(&self) -> u32 {
        self.fma + self.matrix + self.memory + self.address + self.control + self.other
    }

    /// FMA and matrix instructions among all.
    pub fn percent_flop(&self) -> f64 {
        100.0 * f64::from(self.fma + self.matrix) / f64::from(self.total().max(1))
    }
}

/// The loop that does the most arithmetic.
#[derive(Clone, Debug, PartialEq)]
pub struct HotLoop {
    /// Its instructions, without those of loops inside of it. Branches inside are
    /// counted as if all of them were taken.
    pub instructions: Vec<Instruction>,
}

impl HotLoop {
    /// The hot loop in the executable's disassembly.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn of(executable: &Executable) -> Result<Self, String> {
        let (syntax, text) = disassembly(executable)
            .ok_or("the driver gives no disassembly in a syntax that is read here")?;
        let blocks = match syntax {
            Syntax::Aco => aco::parse(text),
            Syntax::Nak => nak::parse(text),
        };
        let lanes = executable.subgroup_size.unwrap_or(32);
        hottest(&blocks, lanes).ok_or_else(|| "no loop does arithmetic that is counted".into())
    }

    /// What its instructions are.
    pub fn mix(&self) -> Mix {
        Mix::of(&self.instructions)
    }
}

/// The disassembly among the texts of an executable.
fn disassembly(executable: &Executable) -> Option<(Syntax, &str)> {
    executable.representations.iter().find_map(|text| {
        let syntax = match text.name.as_str() {
            "Assembly" if text.text.trim_start().starts_with("BB0:") => Syntax::Aco,
            "NAK assembly" => Syntax::Nak,
            _ => return None,
        };
        Some((syntax, text.text.as_str()))
    })
}

/// The text that [`HotLoop::of`] reads, or else the last one.
pub fn text(executable: &Executable) -> Option<&str> {
    let last = || executable.representations.last().map(|r| r.text.as_str());
    disassembly(executable).map(|(_, text)| text).or_else(last)
}

/// Of the loops' own instructions, those that do the most work, and of equal work
/// those that are fewest.
fn hottest(blocks: &[Block], lanes: u32) -> Option<HotLoop> {
    let loops = loops(blocks);
    let own = |number: usize| -> Vec<Instruction> {
        let innermost = |block: &&usize| {
            let around = loops.iter().enumerate();
            let around = around.filter(|(_, l)| l.contains(block));
            around.min_by_key(|(_, l)| l.len()).map(|(n, _)| n) == Some(number)
        };
        let inside = loops[number].iter().filter(innermost);
        inside
            .flat_map(|&block| blocks[block].instructions.iter().copied())
            .collect()
    };
    let work =
        |instructions: &[Instruction]| -> u64 { instructions.iter().map(|i| i.work(lanes)).sum() };
    (0..loops.len())
        .map(own)
        .filter(|instructions| work(instructions) > 0)
        .max_by_key(|instructions| (work(instructions), Reverse(instructions.len())))
        .map(|instructions| HotLoop { instructions })
}

/// The natural loops: each jump back to a block that leads to it makes that block
/// a head, and all that leads to the jump without passing the head is inside.
fn loops(blocks: &[Block]) -> Vec<BTreeSet<usize>> {
    let mut loops: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (from, head) in jumps_back(blocks) {
        let inside = loops.entry(head).or_insert_with(|| BTreeSet::from([head]));
        let mut open = vec![from];
        while let Some(block) = open.pop() {
            if inside.insert(block) {
                let before = (0..blocks.len()).filter(|&b| blocks[b].next.contains(&block));
                open.extend(before);
            }
        }
    }
    loops.into_values().collect()
}

/// Jumps to a block that is on the way from the entry to the jump.
fn jumps_back(blocks: &[Block]) -> Vec<(usize, usize)> {
    let mut jumps = Vec::new();
    let mut seen = vec![false; blocks.len()];
    // The way from the entry, and how many of each block's successors are done.
    let mut way: Vec<(usize, usize)> = Vec::new();
    if !blocks.is_empty() {
        way.push((0, 0));
        seen[0] = true;
    }
    while let Some((block, done)) = way.last_mut() {
        let (from, to) = (*block, blocks[*block].next.get(*done).copied());
        *done += 1;
        match to {
            None => {
                way.pop();
            }
            Some(to) if to >= blocks.len() => {}
            Some(to) if way.iter().any(|&(block, _)| block == to) => jumps.push((from, to)),
            Some(to) if !seen[to] => {
                seen[to] = true;
                way.push((to, 0));
            }
            Some(_) => {}
        }
    }
    jumps
}

/// The product of the numbers behind letters in text such as `16x16x16` or
/// `m16n8k16`.
fn volume(text: &str) -> Option<u32> {
    let sides: Vec<u32> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|side| side.parse().ok())
        .collect();
    match sides[..] {
        [m, n, k] => m.checked_mul(n)?.checked_mul(k),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codegen::Representation;

    fn fma() -> Instruction {
        Instruction::new(Class::Fma, Unit::Single, 2)
    }

    fn address() -> Instruction {
        Instruction::new(Class::Address, Unit::Integer, 0)
    }

    fn block(instructions: &[Instruction], next: &[usize]) -> Block {
        Block {
            instructions: instructions.to_vec(),
            next: next.to_vec(),
        }
    }

    /// An outer loop of 1 to 4 with one FMA of its own around an inner loop of 2 and 3
    /// with two, and a loop of 5 alone with one.
    #[test]
    fn the_innermost_loop_with_the_most_arithmetic_is_hot() {
        let blocks = [
            block(&[fma(), fma(), fma()], &[1]),
            block(&[fma()], &[2, 5]),
            block(&[fma()], &[3]),
            block(&[fma(), address()], &[2, 4]),
            block(&[address()], &[1]),
            block(&[fma()], &[5, 6]),
            block(&[], &[]),
        ];
        let hot = hottest(&blocks, 32).unwrap();
        assert_eq!(hot.instructions, [fma(), fma(), address()]);
        let mix = hot.mix();
        assert_eq!((mix.fma, mix.address, mix.total()), (2, 1, 3));
        assert!((mix.percent_flop() - 200.0 / 3.0).abs() < 1e-9);
    }

    /// What follows the loop of 1 and 4 stands in the middle of it, and jumps up to
    /// where it goes on.
    #[test]
    fn a_loop_is_what_leads_back_and_not_what_lies_between() {
        let blocks = [
            block(&[], &[1]),
            block(&[address()], &[4, 3]),
            block(&[fma(), fma()], &[]),
            block(&[fma(), fma()], &[2]),
            block(&[fma()], &[1]),
        ];
        assert_eq!(loops(&blocks), [BTreeSet::from([1, 4])]);
        assert_eq!(
            hottest(&blocks, 32).unwrap().instructions,
            [address(), fma()]
        );
    }

    #[test]
    fn a_loop_with_two_jumps_back_is_one_loop() {
        let blocks = [
            block(&[fma()], &[1]),
            block(&[fma()], &[0, 2]),
            block(&[address()], &[0]),
        ];
        assert_eq!(loops(&blocks), [BTreeSet::from([0, 1, 2])]);
        assert_eq!(hottest(&blocks, 32).unwrap().instructions.len(), 3);
    }

    #[test]
    fn of_equal_work_the_shorter_loop_is_hot() {
        let blocks = [
            block(&[], &[1]),
            block(&[fma(), address()], &[1, 2]),
            block(&[fma()], &[2, 3]),
            block(&[fma(), address()], &[3]),
        ];
        assert_eq!(hottest(&blocks, 32).unwrap().instructions, [fma()]);
    }

    #[test]
    fn what_has_no_hot_loop_says_why() {
        let mut executable = Executable {
            name: "compute".into(),
            subgroup_size: Some(64),
            statistics: Vec::new(),
            representations: Vec::new(),
        };
        let none = HotLoop::of(&executable).unwrap_err();
        assert!(none.contains("no disassembly"), "{none}");
        executable.representations.push(Representation {
            name: "Assembly".into(),
            text: "BB0:\n\tv_fmac_f32_e32 v0, v1, v2\n\ts_endpgm\n".into(),
        });
        let none = HotLoop::of(&executable).unwrap_err();
        assert!(none.contains("no loop"), "{none}");
    }

    #[test]
    fn sides_of_matrices_are_read_in_both_ways_of_writing() {
        assert_eq!(volume("16x16x16"), Some(4096));
        assert_eq!(volume("m16n8k16"), Some(2048));
        assert_eq!(volume("f32"), None);
    }
}
