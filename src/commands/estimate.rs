//! `flopwatt estimate`: what an efficiency means for a workload, and whether the
//! articles' figures hold.

mod articles;
mod table;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use serde::Serialize;

use super::datasheets::{self, DatasheetFile};
use super::{Exit, Outcome, print};
use crate::datasheet::{Catalogue, Datasheet};
use crate::estimate::{
    self, Assumptions, Basis, CarbonIntensity, Claim, Device, Estimate, Hardware, Lifetime, Line,
    Money, Pue, Span, Tariff, Utilisation, Work, Workload, Workloads, text,
};
use crate::units::{FlopPerSecond, Gflops, Seconds};

/// Estimate time, energy and cost of a workload, or check the articles' figures
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Measured efficiency: a report.json or its folder
    #[arg(long, value_name = "REPORT", conflicts_with = "accelerator")]
    report: Option<PathBuf>,
    /// Efficiency of a datasheet, not measured: an id or a part of a name
    #[arg(long, value_name = "ID")]
    accelerator: Option<String>,
    #[command(flatten)]
    datasheets: DatasheetFile,
    /// gpt3-training, gpt4-training, chatgpt-day, centre:NAME, world-ai-2027, or a
    /// file in the format of the built-in workloads
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "flops")]
    workload: Option<String>,
    /// An amount of work, such as 3640PFd or 3.1e23
    #[arg(long, value_name = "WORK")]
    flops: Option<Work>,
    /// Arithmetic of the device: f16-f32acc or f32 of a report, fp16_tensor or fp32
    /// of a datasheet
    #[arg(long)]
    precision: Option<String>,
    /// Share of the rate that the workload gets, such as 0.4 or 30-50%; 100% of a
    /// measured rate unless given
    #[arg(long, value_name = "SHARE")]
    utilisation: Option<Utilisation>,
    /// Energy at the wall over that of the devices, 1 or above
    #[arg(long)]
    pue: Option<Pue>,
    /// Price of electricity, such as 0.08USD/kWh
    #[arg(long)]
    price: Option<Tariff>,
    /// Carbon dioxide per electricity, such as 400gCO2/kWh
    #[arg(long, value_name = "FACTOR")]
    carbon: Option<CarbonIntensity>,
    /// Devices that share the work
    #[arg(long, value_name = "N")]
    devices: Option<NonZeroU64>,
    /// Price of a device, such as 30000USD
    #[arg(long, value_name = "MONEY", requires = "lifetime")]
    hardware_price: Option<Money>,
    /// How long a device is used, such as 4years
    #[arg(long, value_name = "TIME", requires = "hardware_price")]
    lifetime: Option<Lifetime>,
    /// Recompute what two articles say of computing power and electricity
    #[arg(long, conflicts_with_all = [
        "report", "accelerator", "workload", "flops", "precision", "utilisation", "pue", "price",
        "carbon", "devices", "hardware_price", "lifetime",
    ])]
    check_articles: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Estimates a workload, or checks the articles.
pub fn run(args: Args) -> Outcome {
    let catalogue = &args.datasheets.load()?;
    if args.check_articles {
        print(&articles::checked(catalogue, args.json)?)?;
        return Ok(Exit::Ok);
    }
    let workloads = args.workloads()?;
    let device = args.device(catalogue)?;
    let assumptions = args.assumptions(&device)?;
    let estimated = Estimated::new(&workloads, &device, &assumptions, catalogue);
    if !estimated.anything() {
        return Err(anyhow!(table::clean(&estimated.why_nothing())).into());
    }
    if args.devices.is_some() && !estimated.divides_work() {
        let problem = "--devices divides an amount of work, and this workload states none";
        return Err(anyhow!(problem).into());
    }
    print(&if args.json {
        serde_json::to_string_pretty(&estimated)? + "\n"
    } else {
        table::page(&estimated)
    })?;
    Ok(Exit::Ok)
}

impl Args {
    fn workloads(&self) -> anyhow::Result<Workloads> {
        match (&self.workload, self.flops) {
            (Some(name), _) => named(name),
            (None, Some(Work(work))) => Ok(Workloads::of_work(work)),
            (None, None) => bail!(
                "say what is to be computed: --workload {}, --workload FILE, or --flops 3640PFd",
                known_workloads()
            ),
        }
    }

