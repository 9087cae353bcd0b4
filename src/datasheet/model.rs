//! What a datasheet holds.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU8;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json_file::without_duplicates;

/// One accelerator: what it reports itself as, and its figures with their
/// sources.
///
/// Figures describe the whole product. Where that product appears as several
/// devices ([`devices_reported`](Self::devices_reported)), use
/// [`per_device`](Self::per_device) or [`peak`](Self::peak).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Datasheet {
    /// Short identifier, unique in the catalogue: `nvidia-a100-sxm4-40gb`.
    pub id: String,
    /// Who makes it.
    pub vendor: String,
    /// The product's name, for people.
    pub name: String,
    /// The adapter names that drivers report for it, exactly.
    pub names: Vec<String>,
    /// How far those names can be trusted.
    pub names_status: NamesStatus,
    /// PCI vendor id.
    pub pci_vendor: PciId,
    /// PCI device ids; empty where none is known.
    #[serde(default)]
    pub pci_devices: Vec<PciDevice>,
    /// Other parts that could be taken for this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lookalikes: Vec<Lookalike>,
    /// Year of launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub year: Option<u16>,
    /// How many devices the product appears as; the figures are for all of
    /// them together.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub devices_reported: NonZeroU8,
    /// FP32 operations that the stated peak counts for each lane and clock: 2
    /// for a multiply-add, 4 where dual issue or packed FP32 is counted in.
    /// Absent where lanes, clock and peak are not all known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fp32_flops_per_lane_clock: Option<NonZeroU8>,
    /// The figures that are known; one that is not is absent.
    #[serde(deserialize_with = "without_duplicates")]
    pub figures: BTreeMap<FigureKind, Figure>,
    /// Figures of other editions, memory sizes or vendor documents, where they
    /// differ from [`figures`](Self::figures).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// What has to be known to read the figures rightly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

const fn one() -> NonZeroU8 {
    NonZeroU8::MIN
}

fn is_one(count: &NonZeroU8) -> bool {
    *count == one()
}

impl Datasheet {
    /// The figure of a kind, for the whole product.
    pub fn figure(&self, kind: FigureKind) -> Option<&Figure> {
        self.figures.get(&kind)
    }

    /// The value of a figure for one reported device, in the kind's
    /// [`unit`](FigureKind::unit).
    pub fn per_device(&self, kind: FigureKind) -> Option<f64> {
        let value = self.figure(kind)?.value;
        Some(if kind.divides_among_devices() {
            value / f64::from(self.devices_reported.get())
        } else {
            value
        })
    }

    /// Its figures and those of its variants.
    pub fn all_figures(&self) -> impl Iterator<Item = (FigureKind, &Figure)> {
        let variants = self.variants.iter().map(|variant| &variant.figures);
        let all = std::iter::once(&self.figures).chain(variants);
        all.flatten().map(|(kind, figure)| (*kind, figure))
    }

    /// The best evidence that any of the figures has.
    pub fn best_tier(&self) -> Option<Tier> {
        self.figures.values().map(|figure| figure.tier).min()
    }
}

/// How far the adapter names of a datasheet can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamesStatus {
    /// In the vendor's own device table, or found verbatim in public logs.
    Verified,
    /// Some are, others follow from the product's name.
    PartlyVerified,
    /// Assumed from the product's name.
    Constructed,
}

impl fmt::Display for NamesStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NamesStatus::Verified => "verified",
            NamesStatus::PartlyVerified => "partly verified",
            NamesStatus::Constructed => "assumed from the product's name",
        })
    }
}

/// A PCI vendor or device id, written as four hexadecimal digits.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct PciId(pub u16);

impl TryFrom<String> for PciId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 4
            && text.bytes().all(is_hex)
            && let Ok(id) = u16::from_str_radix(&text, 16)
        {
            return Ok(PciId(id));
        }
        Err(format!(
            "`{text}` is not a PCI id: four lower-case hexadecimal digits are expected, as in `10de`"
        ))
    }
}

impl From<PciId> for String {
    fn from(id: PciId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for PciId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

/// A PCI device id under which the product appears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PciDevice {
    /// The device id.
    pub id: PciId,
    /// Other products with the same id, which says then little by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_with: Vec<String>,
}

/// Another part that could be taken for this one. An adapter gets the datasheet
/// only once every lookalike with the same name is ruled out, by PCI device id
/// or by memory size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lookalike {
    /// What it is, with an article: `the 12 GB GeForce RTX 3080`.
    pub what: String,
    /// The adapter names it reports; empty if it reports the datasheet's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Its PCI device ids, where they tell it apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pci_devices: Vec<PciId>,
    /// Its memory in GB, where that tells it apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_gb: Option<f64>,
    /// Why the datasheet does not hold for it.
    pub differs: String,
}

/// Figures that differ in an edition of the product, or in another document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// The edition or the document.
    pub name: String,
    /// The figures that differ.
    #[serde(deserialize_with = "without_duplicates")]
    pub figures: BTreeMap<FigureKind, Figure>,
}

