//! AMD's instruction sets RDNA 1 to 3 as ACO, RADV's compiler, prints them.
//!
//! `BB4:` begins a block; a line is an instruction and, behind a semicolon, its
//! encoding. Names are those of AMD's ISA documents.

use super::{Block, Class, Instruction, Unit, volume};

/// The blocks of a listing.
pub(super) fn parse(text: &str) -> Vec<Block> {
    let mut labels: Vec<&str> = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    let mut targets: Vec<(usize, &str)> = Vec::new();
    // Whether the block before goes on in the next one.
    let mut falls_through = false;
    for line in text.lines() {
        let line = line.split(';').next().unwrap_or_default().trim();
        if let Some(label) = line.strip_suffix(':') {
            if let Some(above) = blocks.last_mut().filter(|_| falls_through) {
                above.next.push(labels.len());
            }
            labels.push(label);
            blocks.push(Block::default());
            falls_through = true;
            continue;
        }
        let Some(block) = blocks.last_mut() else {
            continue;
        };
        if let Some(times) = repeated(line) {
            let last = block.instructions.last().copied();
            block.instructions.extend(last.iter().cycle().take(times));
            continue;
        }
        let Some(name) = line.split_whitespace().next() else {
            continue;
        };
        if name.starts_with("s_branch") || name.starts_with("s_cbranch") {
            let target = line.split_whitespace().last().unwrap_or_default();
            targets.push((labels.len() - 1, target));
        }
        falls_through = !["s_branch", "s_endpgm", "s_setpc_b64"].contains(&name);
        block.instructions.push(instruction(line));
    }
    for (from, target) in targets {
        if let Some(to) = labels.iter().position(|&label| label == target) {
            blocks[from].next.push(to);
        }
    }
    blocks
}

/// How often the instruction above is repeated, if the line says so.
fn repeated(line: &str) -> Option<usize> {
    let times = line.strip_prefix("(then repeated ")?;
    times.strip_suffix(" times)")?.parse().ok()
}

/// One line; RDNA 3 writes two operations that are issued together as one.
fn instruction(line: &str) -> Instruction {
    let mut operations = line.split(" :: ").map(|part| {
        let name = part.split_whitespace().next().unwrap_or_default();
        let name = ["_e32", "_e64", "_dpp", "_sdwa"]
            .iter()
            .fold(name, |name, suffix| name.trim_end_matches(suffix));
        (name, part)
    });
    let Some((name, part)) = operations.next() else {
        return Instruction::new(Class::Other, Unit::None, 0);
    };
    let Some(name) = name.strip_prefix("v_dual_") else {
        return one(name, part);
    };
    let first = vector(name);
    let second = operations
        .next()
        .and_then(|(name, _)| name.strip_prefix("v_dual_"));
    let second = second.map_or(first, vector);
    let class = match (first.class, second.class) {
        (Class::Fma, _) | (_, Class::Fma) => Class::Fma,
        (class, _) => class,
    };
    Instruction::new(class, Unit::Single, first.operations + second.operations)
}

fn one(name: &str, line: &str) -> Instruction {
    let memory = [
        "ds_",
        "buffer_",
        "global_",
        "scratch_",
        "flat_",
        "image_",
        "s_load",
        "s_buffer_load",
    ];
    if memory.iter().any(|prefix| name.starts_with(prefix)) {
        return Instruction::new(Class::Memory, Unit::None, 0);
    }
    match name.split_once('_') {
        Some(("s", name)) => Instruction::new(scalar(name, line), Unit::None, 0),
        Some(("v", name)) => vector(name),
        _ => Instruction::new(Class::Other, Unit::None, 0),
    }
}