    fn device(&self, catalogue: &Catalogue) -> anyhow::Result<Device> {
        let asked = self.precision.as_deref();
        let device = match (&self.report, &self.accelerator) {
            (Some(path), _) => estimate::measured(&super::load(path)?, asked),
            (None, Some(name)) => {
                estimate::stated(catalogue, one_datasheet(catalogue, name)?, asked)
            }
            (None, None) => bail!(
                "say whose efficiency is meant: --report REPORT for a measured one, --accelerator ID for that of a datasheet"
            ),
        };
        // A report's strings are shown to a person here.
        device.map_err(|error| anyhow!(table::clean(&error.to_string())))
    }

    fn assumptions(&self, device: &Device) -> anyhow::Result<Assumptions> {
        let utilisation = match (self.utilisation, device.basis) {
            (Some(utilisation), _) => utilisation,
            (None, Basis::Measured) => Utilisation(Span::of(1.0)),
            (None, Basis::Datasheet) => bail!(
                "a datasheet states a peak, which no workload gets all the time: say with --utilisation which share it gets. 100% compares peaks; one published training run sustained 48% (MegatronLM v1.0, https://nv-adlr.github.io/MegatronLMV1)"
            ),
        };
        let hardware = self.hardware_price.zip(self.lifetime);
        let hardware = hardware.map(|(price, lifetime)| Hardware { price, lifetime });
        if let (Some(hardware), Some(tariff)) = (hardware, self.price) {
            // Nothing adds them up here, but whoever reads the results will.
            hardware.price.over(tariff.per_kwh)?;
        }
        Ok(Assumptions {
            utilisation,
            pue: self.pue,
            tariff: self.price,
            carbon: self.carbon,
            devices: self.devices,
            hardware,
        })
    }
}

/// A built-in workload, or those of a file.
fn named(name: &str) -> anyhow::Result<Workloads> {
    if let Some(found) = Workloads::builtin().only(name) {
        return Ok(found);
    }
    let path = Path::new(name);
    if !path.exists() {
        bail!(
            "`{name}` is neither a workload nor a file; known: {}",
            known_workloads()
        );
    }
    Ok(Workloads::from_file(path)?)
}

fn known_workloads() -> String {
    let ids = Workloads::builtin()
        .workloads()
        .iter()
        .map(|w| w.id.as_str());
    ids.collect::<Vec<_>>().join(", ")
}

/// The one datasheet that a name can mean.
fn one_datasheet<'c>(catalogue: &'c Catalogue, name: &str) -> anyhow::Result<&'c Datasheet> {
    let found = datasheets::named(catalogue, name).map_err(|failure| failure.error)?;
    match found.as_slice() {
        [sheet] => Ok(sheet),
        several => {
            let ids: Vec<_> = several.iter().map(|sheet| sheet.id.as_str()).collect();
            bail!("`{name}` may be any of {}: say which", ids.join(", "))
        }
    }
}

/// One thing that went into an estimate.
#[derive(Debug, Serialize)]
struct Input {
    name: &'static str,
    text: String,
    value: Option<Span<f64>>,
    unit: Option<String>,
    source: String,
}

/// A device, assumptions, and what follows for some workloads.
#[derive(Debug, Serialize)]
struct Estimated<'a> {
    device: String,
    basis: Basis,
    inputs: Vec<Input>,
    /// What 10¹⁸ operations cost, where hardware has a price.
    per_eflop: Vec<Line>,
    workloads: Vec<ForWorkload<'a>>,
}

#[derive(Debug, Serialize)]
struct ForWorkload<'a> {
    id: &'a str,
    title: &'a str,
    estimates: Vec<ForClaim<'a>>,
}

#[derive(Debug, Serialize)]
struct ForClaim<'a> {
    /// The claim, then others of the same workload that went in.
    claims: Vec<Cited<'a>>,
    /// Null where nothing follows.
    results: Option<Vec<Line>>,
    /// Why nothing does.
    reason: Option<String>,
    /// Number format that the user chose for a claim that states none.
    assumed_precision: Option<estimate::NumberFormat>,
}

#[derive(Debug, Serialize)]
struct Cited<'a> {
    #[serde(flatten)]
    claim: &'a Claim,
    source_title: &'a str,
}

