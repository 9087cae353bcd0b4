//! Connects criterion to the measuring code and keeps the report.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use criterion::{Criterion, SamplingMode, Throughput};
use flopwatt::datasheet::Installed;
use flopwatt::gpu::adapter::AdapterDescription;
use flopwatt::gpu::device::{Gpu, ShaderMode};
use flopwatt::kernel::capabilities::Capabilities;
use flopwatt::kernel::id::{CaseId, Operation};
use flopwatt::kernel::inputs::{self, Draw};
use flopwatt::kernel::problem::{self, Problem, Work};
use flopwatt::kernel::select;
use flopwatt::kernel::template::Templates;
use flopwatt::kernel::{Choice, Kernel};
use flopwatt::measure::measurement::{Flag, Measurement, Reason, ReasonCode, Status};
use flopwatt::measure::surroundings::WatchedCase;
use flopwatt::measure::tier::Tier;
use flopwatt::measure::{Bench, Meter, Phase, Prepared, Stopped, Watch};
use flopwatt::power::{PowerSetup, PowerSpec};
use flopwatt::record::{self, Report, Shaders, Start};
use flopwatt::render;
use flopwatt::session::adapter::{self, Chosen};
use flopwatt::session::{self, AdapterLock, LockError, Locks};
use flopwatt::tune::{self, Cache, Key, Tuning};
use flopwatt::units::Seconds;

use crate::device_time::DeviceTime;
use crate::metering::Metering;

/// Effort of warm-up and convergence; criterion decides how many samples.
const TIER: Tier = Tier::Quick;

/// Samples that criterion takes of a case.
const SAMPLES: usize = 30;

/// One run of the benches.
pub struct Harness<'a> {
    opened: &'a Opened,
    bench: Bench<'a, 'a>,
    report: Report,
    /// Created when there is something to save: `--list` leaves nothing behind.
    folder: PathBuf,
    software: bool,
    /// Choices of the best kernels, of earlier runs and this one.
    choices: RefCell<Choices>,
    last_problem: Option<(CaseId, Rc<dyn Problem>)>,
    /// Reads the power of what criterion has run.
    meter: Option<Meter>,
    short: bool,
}

/// A case that criterion runs.
struct Run<'a> {
    prepared: Prepared<'a>,
    /// The windows of its power, if that is read.
    metering: Option<Metering<'a>>,
    /// Sees what goes on beside it.
    watched: WatchedCase<'a>,
}

struct Choices {
    cache: Cache,
    tunings: Vec<Tuning>,
}

/// An open adapter, which nobody else is to measure on meanwhile.
pub struct Opened {
    gpu: Gpu,
    adapter: AdapterDescription,
    start: Start,
    /// None where nothing is measured.
    lock: Option<AdapterLock>,
    watch: Watch,
    power: PowerSpec,
}

/// Whether criterion was given this option.
fn is_given(option: &str) -> bool {
    record::command_line()
        .iter()
        .any(|argument| argument == option)
}

/// Waits for the adapter: a bench is part of something longer more often than not, and
/// criterion's command line has no place to ask for it.
fn wait_for(adapter: &AdapterDescription) -> Result<AdapterLock, LockError> {
    let mut told = String::new();
    Locks::of_this_machine().wait(adapter, &mut |in_use| {
        let in_use = in_use.to_string();
        if in_use != told {
            eprintln!("waiting: {in_use}");
            told = in_use;
        }
        true
    })
}

/// Opens the wanted adapter, or the default, once nobody else measures on it.
pub fn open(wanted: Option<&str>, power: PowerSpec) -> anyhow::Result<Opened> {
    let Chosen { adapter, memory } = adapter::choose(wanted)?;
    let lock = match is_given("--list") {
        true => None,
        false => Some(wait_for(&adapter.description)?),
    };
    let mut watch = Watch::new(&adapter.description, &power);
    let gpu = watch.while_opening(|| Gpu::open(&adapter.wgpu, ShaderMode::Unchecked))?;
    let installed = Installed::examine(None)?.sound()?;
    if let Some(why) = &installed.unread {
        eprintln!("warning: your own datasheets are left out: {why}");
    }
    let datasheets = installed.catalogue;
    let start = Start {
        command: record::command_line(),
        tier: TIER,
        seed: inputs::fresh_seed(),
        datasheet: record::find_datasheet(&datasheets, &adapter.description, memory),
        shaders: Shaders::new(None, ShaderMode::Unchecked)?,
        adapter: adapter.description.clone(),
    };
    Ok(Opened {
        gpu,
        adapter: adapter.description,
        start,
        lock,
        watch,
        power,
    })
}

