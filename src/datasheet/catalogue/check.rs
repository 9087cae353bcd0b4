//! What a catalogue must satisfy that the types of its format cannot rule out.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Catalogue, SCHEMA_VERSION};
use crate::datasheet::matching::normalise;
use crate::datasheet::model::{Accumulate, Datasheet, Figure, FigureKind, PciId};
use crate::json_file::{fault_of_id, range};

/// By how much an FP32 peak may differ from lanes × operations × clock: datasheets
/// round clocks and peaks.
const ARITHMETIC_SLACK: f64 = 0.02;

/// Rates of which the first is never below the second: those of matrix units, and
/// those that add up with fewer bits.
const NEVER_BELOW: [(FigureKind, FigureKind); 8] = [
    (FigureKind::Fp64Tensor, FigureKind::Fp64),
    (FigureKind::Fp32Matrix, FigureKind::Fp32),
    (FigureKind::Tf32, FigureKind::Fp32),
    (FigureKind::Bf16Tensor, FigureKind::Fp32),
    (FigureKind::Fp16Tensor, FigureKind::Fp16),
    (FigureKind::Fp8, FigureKind::Fp16),
    (FigureKind::Fp16TensorFp16Acc, FigureKind::Fp16Tensor),
    (FigureKind::Fp8Fp16Acc, FigureKind::Fp8),
];

/// A field with a wrong value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The path of the field.
    pub(super) path: String,
    /// What is wrong with it.
    pub(super) problem: String,
}

impl Fault {
    fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            problem: problem.into(),
        }
    }
}

impl Catalogue {
    /// Everything that is wrong with it by itself, and that would be if it were added
    /// to `base`.
    pub(super) fn faults(&self, base: Option<&Catalogue>) -> Vec<Fault> {
        if self.schema_version != SCHEMA_VERSION {
            let problem = format!(
                "this build reads version {SCHEMA_VERSION}, not {}",
                self.schema_version
            );
            return vec![Fault::new("schema_version", problem)];
        }
        let mut faults = self.sources_of_others(base);
        let mut taken = Taken::default();
        if let Some(base) = base {
            let own: HashSet<&String> = self.accelerators.iter().map(|sheet| &sheet.id).collect();
            let others = base.accelerators.iter();
            let others = others.filter(|sheet| !own.contains(&sheet.id));
            others.for_each(|sheet| taken.take_from_base(sheet));
        }
        for (index, sheet) in self.accelerators.iter().enumerate() {
            let at = format!("accelerators[{index}]");
            faults.extend(taken.identity_faults(sheet, &at));
            faults.extend(self.figure_faults(sheet, &at));
            faults.extend(consistency_faults(sheet, &at));
        }
        faults
    }

    /// Source ids that stand for other documents in `base`.
    fn sources_of_others(&self, base: Option<&Catalogue>) -> Vec<Fault> {
        let sources = self.sources.iter();
        let differs = |id: &String, source| {
            let known = base.and_then(|base| base.sources.get(id));
            known.is_some_and(|known| known != source)
        };
        let others = sources.filter(|(id, source)| differs(id, *source));
        let fault = |(id, _)| {
            let problem = "this id stands for another document in the datasheets that these are \
                           added to: choose another";
            Fault::new(format!("sources.{id}"), problem)
        };
        others.map(fault).collect()
    }

    fn figure_faults(&self, sheet: &Datasheet, at: &str) -> Vec<Fault> {
        let figures = all_figures(sheet);
        let fault = |(place, kind, figure): (String, FigureKind, &Figure)| {
            let (field, problem) = self.check_figure(kind, figure).err()?;
            let path = format!("{at}.{place}figures.{}.{field}", kind.key());
            Some(Fault::new(path, format!("{problem} (in `{}`)", sheet.id)))
        };
        figures.filter_map(fault).collect()
    }

