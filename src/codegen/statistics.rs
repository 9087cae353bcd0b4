//! Drivers' own numbers under common names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Executable, Value};

/// What the driver tells of an executable. Where it does not tell, the field is
/// `None` and `not_told` says why, by the field's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Lanes of a subgroup.
    pub subgroup_size: Option<u32>,
    /// Registers of a lane.
    pub registers: Option<u64>,
    /// Registers, of lanes and of whole subgroups, that had to be kept elsewhere.
    pub spills: Option<u64>,
    /// Memory of a lane or subgroup for what does not fit into registers, as the
    /// driver counts it.
    pub scratch_bytes: Option<u64>,
    /// Workgroup memory, rounded as the hardware hands it out.
    pub workgroup_bytes: Option<u64>,
    /// Size of the machine code.
    pub code_bytes: Option<u64>,
    /// Instructions.
    pub instructions: Option<u64>,
    /// Subgroups that a SIMD unit can hold at once.
    pub occupancy: Option<u64>,
    /// Reasons for the fields that are `None`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_told: BTreeMap<String, String>,
}

/// Names of a number in the drivers that are known: RADV, NVK, ANV, NVIDIA's own.
const REGISTERS: &[&str] = &["VGPRs", "Number of GPRs", "Register Count"];
const SPILLS: &[&str] = &["Spilled SGPRs", "Spilled VGPRs", "Spill Count"];
const SCRATCH: &[&str] = &[
    "Scratch size",
    "SLM Size",
    "Scratch Memory Size",
    "Local Memory Size",
];
const WORKGROUP: &[&str] = &["LDS size", "Workgroup Memory Size", "Shared Memory Size"];
const CODE: &[&str] = &["Code size", "Binary Size"];
const INSTRUCTIONS: &[&str] = &["Instructions", "Instruction Count"];
const OCCUPANCY: &[&str] = &["Subgroups per SIMD"];
/// More memory than this is no lane's or subgroup's: CUDA allows 512 KiB a lane.
/// NVIDIA's Vulkan driver (580) tells 2³⁶ bytes for every kernel.
const MOST_SCRATCH: u64 = 1 << 30;

impl Statistics {
    /// The executable's numbers under common names.
    pub fn of(executable: &Executable) -> Self {
        let told = |names| told(executable, names);
        let scratch_told = told(SCRATCH);
        let scratch_bytes = scratch_told.filter(|&bytes| bytes <= MOST_SCRATCH);
        let mut statistics = Self {
            subgroup_size: executable.subgroup_size,
            registers: told(REGISTERS),
            // Where there is nothing to spill to, nothing is spilled.
            spills: told(SPILLS).or(scratch_bytes.filter(|&bytes| bytes == 0)),
            scratch_bytes,
            workgroup_bytes: told(WORKGROUP),
            code_bytes: told(CODE),
            instructions: told(INSTRUCTIONS),
            occupancy: told(OCCUPANCY),
            not_told: BTreeMap::new(),
        };
        statistics.not_told = statistics.missing();
        if let Some(bytes) = scratch_told.filter(|_| scratch_bytes.is_none()) {
            let why = format!("the driver tells {bytes} bytes, which no lane or subgroup has");
            statistics.not_told.insert("scratch_bytes".into(), why);
        }
        statistics
    }

    fn missing(&self) -> BTreeMap<String, String> {
        let spills = if self.scratch_bytes.is_some() {
            "the driver tells how much memory takes what does not fit into registers, \
             not how many registers that is"
        } else {
            NO_NUMBER
        };
        [
            (
                "subgroup_size",
                self.subgroup_size.is_none(),
                "the driver leaves it open",
            ),
            ("registers", self.registers.is_none(), NO_NUMBER),
            ("spills", self.spills.is_none(), spills),
            ("scratch_bytes", self.scratch_bytes.is_none(), NO_NUMBER),
            ("workgroup_bytes", self.workgroup_bytes.is_none(), NO_NUMBER),
            ("code_bytes", self.code_bytes.is_none(), NO_NUMBER),
            ("instructions", self.instructions.is_none(), NO_NUMBER),
            ("occupancy", self.occupancy.is_none(), NO_NUMBER),
        ]
        .into_iter()
        .filter(|(_, missing, _)| *missing)
        .map(|(name, _, why)| (name.to_owned(), why.to_owned()))
        .collect()
    }

