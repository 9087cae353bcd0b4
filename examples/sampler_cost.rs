//! What reading power costs the work that is measured.
//!
//! `cargo run --release --example sampler_cost [-- --adapter cpu] [--power SOURCE]`
//!
//! One kernel is sampled in pairs of stretches, one with the power sampler running
//! and one without, in an order that is random in each pair. Printed are the
//! sampler's share of a core and the ratio of the stretches' median times. Where
//! `auto` finds no source, a file of the kernel's is read in its place, in the way
//! of RAPL's counter; it says nothing of power.
//!
//! Fails where the share is 5 % or more, or where the ratio's 95 % interval shows
//! an effect: it neither contains 1 nor lies within 1 % of it.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use flopwatt::gpu::adapter::AdapterDescription;
use flopwatt::gpu::device::{Gpu, ShaderMode};
use flopwatt::kernel::capabilities::Capabilities;
use flopwatt::kernel::id::CaseId;
use flopwatt::kernel::inputs::Draw;
use flopwatt::kernel::problem;
use flopwatt::kernel::template::Templates;
use flopwatt::measure::tier::Tier;
use flopwatt::measure::{Bench, Prepared};
use flopwatt::power::sampler::{self, Cost, Sampler};
use flopwatt::power::{
    self, Averaging, Coverage, Metric, Missing, Opened, PowerError, PowerSource, PowerSpec,
    RawReading, SourceIdentity, sensor,
};
use flopwatt::session::adapter;
use flopwatt::stats;
use flopwatt::units::{Joules, Seconds};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Of a core. NVML costs the most: 26 calls a second, of 1.3 ms each on an H100.
const SHARE_BOUND: f64 = 0.05;
/// Around a ratio of 1.
const RATIO_BOUND: f64 = 0.01;
/// How long the kernel is sampled with the sampler or without.
const STRETCH: Duration = Duration::from_secs(1);

/// Measure what the power sampler costs
#[derive(Parser)]
struct Args {
    /// The adapter, as in `flopwatt run`
    #[arg(long)]
    adapter: Option<String>,

    /// The power source, as in `flopwatt run`
    #[arg(long, default_value = "auto")]
    power: PowerSpec,