impl<'a> Harness<'a> {
    /// A harness on an open device.
    pub fn new(opened: &'a Opened) -> anyhow::Result<Self> {
        let (gpu, adapter) = (&opened.gpu, &opened.adapter);
        let templates = Templates::builtin();
        let key = Key::new(adapter, templates, gpu.mode());
        let (cache, warning) = Cache::open(key);
        if let Some(warning) = warning {
            eprintln!("warning: {warning}");
        }
        let mut report = Report::begin(opened.start.clone());
        // Without --bench criterion runs each benchmark once, as a test.
        let short = is_given("--quick") || is_given("--test") || !is_given("--bench");
        let power = if short || is_given("--list") {
            &PowerSpec::None
        } else {
            &opened.power
        };
        let (meter, setup) = Meter::open(power, Some(adapter), None);
        report.power = Some(PowerSetup {
            // It is open already.
            before_open_w: None,
            ..setup
        });
        Ok(Self {
            opened,
            bench: Bench::new(gpu, Capabilities::from(adapter), templates)?,
            folder: Path::new("reports").join(record::folder_name(&report)),
            report,
            software: adapter.is_software(),
            choices: RefCell::new(Choices {
                cache,
                tunings: Vec::new(),
            }),
            last_problem: None,
            meter,
            short,
        })
    }

    /// Benches the headline cases of `operation` that criterion's filter selects.
    pub fn bench(
        &mut self,
        criterion: &mut Criterion<DeviceTime>,
        operation: Operation,
        time: &DeviceTime,
    ) {
        let cases = select::select(&[], &[], false, self.software).unwrap_or_default();
        for case in cases.iter().filter(|case| case.id.operation == operation) {
            let sharing = self.opened.lock.as_ref().map(AdapterLock::watch);
            if let Some(mut measurement) = self.bench_case(criterion, &case.id, time) {
                if measurement.status == Status::Ok && sharing.is_some_and(|s| s.was_shared()) {
                    measurement.flag(Flag::SharedAdapter);
                }
                self.keep(measurement);
            }
        }
    }

    /// The case's outcome; `None` where the filter leaves it out.
    fn bench_case(
        &mut self,
        criterion: &mut Criterion<DeviceTime>,
        id: &CaseId,
        time: &DeviceTime,
    ) -> Option<Measurement> {
        let mut prepared: Option<Run> = None;
        let mut group = criterion.benchmark_group(id.operation.to_string());
        // Criterion's own bookkeeping takes a batch of ours for one iteration more
        // or less; with flat sampling each of its samples is one batch.
        group.sampling_mode(SamplingMode::Flat).sample_size(SAMPLES);
        match id.operation {
            Operation::Latency => {}
            Operation::Bandwidth => drop(group.throughput(Throughput::Bytes(1))),
            _ => drop(group.throughput(Throughput::Elements(1))),
        }
        let name = format!("{}/{}/{}", id.precision, id.variant, id.shape);
        let problem = self.problem(id);
        let (bench, meter, watch) = (&self.bench, self.meter.as_ref(), &self.opened.watch);
        let (choices, seed) = (&self.choices, self.report.seed);
        let run = AssertUnwindSafe(|| {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|iterations| {
                    let case = match &mut prepared {
                        Some(case) => case,
                        None => {
                            let choice = choices.borrow_mut().choice(bench, id, &*problem, seed);
                            let mut watched =
                                watch.case(meter.is_some_and(Meter::is_of_one_adapter));
                            let mut on_phase = |phase| watched.hear(phase);
                            let choice = choice.as_ref();
                            let case = prepare(bench, id, choice, &*problem, &mut on_phase);
                            time.set_amount(amount(&case.work()));
                            prepared.insert(Run::new(case, meter, watched))
                        }
                    };
                    case.sample().0 * iterations as f64
                });
            });
        });
        let refused = panic::catch_unwind(run).err();
        drop(group);
        match (refused, prepared) {
            (Some(payload), _) => match payload.downcast::<Stopped>() {
                Ok(stopped) => Some(stopped.measurement(id)),
                Err(other) => panic::resume_unwind(other),
            },
            (None, Some(run)) => Some(run.finish(id, self.short)),
            (None, None) => None,
        }
    }

    /// The problem that `id` poses. Kernels of one problem share its reference.
    fn problem(&mut self, id: &CaseId) -> Rc<dyn Problem> {
        match &self.last_problem {
            Some((last, problem)) if last.same_problem(id) => Rc::clone(problem),
            _ => {
                let posed = problem::problem(id, Draw::normal(self.report.seed));
                let problem: Rc<dyn Problem> =
                    Rc::from(posed.expect("headline cases are implemented"));
                self.last_problem = Some((id.clone(), Rc::clone(&problem)));
                problem
            }
        }
    }

    fn keep(&mut self, mut measurement: Measurement) {
        if let (Some(setup), Some(meter)) = (&mut self.report.power, &self.meter) {
            setup.sensor = Some(meter.sensor());
        }
        let setup = self.report.power.as_ref();
        let why = setup.and_then(|setup| setup.reason.as_ref());
        if let (Status::Ok, Some(why)) = (measurement.status, why) {
            measurement.power_reason = Some(Reason::new(ReasonCode::NoPowerSource, why));
        }
        self.report
            .tuning
            .clone_from(&self.choices.borrow().tunings);
        if let Some(reason) = &measurement.reason {
            println!(
                "{}: {}: {}",
                measurement.id, measurement.status, reason.message
            );
        }
        self.report.push(measurement);
        if let Err(error) = render::save(&self.report, &self.folder) {
            eprintln!("error: {error}");
            std::process::exit(2);
        }
    }

    /// Says where the report is. A case that is wrong or that failed is a failure
    /// of the run.
    pub fn finish(mut self) -> ExitCode {
        if self.report.measurements.is_empty() {
            return ExitCode::SUCCESS;
        }
        self.report.complete = true;
        if let Err(error) = render::save(&self.report, &self.folder) {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
        eprintln!(
            "report: {}",
            self.folder.join(record::REPORT_FILE).display()
        );
        let wrong = |m: &Measurement| matches!(m.status, Status::Rejected | Status::Failed);
        ExitCode::from(u8::from(self.report.measurements.iter().any(wrong)))
    }
}