    /// Whether registers had to be kept elsewhere.
    pub fn spills(&self) -> bool {
        self.spills.is_some_and(|spills| spills > 0)
            || self.scratch_bytes.is_some_and(|bytes| bytes > 0)
    }
}

const NO_NUMBER: &str = "the driver has no such number";

/// The sum of the numbers that have one of these names, if there is any.
fn told(executable: &Executable, names: &[&str]) -> Option<u64> {
    let named = executable.statistics.iter().filter(|statistic| {
        let mut names = names.iter();
        names.any(|name| name.eq_ignore_ascii_case(&statistic.name))
    });
    let values = named.filter_map(|statistic| match statistic.value {
        Value::Whole(number) => number.try_into().ok(),
        Value::Real(_) => None,
    });
    values.reduce(|sum: u64, number| sum.saturating_add(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codegen::Statistic;

    fn executable(numbers: &[(&str, i64)]) -> Executable {
        Executable {
            name: "compute".into(),
            subgroup_size: Some(32),
            statistics: numbers
                .iter()
                .map(|&(name, number)| Statistic {
                    name: name.into(),
                    value: Value::Whole(number),
                })
                .collect(),
            representations: Vec::new(),
        }
    }

    #[test]
    fn spills_of_both_kinds_of_registers_are_added() {
        let radv = executable(&[
            ("SGPRs", 128),
            ("VGPRs", 48),
            ("Spilled SGPRs", 23),
            ("Spilled VGPRs", 4),
            ("LDS size", 8704),
            ("Subgroups per SIMD", 16),
        ]);
        let statistics = Statistics::of(&radv);
        assert_eq!(statistics.registers, Some(48));
        assert_eq!(statistics.spills, Some(27));
        assert_eq!(statistics.workgroup_bytes, Some(8704));
        assert_eq!(statistics.occupancy, Some(16));
        let missing: Vec<&str> = statistics.not_told.keys().map(String::as_str).collect();
        assert_eq!(missing, ["code_bytes", "instructions", "scratch_bytes"]);
    }

    #[test]
    fn a_driver_that_does_not_count_spills_tells_by_the_memory_for_them() {
        let nvk = |bytes| {
            Statistics::of(&executable(&[
                ("Instruction count", 497),
                ("Number of GPRs", 21),
                ("SLM Size", bytes),
            ]))
        };
        assert_eq!(nvk(0).spills, Some(0));
        assert!(!nvk(0).spills());
        assert_eq!(nvk(1836).spills, None);
        assert!(nvk(1836).spills());
        assert!(nvk(1836).not_told["spills"].contains("not how many"));
        assert_eq!(nvk(0).instructions, Some(497));
    }

    /// As NVIDIA's driver 580.159 tells of every kernel on an H100.
    #[test]
    fn memory_that_no_lane_can_have_is_not_told() {
        let nvidia = Statistics::of(&executable(&[
            ("Register Count", 146),
            ("Local Memory Size", 68_719_476_736),
            ("Shared Memory Size", 37_888),
        ]));
        assert_eq!(nvidia.registers, Some(146));
        assert_eq!(nvidia.scratch_bytes, None);
        assert_eq!(nvidia.spills, None);
        assert!(!nvidia.spills());
        let why = &nvidia.not_told["scratch_bytes"];
        assert_eq!(
            why,
            "the driver tells 68719476736 bytes, which no lane or subgroup has"
        );
    }
}