    /// Pairs of stretches, 1 s each
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(30..))]
    pairs: u32,

    /// Seed of the order inside each pair, and of the inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let adapter = adapter::choose(args.adapter.as_deref())?.adapter;
    let description = &adapter.description;
    let gpu = Gpu::open(&adapter.wgpu, ShaderMode::Unchecked)?;
    let id = case(description.is_software())?;
    let problem =
        problem::problem(&id, Draw::normal(args.seed)).context("the case poses no problem")?;
    let capabilities = Capabilities::from(description);
    let bench = Bench::new(&gpu, capabilities, Templates::builtin())?;
    let prepared = bench.prepare(&id, None, &*problem, Tier::Quick, &mut |_| {});
    let mut prepared = prepared?;

    let mut source = open(&args.power, description)?;
    let sensor = sensor::detect(source.as_mut())?;
    println!("{id} on {}", description.summary());
    println!("source: {}", source.identity().name);
    let interval = sampler::interval(&sensor).as_secs_f64();
    println!("read every {:.0} ms", 1e3 * interval);
    drop(source);

    let random = &mut Pcg64Mcg::seed_from_u64(args.seed);
    let mut pairs = Pairs::default();
    for _ in 0..args.pairs {
        let sampled_first = random.next_u64() >> 63 == 1;
        let mut medians = [Seconds(0.0); 2];
        for sampled in [sampled_first, !sampled_first] {
            let source = sampled
                .then(|| open(&args.power, description))
                .transpose()?;
            let sampler = source.map(|source| Sampler::start(source, sensor.clone()));
            medians[usize::from(sampled)] = stretch(&mut prepared)?;
            if let Some(sampler) = sampler {
                pairs.spend(sampler.stop().cost);
            }
        }
        pairs.log_ratios.push((medians[1].0 / medians[0].0).ln());
    }
    prepared.finish()?;
    Ok(match pairs.print() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// A product whose dispatches take some milliseconds.
fn case(software: bool) -> anyhow::Result<CaseId> {
    let id = match software {
        true => "matmul/f32/register/512x512x512",
        false => "matmul/f32/register/4096x4096x4096",
    };
    Ok(id.parse()?)
}

/// Samples for a while; the median time of a dispatch.
fn stretch(prepared: &mut Prepared) -> anyhow::Result<Seconds> {
    let begin = Instant::now();
    let mut times = Vec::new();
    while begin.elapsed() < STRETCH {
        times.push(prepared.sample()?.0);
    }
    let median = stats::median(&times).context("no sample was taken")?;
    Ok(Seconds(median))
}

/// The wanted source, or the stand-in where the adapter has none.
fn open(spec: &PowerSpec, adapter: &AdapterDescription) -> anyhow::Result<Box<dyn PowerSource>> {
    let opened: Opened = power::open(spec, Some(adapter));
    match (opened, spec) {
        (Ok(source), _) => Ok(source),
        (Err(_), PowerSpec::Auto) => Ok(Box::new(StandIn::open()?)),
        (Err(why), _) => Err(why.into()),
    }
}

/// A number in a file of the kernel's that counts up, read as RAPL's counter is.
struct StandIn(SourceIdentity);

impl StandIn {
    const FILE: &'static str = "/proc/uptime";

    fn open() -> anyhow::Result<Self> {
        Self::number().context("there is no power source, and no /proc to stand in for one")?;
        Ok(Self(SourceIdentity {
            name: format!("{}, a stand-in that tells no power", Self::FILE),
            device: "none".into(),
            covers: Coverage::Command,
            power: Metric::Missing(Missing::NotOffered),
            energy: Metric::Field(Self::FILE.into()),
            averaging: Averaging::NONE,
            pci_address: None,
        }))
    }

    fn number() -> Option<f64> {
        let text = fs::read_to_string(Self::FILE).ok()?;
        text.split_whitespace().next()?.parse().ok()
    }
}

impl PowerSource for StandIn {
    fn identity(&self) -> &SourceIdentity {
        &self.0
    }

    fn read(&mut self) -> Result<RawReading, PowerError> {
        let number = Self::number().ok_or(PowerError::Missing(Missing::NoData))?;
        Ok(RawReading {
            at: Instant::now(),
            power: None,
            energy: Some(Joules(number)),
        })
    }
}

/// What the pairs showed.
#[derive(Default)]
struct Pairs {
    cost: Cost,
    /// Of the median time with the sampler over that without.
    log_ratios: Vec<f64>,
}

impl Pairs {
    fn spend(&mut self, cost: Cost) {
        self.cost.cpu_s.0 += cost.cpu_s.0;
        self.cost.wall_s.0 += cost.wall_s.0;
    }

    /// Prints the figures; whether they are within the bounds.
    fn print(&self) -> bool {
        let share = self.cost.share_of_a_core();
        let interval = stats::median_interval(&self.log_ratios);
        let (Some(share), Some(ratio), Some(interval)) =
            (share, stats::median(&self.log_ratios), interval)
        else {
            println!("FAILED: nothing was sampled");
            return false;
        };
        let [low, high] = interval.map(f64::exp);
        let inside = low >= 1.0 - RATIO_BOUND && high <= 1.0 + RATIO_BOUND;
        let width = 100.0 * (high - low);
        println!("sampler: {:.3} % of a core", 100.0 * share);
        println!(
            "time with over without: {:.4}, 95 % interval {low:.4} to {high:.4} from {} pairs",
            ratio.exp(),
            self.log_ratios.len()
        );
        match inside {
            true => println!("the interval lies within 1 ± 0.01"),
            false => println!("the interval is {width:.2} % wide, not within 1 ± 0.01"),
        }
        let effect = !inside && !(low..=high).contains(&1.0);
        if share >= SHARE_BOUND {
            println!("FAILED: the sampler takes 5 % of a core or more");
        }
        if effect {
            println!("FAILED: the sampler changes what is measured");
        }
        share < SHARE_BOUND && !effect
    }
}