/// One stated number, and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The number, above zero, in [`unit`](Self::unit).
    pub value: f64,
    /// The unit, which is the one of the figure's kind.
    pub unit: Unit,
    /// How good the evidence is.
    pub tier: Tier,
    /// Ids of the sources, at least one.
    pub sources: Vec<String>,
    /// Whether structured sparsity is counted in; absent where the source does
    /// not say or the notion does not apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparsity: Option<Sparsity>,
    /// The accumulator's type, where the vendor tells two rates apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accumulate: Option<Accumulate>,
    /// The clock, in MHz, at which the peak is stated, where it is not the same
    /// for all of the figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_mhz: Option<f64>,
}

/// Whether a matrix rate counts structured sparsity in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sparsity {
    /// Every operation is really done.
    Dense,
}

/// The type in which a matrix unit accumulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accumulate {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
}

/// What a figure measures. Units are decimal: 1 GB is 10⁹ bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum FigureKind {
    /// Vector FP64, TFLOP/s.
    Fp64,
    /// Matrix-unit FP64, TFLOP/s.
    Fp64Tensor,
    /// Vector FP32 as the vendor counts it, TFLOP/s.
    Fp32,
    /// Matrix-unit (or packed) FP32, TFLOP/s.
    Fp32Matrix,
    /// Matrix-unit TF32, TFLOP/s.
    Tf32,
    /// Vector FP16, TFLOP/s.
    Fp16,
    /// Matrix-unit FP16, TFLOP/s, accumulating in FP32 where the vendor tells
    /// the two apart.
    Fp16Tensor,
    /// Matrix-unit FP16 accumulating in FP16, TFLOP/s.
    Fp16TensorFp16Acc,
    /// Matrix-unit BF16, TFLOP/s.
    Bf16Tensor,
    /// Matrix-unit FP8, TFLOP/s, accumulating in FP32 where the vendor tells
    /// the two apart.
    Fp8,
    /// Matrix-unit FP8 accumulating in FP16, TFLOP/s.
    Fp8Fp16Acc,
    /// Matrix-unit FP4 accumulating in FP32, TFLOP/s.
    Fp4,
    /// Matrix-unit INT8, TOP/s.
    Int8,
    /// Memory bandwidth, GB/s.
    MemoryBandwidth,
    /// Memory size, GB.
    Memory,
    /// The vendor's default or highest board power, W. The limit configured on
    /// a machine is another matter, which only its driver can tell.
    BoardPower,
    /// Thermal design power, W, where the vendor states it beside the board
    /// power.
    Tdp,
    /// Boost clock, MHz.
    BoostClock,
    /// Boost clock of the matrix-unit peaks, MHz, where it is another.
    BoostClockTensor,
    /// FP32 lanes: CUDA cores, stream processors.
    Fp32Lanes,
    /// GPU cores as Apple counts them, many lanes in each.
    GpuCores,
}

impl FigureKind {
    /// The unit in which figures of this kind are stated.
    pub fn unit(self) -> Unit {
        use FigureKind::*;
        match self {
            Fp64 | Fp64Tensor | Fp32 | Fp32Matrix | Tf32 | Fp16 | Fp16Tensor
            | Fp16TensorFp16Acc | Bf16Tensor | Fp8 | Fp8Fp16Acc | Fp4 => Unit::TflopPerSecond,
            Int8 => Unit::TopPerSecond,
            MemoryBandwidth => Unit::GbytePerSecond,
            Memory => Unit::Gbyte,
            BoardPower | Tdp => Unit::Watt,
            BoostClock | BoostClockTensor => Unit::Megahertz,
            Fp32Lanes => Unit::Lanes,
            GpuCores => Unit::Cores,
        }
    }

    /// Whether it is a rate of computation.
    pub fn is_computation(self) -> bool {
        matches!(self.unit(), Unit::TflopPerSecond | Unit::TopPerSecond)
    }

    /// Whether it is a rate of matrix units in a format for which some of them skip
    /// zeros, so that it has to be known whether that is counted in.
    pub fn has_sparsity(self) -> bool {
        use FigureKind::*;
        matches!(
            self,
            Tf32 | Fp16Tensor | Fp16TensorFp16Acc | Bf16Tensor | Fp8 | Fp8Fp16Acc | Fp4 | Int8
        )
    }

    /// Whether devices of one product share the figure among themselves; they
    /// all run at the same clock.
    fn divides_among_devices(self) -> bool {
        self.unit() != Unit::Megahertz
    }