    /// Checks one figure by itself; an error is the field and what is wrong with it.
    fn check_figure(&self, kind: FigureKind, figure: &Figure) -> Result<(), (String, String)> {
        let fault = |field: &str, problem: String| Err((field.to_owned(), problem));
        for (field, number) in [
            ("value", Some(figure.value)),
            ("clock_mhz", figure.clock_mhz),
        ] {
            if let Some(problem) = number.and_then(|number| range::fault(field, number)) {
                return fault(field, problem);
            }
        }
        if figure.unit != kind.unit() {
            let problem = format!("{kind} is stated in {}, not {}", kind.unit(), figure.unit);
            return fault("unit", problem);
        }
        if figure.sources.is_empty() {
            return fault("sources", "a figure needs at least one source".to_owned());
        }
        for (index, id) in figure.sources.iter().enumerate() {
            if !self.sources.contains_key(id) {
                let problem = format!("there is no source `{id}`");
                return fault(&format!("sources[{index}]"), problem);
            }
        }
        Ok(())
    }
}

/// The figures of a datasheet and of its variants, with the path of the object
/// that holds them.
fn all_figures(sheet: &Datasheet) -> impl Iterator<Item = (String, FigureKind, &Figure)> {
    let own = sheet
        .figures
        .iter()
        .map(|(&kind, figure)| (String::new(), kind, figure));
    let others = sheet
        .variants
        .iter()
        .enumerate()
        .flat_map(|(index, variant)| {
            variant
                .figures
                .iter()
                .map(move |(&kind, figure)| (format!("variants[{index}]."), kind, figure))
        });
    own.chain(others)
}

/// The ids, adapter names and PCI ids of the datasheets before, and whose they are.
#[derive(Default)]
struct Taken {
    ids: HashSet<String>,
    names: HashMap<String, String>,
    pci: HashMap<(PciId, PciId), String>,
}

impl Taken {
    /// What an addition must not take. Names of lookalikes are free: a datasheet of
    /// their own is what they lack.
    fn take_from_base(&mut self, sheet: &Datasheet) {
        let names = sheet.names.iter().map(|name| normalise(name));
        self.names
            .extend(names.map(|name| (name, sheet.id.clone())));
        self.take_pci(sheet);
    }

    fn take_pci(&mut self, sheet: &Datasheet) {
        for device in &sheet.pci_devices {
            let id = (sheet.pci_vendor, device.id);
            self.pci.insert(id, sheet.id.clone());
        }
    }

    fn identity_faults(&mut self, sheet: &Datasheet, at: &str) -> Vec<Fault> {
        let id = &sheet.id;
        let mut faults = Vec::new();
        let mut fault = |field: &str, problem: String| {
            faults.push(Fault::new(format!("{at}.{field}"), problem))
        };
        if let Some(problem) = fault_of_id(id) {
            fault("id", problem);
        } else if !self.ids.insert(id.clone()) {
            fault("id", format!("`{id}` is used more than once"));
        }
        for (field, name) in names(sheet) {
            let name = normalise(name);
            if name.is_empty() {
                let problem = format!("an adapter name must not be empty (in `{id}`)");
                fault(&field, problem);
                continue;
            }
            match self.names.get(&name) {
                Some(owner) if owner == id => fault(
                    &field,
                    format!("the adapter name `{name}` is used more than once"),
                ),
                Some(owner) => fault(
                    &field,
                    format!(
                        "the adapter name `{name}` is also that of `{owner}`: which of the two an adapter is could not be told"
                    ),
                ),
                None => drop(self.names.insert(name, id.clone())),
            }
        }
        for (index, device) in sheet.pci_devices.iter().enumerate() {
            let owner = self.pci.get(&(sheet.pci_vendor, device.id));
            if let (Some(owner), true) = (owner, device.shared_with.is_empty()) {
                let problem = format!(
                    "PCI device {}:{} is also that of `{owner}`: say so in `shared_with`",
                    sheet.pci_vendor, device.id
                );
                fault(&format!("pci_devices[{index}].id"), problem);
            }
        }
        for (index, lookalike) in sheet.lookalikes.iter().enumerate() {
            let gb = lookalike.memory_gb;
            if let Some(problem) = gb.and_then(|gb| range::fault("memory_gb", gb)) {
                let problem = format!("{problem} (in `{id}`)");
                fault(&format!("lookalikes[{index}].memory_gb"), problem);
            }
        }
        self.take_pci(sheet);
        faults
    }
}