impl<'a> Run<'a> {
    fn new(prepared: Prepared<'a>, meter: Option<&'a Meter>, watched: WatchedCase<'a>) -> Self {
        let metering = meter.map(|meter| Metering::new(&prepared, meter));
        Self {
            prepared,
            metering,
            watched,
        }
    }

    /// Takes batches one after the other for as long as a sample lasts, one in any
    /// case: mean seconds per dispatch.
    fn sample(&mut self) -> Seconds {
        let metering = &mut self.metering;
        let least = metering.as_ref().map(|metering| metering.least(SAMPLES));
        if let Some(metering) = metering {
            metering.before(self.prepared.taken());
        }
        let begin = Instant::now();
        let mut seconds = Vec::new();
        while seconds.is_empty() || least.is_some_and(|least| begin.elapsed() < least) {
            let sample = self.prepared.sample();
            seconds.push(sample.unwrap_or_else(|stopped| refuse(stopped)).0);
        }
        if let Some(metering) = metering {
            metering.after(self.prepared.taken());
        }
        Seconds(seconds.iter().sum::<f64>() / seconds.len() as f64)
    }

    fn finish(self, id: &CaseId, short: bool) -> Measurement {
        let mut prepared = self.prepared;
        if let Some(metering) = self.metering {
            metering.finish(&mut prepared);
        }
        if short {
            prepared.flag(Flag::Short);
        }
        match prepared.finish() {
            Ok(mut measurement) => {
                self.watched.enter(&mut measurement);
                measurement
            }
            Err(stopped) => stopped.measurement(id),
        }
    }
}

impl Choices {
    /// The kernel for a case of the best one, chosen now unless it was before.
    fn choice(
        &mut self,
        bench: &Bench,
        id: &CaseId,
        problem: &dyn Problem,
        seed: u64,
    ) -> Option<Choice> {
        if !id.is_best() {
            return None;
        }
        let programs = |kernel: &Kernel| bench.programs(kernel, id.shape);
        let found = self.cache.find(id, &programs).unwrap_or_else(|unfit| {
            eprintln!("warning: {unfit}");
            None
        });
        let tuning = found.unwrap_or_else(|| {
            let tuned = tune::tune(bench, id, problem, seed, &mut |_| {});
            let tuning = tuned.unwrap_or_else(|stopped| refuse(stopped));
            self.cache.insert(&tuning);
            if let Err(error) = session::keep(&self.cache) {
                eprintln!("warning: {error}");
                self.cache.forget_place();
            }
            eprintln!("tuned {id} in {:.1} s", tuning.took_s.0);
            tuning
        });
        if !self.tunings.iter().any(|known| known.covers(id)) {
            self.tunings.push(tuning.clone());
        }
        tuning.chosen
    }
}

/// Verifies and warms up a case, the first time that criterion calls it.
fn prepare<'a>(
    bench: &'a Bench,
    id: &CaseId,
    choice: Option<&Choice>,
    problem: &dyn Problem,
    on_phase: &mut dyn FnMut(Phase),
) -> Prepared<'a> {
    let prepared = bench.prepare(id, choice, problem, TIER, on_phase);
    prepared.unwrap_or_else(|stopped| refuse(stopped))
}

/// What one dispatch is rated by: operations, or bytes where there are none.
fn amount(work: &Work) -> f64 {
    match work.operations {
        0 => work.bytes as f64,
        operations => operations as f64,
    }
}

/// Leaves criterion without a figure: it has no other way out of a benchmark.
fn refuse(stopped: Stopped) -> ! {
    panic::resume_unwind(Box::new(stopped))
}