impl<'a> Estimated<'a> {
    fn new(
        workloads: &'a Workloads,
        device: &Device,
        assumptions: &Assumptions,
        catalogue: &Catalogue,
    ) -> Self {
        let each = |workload: &'a Workload| ForWorkload {
            id: &workload.id,
            title: &workload.title,
            estimates: estimate::estimate(workload, device, assumptions, catalogue)
                .into_iter()
                .map(|estimate| ForClaim::new(workloads, device, estimate))
                .collect(),
        };
        Self {
            device: device.name.clone(),
            basis: device.basis,
            inputs: inputs(device, assumptions),
            per_eflop: estimate::costs_of_an_eflop(device, assumptions),
            workloads: workloads.workloads().iter().map(each).collect(),
        }
    }

    fn claims(&self) -> impl Iterator<Item = &ForClaim<'a>> {
        self.workloads
            .iter()
            .flat_map(|workload| &workload.estimates)
    }

    fn anything(&self) -> bool {
        self.claims().any(|claim| claim.results.is_some())
    }

    /// Whether some work is divided among devices.
    fn divides_work(&self) -> bool {
        let mut results = self.claims().filter_map(|claim| claim.results.as_ref());
        results.any(|lines| lines.iter().any(|line| line.quantity == "days"))
    }

    fn why_nothing(&self) -> String {
        let reasons: Vec<_> = self
            .claims()
            .filter_map(|claim| claim.reason.as_deref())
            .collect();
        if reasons.is_empty() {
            "the workload states neither work nor a rate, devices or energy".to_owned()
        } else {
            format!("nothing can be estimated: {}", reasons.join("; "))
        }
    }
}

impl<'a> ForClaim<'a> {
    fn new(workloads: &'a Workloads, device: &Device, estimate: Estimate<'a>) -> Self {
        let cited = |claim: &'a Claim| Cited {
            claim,
            source_title: workloads.title(&claim.source),
        };
        let claims = [estimate.claim].into_iter().chain(estimate.beside);
        let (results, reason) = match estimate.lines {
            Ok(lines) => (Some(lines), None),
            Err(reason) => (None, Some(reason)),
        };
        let unstated = estimate.claim.precision.is_none() && results.is_some();
        Self {
            claims: claims.map(cited).collect(),
            results,
            reason,
            assumed_precision: unstated.then_some(device.format),
        }
    }
}

/// What went in beside the workload.
fn inputs(device: &Device, assumptions: &Assumptions) -> Vec<Input> {
    let input = |name, text, value: Span<f64>, unit: &str, source: &str| Input {
        name,
        text,
        value: Some(value),
        unit: Some(unit.to_owned()),
        source: source.to_owned(),
    };
    let rate = Span::of(device.rate);
    let per_watt = device.rate / FlopPerSecond::from(Gflops(1.0)) / device.power.0;
    let Utilisation(share) = assumptions.utilisation;
    let mut inputs = vec![
        input(
            "rate",
            format!("{} {}", text::rate(rate), device.format),
            rate.map(|rate| rate.0),
            &format!("FLOP/s {}", device.format),
            &device.rate_source,
        ),
        input(
            "power",
            text::power(Span::of(device.power)),
            Span::of(device.power.0),
            "W",
            &device.power_source,
        ),
        input(
            "efficiency",
            text::range(Span::of(per_watt), "GFLOPS/W"),
            Span::of(per_watt),
            "GFLOP/s per W",
            "rate ÷ power",
        ),
        input(
            "utilisation",
            text::range(share.map(|share| share * 100.0), "%"),
            share,
            "1",
            match device.basis {
                Basis::Measured => "of the measured rate (--utilisation; all of it unless given)",
                Basis::Datasheet => "of the datasheet's peak (--utilisation)",
            },
        ),
    ];
    if let Some(Pue(pue)) = assumptions.pue {
        inputs.push(input("PUE", text::range(pue, ""), pue, "1", "--pue"));
    }
    if let Some(Tariff { per_kwh }) = assumptions.tariff {
        let unit = format!("{}/kWh", per_kwh.currency);
        let text = text::range(per_kwh.amount, &unit);
        inputs.push(input("electricity", text, per_kwh.amount, &unit, "--price"));
    }
    if let Some(carbon) = assumptions.carbon {
        let factor = carbon.grams_per_kwh();
        let text = text::range(factor, "g CO2/kWh");
        inputs.push(input("carbon", text, factor, "g CO2/kWh", "--carbon"));
    }
    if let Some(devices) = assumptions.devices {
        let count = Span::of(devices.get() as f64);
        inputs.push(input(
            "devices",
            text::range(count, ""),
            count,
            "1",
            "--devices",
        ));
    }
    if let Some(Hardware { price, lifetime }) = assumptions.hardware {
        let unit = price.currency.to_string();
        let text = text::money(price);
        inputs.push(input(
            "device price",
            text,
            price.amount,
            &unit,
            "--hardware-price",
        ));
        let hours = lifetime.0.map(|life| life / Seconds(3600.0));
        let text = text::range(hours, "h");
        inputs.push(input("lifetime", text, hours, "h", "--lifetime"));
    }
    inputs
}