    /// The kind's name in the data file.
    pub fn key(self) -> &'static str {
        use FigureKind::*;
        match self {
            Fp64 => "fp64",
            Fp64Tensor => "fp64_tensor",
            Fp32 => "fp32",
            Fp32Matrix => "fp32_matrix",
            Tf32 => "tf32",
            Fp16 => "fp16",
            Fp16Tensor => "fp16_tensor",
            Fp16TensorFp16Acc => "fp16_tensor_fp16_acc",
            Bf16Tensor => "bf16_tensor",
            Fp8 => "fp8",
            Fp8Fp16Acc => "fp8_fp16_acc",
            Fp4 => "fp4",
            Int8 => "int8",
            MemoryBandwidth => "memory_bandwidth",
            Memory => "memory",
            BoardPower => "board_power",
            Tdp => "tdp",
            BoostClock => "boost_clock",
            BoostClockTensor => "boost_clock_tensor",
            Fp32Lanes => "fp32_lanes",
            GpuCores => "gpu_cores",
        }
    }
}

/// The kind's name for people.
impl fmt::Display for FigureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FigureKind::*;
        f.write_str(match self {
            Fp64 => "FP64",
            Fp64Tensor => "FP64 tensor",
            Fp32 => "FP32",
            Fp32Matrix => "FP32 matrix",
            Tf32 => "TF32 tensor",
            Fp16 => "FP16",
            Fp16Tensor => "FP16 tensor",
            Fp16TensorFp16Acc => "FP16 tensor, FP16 accumulate",
            Bf16Tensor => "BF16 tensor",
            Fp8 => "FP8 tensor",
            Fp8Fp16Acc => "FP8 tensor, FP16 accumulate",
            Fp4 => "FP4 tensor",
            Int8 => "INT8 tensor",
            MemoryBandwidth => "memory bandwidth",
            Memory => "memory",
            BoardPower => "board power",
            Tdp => "TDP",
            BoostClock => "boost clock",
            BoostClockTensor => "boost clock, tensor",
            Fp32Lanes => "FP32 lanes",
            GpuCores => "GPU cores",
        })
    }
}

/// The unit of a figure, with decimal prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unit {
    /// 10¹² floating-point operations per second.
    #[serde(rename = "TFLOP/s")]
    TflopPerSecond,
    /// 10¹² integer operations per second.
    #[serde(rename = "TOP/s")]
    TopPerSecond,
    /// 10⁹ bytes per second.
    #[serde(rename = "GB/s")]
    GbytePerSecond,
    /// 10⁹ bytes.
    #[serde(rename = "GB")]
    Gbyte,
    /// Watts.
    #[serde(rename = "W")]
    Watt,
    /// 10⁶ cycles per second.
    #[serde(rename = "MHz")]
    Megahertz,
    /// A count of lanes.
    #[serde(rename = "lanes")]
    Lanes,
    /// A count of cores.
    #[serde(rename = "cores")]
    Cores,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::TflopPerSecond => "TFLOP/s",
            Unit::TopPerSecond => "TOP/s",
            Unit::GbytePerSecond => "GB/s",
            Unit::Gbyte => "GB",
            Unit::Watt => "W",
            Unit::Megahertz => "MHz",
            Unit::Lanes => "lanes",
            Unit::Cores => "cores",
        })
    }
}

/// How good the evidence for a figure is, best first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Read in a page or a repository of the vendor.
    Vendor,
    /// A named document of the vendor, quoted or reprinted by somebody else.
    VendorQuoted,
    /// A maintained table that cites the vendor.
    Secondary,
    /// A database that computes peaks from clocks.
    Aggregator,
    /// Arithmetic on a figure of the vendor, such as half of a sparse peak.
    Derived,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tier::Vendor => "vendor",
            Tier::VendorQuoted => "vendor, quoted",
            Tier::Secondary => "secondary",
            Tier::Aggregator => "aggregator",
            Tier::Derived => "derived",
        })
    }
}

/// A document that figures or names come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What it is.
    pub title: String,
    /// Where it can be read; `null` where nothing stable is known.
    pub url: Option<String>,
    /// What sort of document it is.
    pub tier: SourceTier,
}

/// What sort of document a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceTier {
    /// The vendor's own.
    Vendor,
    /// A quotation or reprint of a named document of the vendor.
    VendorQuoted,
    /// A maintained table, an article or a report.
    Secondary,
    /// A database that computes peaks from clocks.
    Aggregator,
    /// A list of names and ids, without peaks.
    Reference,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_units_print_as_the_file_spells_them() {
        for sheet in super::super::Catalogue::builtin().datasheets() {
            for (kind, figure) in &sheet.figures {
                let spelt = |value: serde_json::Value| value.as_str().map(str::to_owned);
                let key = serde_json::to_value(kind).ok().and_then(spelt);
                let unit = serde_json::to_value(figure.unit).ok().and_then(spelt);
                assert_eq!(key.as_deref(), Some(kind.key()));
                assert_eq!(unit, Some(figure.unit.to_string()));
            }
        }
    }

    #[test]
    fn pci_ids_are_four_lower_case_hexadecimal_digits() {
        assert_eq!(PciId::try_from("10de".to_owned()), Ok(PciId(0x10de)));
        assert_eq!(PciId(0x2).to_string(), "0002");
        for wrong in ["", "10d", "10DE", "+0de", "0x10", "10dé"] {
            assert!(PciId::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