/// Scalar arithmetic in 32 bits is for addresses; what has 64 bits or writes
/// `exec` is a mask of lanes, but for what is added.
fn scalar(name: &str, line: &str) -> Class {
    let arithmetic = [
        "add",
        "sub",
        "mul",
        "lshl",
        "lshr",
        "ashr",
        "and_b32",
        "or_b32",
        "xor_b32",
        "bfe",
        "bfm",
        "min",
        "max",
        "abs",
        "not_b32",
        "andn2_b32",
        "and_not1_b32",
    ];
    let is = |names: &[&str]| names.iter().any(|prefix| name.starts_with(prefix));
    if line.contains("exec") {
        Class::Control
    } else if is(&["mov", "cmov"]) {
        Class::Other
    } else if is(&arithmetic) {
        Class::Address
    } else {
        Class::Control
    }
}

/// What the lanes do, by the name behind `v_`.
fn vector(name: &str) -> Instruction {
    let is = |names: &[&str]| names.iter().any(|prefix| name.starts_with(prefix));
    let unit = unit(name);
    let pair = if name.starts_with("pk_") { 2 } else { 1 };
    let bare = name.trim_start_matches("pk_");
    let begins = |names: &[&str]| names.iter().any(|prefix| bare.starts_with(prefix));
    if is(&["wmma", "swmmac"]) {
        let sides = name.split('_').find_map(volume).unwrap_or_default();
        return Instruction::new(Class::Matrix, Unit::Matrix, 2 * sides);
    }
    if is(&["dot4", "dot8", "dot2"]) {
        let pairs = if is(&["dot8"]) {
            8
        } else if is(&["dot4"]) {
            4
        } else {
            2
        };
        return Instruction::new(Class::Fma, unit, 2 * pairs);
    }
    let float = unit != Unit::Integer;
    if float && begins(&["fma", "fmac", "mad", "mac"]) {
        return Instruction::new(Class::Fma, unit, 2 * pair);
    }
    if float && begins(&["add", "sub", "mul"]) {
        return Instruction::new(Class::Other, unit, pair);
    }
    let class = if is(&["cmp"]) {
        Class::Control
    } else if unit == Unit::Integer
        && begins(&[
            "add", "sub", "mul", "mad", "lshl", "lshr", "ashr", "and", "or", "xor", "bfe", "bfi",
            "min", "max", "mbcnt", "not", "alignbit",
        ])
    {
        Class::Address
    } else {
        Class::Other
    };
    Instruction::new(class, unit, 0)
}

