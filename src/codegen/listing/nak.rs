//! NVIDIA's instruction sets as NAK, NVK's compiler, prints them.
//!
//! `block 4 L10 [3] -> {` begins a block, with the blocks before it, and
//! `} -> [5, 9]` ends it with those behind. Between them stand a predicate, the
//! results, `=`, the instruction, and how it is scheduled behind two slashes.

use super::{Block, Class, Instruction, Unit, volume};

/// The blocks of a listing.
pub(super) fn parse(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        if line.starts_with("block") && line.ends_with('{') {
            blocks.push(Block::default());
            continue;
        }
        let Some(block) = blocks.last_mut() else {
            continue;
        };
        if let Some(next) = line.strip_prefix('}') {
            let numbers = next.split(|c: char| !c.is_ascii_digit());
            block.next = numbers.filter_map(|number| number.parse().ok()).collect();
        } else if let Some(name) = name(line) {
            block.instructions.push(instruction(name));
        }
    }
    blocks
}

/// The instruction's name, without predicate and results.
fn name(line: &str) -> Option<&str> {
    let computed = line.split(" = ").last()?;
    let mut words = computed.split_whitespace();
    words.find(|word| !word.starts_with('@'))
}

fn instruction(name: &str) -> Instruction {
    let mut parts = name.split('.');
    let base = parts.next().unwrap_or_default();
    let is = |names: &[&str]| names.contains(&base);
    if is(&["hmma", "imma", "bmma"]) {
        let sides = parts.find_map(volume).unwrap_or_default();
        return Instruction::new(Class::Matrix, Unit::Matrix, 2 * sides);
    }
    let (class, unit, operations) = match base {
        "ffma" => (Class::Fma, Unit::Single, 2),
        "hfma2" => (Class::Fma, Unit::Half, 4),
        "dfma" => (Class::Fma, Unit::Double, 2),
        "idp4" => (Class::Fma, Unit::Integer, 8),
        "fadd" | "fmul" => (Class::Other, Unit::Single, 1),
        "hadd2" | "hmul2" => (Class::Other, Unit::Half, 2),
        "dadd" | "dmul" => (Class::Other, Unit::Double, 1),
        "fmnmx" | "fsel" => (Class::Other, Unit::Single, 0),
        _ if is(&[
            "ld", "st", "ldc", "ldsm", "atom", "red", "suld", "sust", "suatom", "shfl", "tex",
            "tld",
        ]) =>
        {
            (Class::Memory, Unit::None, 0)
        }
        _ if is(&[
            "iadd2", "iadd3", "imad", "imad64", "imul", "lop2", "lop3", "shf", "shl", "shr", "lea",
            "leax", "bmsk", "bfe", "imnmx", "iabs", "ineg", "popc", "flo", "brev",
        ]) =>
        {
            (Class::Address, Unit::Integer, 0)
        }
        _ if is(&[
            "isetp", "fsetp", "dsetp", "hsetp2", "plop3", "psetp", "bra", "bssy", "bsync",
            "bclear", "bmov", "nop", "exit", "bar", "membar", "warpsync", "vote", "depbar", "cctl",
        ]) =>
        {
            (Class::Control, Unit::None, 0)
        }
        _ => (Class::Other, Unit::None, 0),
    };
    Instruction::new(class, unit, operations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codegen::listing::{Mix, hottest};

    /// Written for this test. The loop is blocks 1 and 2: by hand, 2 FMA; 2 memory
    /// (shared memory, constant); 2 address (addition, shift); 3 control (comparison
    /// and two branches); 2 other (move, addition of floats).
    const LISTING: &str = "block.u 0 L2 [] -> {
      r0       = s2r sr[0x25]                                 // delay=1 wr:0
      r9       = ffma.ftz r1 r2 r9                            // delay=1
                 bra L1                                       // delay=1 wt=000110
} -> [1]
block.u 1 L1 [0, 2] -> {
      ur3      = ldc.b32 cx[ur0..2][+0x8]                     // delay=12 wr:0
      p0 null  = isetp.ge.u32 ur2 ur3                         // delay=11 wt=000001
@!p0             bra L3                                       // delay=1
} -> [2, 3]
block 2 L4 [1] -> {
      r4..8    = ld.shared.strong.cta.b128 [r3+0x10]          // delay=1 wr:1
      r0       = iadd3 r0 0x10 rZ                             // delay=1
      r5       = shf.r.w.u32.hi rZ r3 0x4                     // delay=1
      r9       = ffma.ftz r4 r2 r9                            // delay=1
@p1   r9       = ffma.ftz r5 r2 r9                            // delay=1
      r8       = fadd.ftz r9 r9                               // delay=1
      r7       = mov rZ                                       // delay=1
                 bra L1                                       // delay=1
} -> [1]
block 3 L3 [1] -> {
                 exit                                         // delay=1
} -> []
";

    #[test]
    fn the_mix_of_a_loop_is_as_counted_by_hand() {
        let hot = hottest(&parse(LISTING), 32).unwrap();
        let expected = Mix {
            fma: 2,
            matrix: 0,
            memory: 2,
            address: 2,
            control: 3,
            other: 2,
        };
        assert_eq!(hot.mix(), expected);
        // Two FMA and an addition.
        let operations: u32 = hot.instructions.iter().map(|i| i.operations).sum();
        assert_eq!(operations, 5);
    }

    #[test]
    fn instructions_are_told_apart() {
        let what = |name| {
            let Instruction {
                class,
                unit,
                operations,
            } = instruction(name);
            (class, unit, operations)
        };
        use Class::*;
        for (name, expected) in [
            // 2·16·8·16
            ("hmma.m16n8k16.f32", (Matrix, Unit::Matrix, 4096)),
            ("hfma2", (Fma, Unit::Half, 4)),
            ("dfma", (Fma, Unit::Double, 2)),
            ("idp4.i8.i8", (Fma, Unit::Integer, 8)),
            ("lop3.LUT[0xc0]", (Address, Unit::Integer, 0)),
            ("st.local.strong.cta.b32", (Memory, Unit::None, 0)),
            ("shfl.idx", (Memory, Unit::None, 0)),
            ("mufu.exp2", (Other, Unit::None, 0)),
            ("bar.sync", (Control, Unit::None, 0)),
        ] {
            assert_eq!(what(name), expected, "{name}");
        }
    }
}