/// The adapter names of a datasheet and of its lookalikes, with their fields.
fn names(sheet: &Datasheet) -> impl Iterator<Item = (String, &String)> {
    let own = sheet.names.iter().enumerate();
    let own = own.map(|(index, name)| (format!("names[{index}]"), name));
    let others = sheet.lookalikes.iter().enumerate();
    let others = others.flat_map(|(outer, lookalike)| {
        let names = lookalike.names.iter().enumerate();
        names.map(move |(inner, name)| (format!("lookalikes[{outer}].names[{inner}]"), name))
    });
    own.chain(others)
}

/// What does not agree among the figures of a datasheet, and among those of each of
/// its variants. A variant may be another document, whose figures need not agree with
/// those of the first.
fn consistency_faults(sheet: &Datasheet, at: &str) -> Vec<Fault> {
    let variants = sheet.variants.iter().enumerate();
    let variants = variants.map(|(index, v)| (format!("{at}.variants[{index}]"), &v.figures));
    let all = std::iter::once((at.to_owned(), &sheet.figures)).chain(variants);
    let faults = all.flat_map(|(place, figures)| {
        let arithmetic = arithmetic_fault(sheet, figures);
        let found = arithmetic.into_iter().chain(order_faults(figures));
        let found: Vec<_> = found.chain(accumulator_faults(figures)).collect();
        found.into_iter().map(move |(kind, problem)| {
            let path = format!("{place}.figures.{}", kind.key());
            Fault::new(path, format!("{problem} (in `{}`)", sheet.id))
        })
    });
    faults.collect()
}

type Figures = BTreeMap<FigureKind, Figure>;

/// FP32 is lanes × operations a lane and clock × clock, where all are known. An
/// edition with another clock has the same lanes.
fn arithmetic_fault(sheet: &Datasheet, figures: &Figures) -> Option<(FigureKind, String)> {
    let peak = figures.get(&FigureKind::Fp32)?;
    let boost = figures.get(&FigureKind::BoostClock)?.value;
    let lanes = figures.get(&FigureKind::Fp32Lanes);
    let lanes = lanes.or_else(|| sheet.figure(FigureKind::Fp32Lanes))?.value;
    let per_lane = f64::from(sheet.fp32_flops_per_lane_clock?.get());
    let mhz = peak.clock_mhz.unwrap_or(boost);
    let computed = lanes * per_lane * mhz * 1e-6;
    let agrees = (computed / peak.value - 1.0).abs() <= ARITHMETIC_SLACK;
    let problem = format!(
        "{} TFLOP/s is more than 2 % off {lanes} lanes × {per_lane} × {mhz} MHz = {computed:.1} TFLOP/s",
        peak.value
    );
    (!agrees).then_some((FigureKind::Fp32, problem))
}

fn order_faults(figures: &Figures) -> Vec<(FigureKind, String)> {
    let pairs = NEVER_BELOW.iter();
    let faults = pairs.filter_map(|(higher, lower)| {
        let (high, low) = (figures.get(higher)?.value, figures.get(lower)?.value);
        let problem = format!("{higher} ({high}) is below {lower} ({low}), which it never is");
        (high < low).then_some((*higher, problem))
    });
    faults.collect()
}

/// Where two rates are told apart by their accumulator, each must say its own.
fn accumulator_faults(figures: &Figures) -> Vec<(FigureKind, String)> {
    use Accumulate::{F16, F32};
    use FigureKind::{Fp8, Fp8Fp16Acc, Fp16Tensor, Fp16TensorFp16Acc};

    let mut faults = Vec::new();
    for (single, half) in [(Fp16Tensor, Fp16TensorFp16Acc), (Fp8, Fp8Fp16Acc)] {
        let told_apart = figures.contains_key(&half);
        for (kind, expected, spelt) in [(half, F16, "f16"), (single, F32, "f32")] {
            let figure = figures.get(&kind).filter(|_| told_apart);
            if figure.is_some_and(|figure| figure.accumulate != Some(expected)) {
                let problem = format!("next to {half} its `accumulate` must be \"{spelt}\"");
                faults.push((kind, problem));
            }
        }
    }
    faults
}