/// By the last type that the name has: `fma_mix_f32`, `pk_fma_f16`,
/// `add_nc_u32`. Mixed precision runs at the rate of single, and so do the moves
/// that RDNA 3 can issue in pairs.
fn unit(name: &str) -> Unit {
    if name.starts_with("fma_mix") || ["mov_b32", "cndmask_b32"].contains(&name) {
        return Unit::Single;
    }
    let types = name.rsplit('_').find_map(|part| match part {
        "f16" => Some(Unit::Half),
        "f32" => Some(Unit::Single),
        "f64" => Some(Unit::Double),
        _ => None,
    });
    let converts = name.starts_with("cvt") || name.starts_with("cmp");
    match types {
        Some(unit) if !converts => unit,
        _ => Unit::Integer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codegen::listing::{Mix, hottest};

    /// Written for this test. The loop is BB1 to BB3. By hand: 3 FMA, the
    /// dual-issued line being one instruction; 3 memory (scalar, buffer, workgroup
    /// memory); 3 address (scalar addition, addition, shift); 7 control (wait, two
    /// delays, comparison, mask, two branches); 3 other (two moves and a
    /// multiplication).
    const LISTING: &str = "BB0:
	s_mov_b32 s0, s3                                            ; be800003
	v_mov_b32_e32 v3, 0                                         ; 7e060280
BB1:
	s_buffer_load_b32 s7, s[8:11], null                         ; f42001c4 f8000000
	s_waitcnt lgkmcnt(0)                                        ; bf89fc07
	s_delay_alu instid0(SALU_CYCLE_1)                           ; bf870009
	(then repeated 1 times)
	v_cmp_gt_u32_e32 vcc, s1, v22                               ; 7c982c01
	s_and_b64 exec, s[12:13], vcc                               ; 8bfe6a0c
	s_cbranch_execz BB3                                         ; bfa5000d
BB2:
	buffer_load_b32 v24, v23, s[12:15], 0 offen                 ; e0500000 80431817
	v_mov_b32_e32 v24, 0                                        ; 7e300280
BB3:
	s_add_i32 s6, s6, 16                                        ; 81069006
	s_mov_b32 s5, 0                                             ; be850080
	v_add_nc_u32_e32 v22, s6, v2                                ; 4a2c0406
	v_lshlrev_b32_e32 v19, 2, v1                                ; 30260282
	ds_load_b128 v[40:43], v19 offset:5984                      ; dbfc1760 28000013
	v_fmac_f32_e32 v6, v53, v48                                 ; 560c6135
	v_fma_mix_f32 v6, v53, v48, v1                              ; cc200006
	v_dual_fmac_f32 v8, v4, v12 :: v_dual_fmac_f32 v9, v5, v17  ; c8001904 08082305
	v_mul_f32_e32 v7, v53, v48                                  ; 100e6135
	s_cbranch_scc0 BB1                                          ; bfa1ffc5
BB4:
	s_endpgm                                                    ; bfb00000
";

    #[test]
    fn the_mix_of_a_loop_is_as_counted_by_hand() {
        let hot = hottest(&parse(LISTING), 64).unwrap();
        let expected = Mix {
            fma: 3,
            matrix: 0,
            memory: 3,
            address: 3,
            control: 7,
            other: 3,
        };
        assert_eq!(hot.mix(), expected);
        // 2 · 2 of the single FMA, 4 of the dual one, 1 of the multiplication.
        let operations: u32 = hot.instructions.iter().map(|i| i.operations).sum();
        assert_eq!(operations, 9);
    }

    #[test]
    fn instructions_are_told_apart() {
        let what = |line| {
            let Instruction {
                class,
                unit,
                operations,
            } = instruction(line);
            (class, unit, operations)
        };
        use Class::*;
        for (line, expected) in [
            // 2·16³
            (
                "v_wmma_f32_16x16x16_f16 v[0:7], v[8:15], v[16:23], v[0:7]",
                (Matrix, Unit::Matrix, 8192),
            ),
            ("v_pk_fma_f16 v1, v2, v3, v1", (Fma, Unit::Half, 4)),
            (
                "v_fma_f64 v[0:1], v[2:3], v[4:5], v[0:1]",
                (Fma, Unit::Double, 2),
            ),
            ("v_fma_mixlo_f16 v1, v2, v3, v4", (Fma, Unit::Single, 2)),
            ("v_dot4_i32_iu8 v1, v2, v3, v1", (Fma, Unit::Integer, 8)),
            ("v_dot4c_i32_i8 v1, v2, v3", (Fma, Unit::Integer, 8)),
            ("v_add_f32_e64 v1, v2, v3", (Other, Unit::Single, 1)),
            ("v_pk_add_f16 v1, v2, v3", (Other, Unit::Half, 2)),
            ("v_exp_f32_e32 v1, v2", (Other, Unit::Single, 0)),
            ("v_cvt_f32_f16_e32 v1, v2", (Other, Unit::Integer, 0)),
            ("v_cmp_lt_f32_e32 vcc, v1, v2", (Control, Unit::Integer, 0)),
            (
                "v_mad_u32_u24 v20, 0x44, v2, v19",
                (Address, Unit::Integer, 0),
            ),
            ("v_mul_lo_u32 v23, v23, s1", (Address, Unit::Integer, 0)),
            ("v_readlane_b32 s1, v2, 3", (Other, Unit::Integer, 0)),
            (
                "v_dual_mov_b32 v1, 0 :: v_dual_mov_b32 v2, 0",
                (Other, Unit::Single, 0),
            ),
            ("scratch_load_b32 v1, off, off", (Memory, Unit::None, 0)),
            ("s_mov_b64 exec, -1", (Control, Unit::None, 0)),
            ("s_barrier", (Control, Unit::None, 0)),
        ] {
            assert_eq!(what(line), expected, "{line}");
        }
    }
}
