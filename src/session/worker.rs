//! The worker's side: opens the adapter it is told and measures what it is told.

mod beside;
mod held;

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use self::beside::BesideOthers;
use super::protocol::{Event, PROTOCOL, PowerRequest, Request, RightProgram, line_to_parent};
use crate::gpu::adapter::{self, Adapter, AdapterDescription};
use crate::gpu::device::{Gpu, ShaderMode};
use crate::kernel::Choice;
use crate::kernel::capabilities::Capabilities;
use crate::kernel::id::CaseId;
use crate::kernel::inputs::Draw;
use crate::kernel::problem::{self, Problem};
use crate::kernel::select;
use crate::kernel::template::Templates;
use crate::measure::measurement::{Measurement, Reason, ReasonCode, Status};
use crate::measure::tier::Tier;
use crate::measure::{Bench, Meter, Nobody, Others, Phase, Stopped, Watch};
use crate::power::PowerSpec;
use crate::record::{Computed, PowerTrace, SCHEMA_VERSION, Shaders};
use crate::tune;

/// Sampling is reported at most this often.
const REPORT_EVERY: Duration = Duration::from_millis(200);

type Requests = mpsc::Receiver<Result<Request, serde_json::Error>>;

/// The line to the parent.
struct Parent {
    out: File,
    requests: Requests,
}

/// Serves requests from standard input until it ends.
///
/// # Errors
/// When standard output is gone, or no thread can be had to read requests.
pub fn serve() -> io::Result<()> {
    let mut worker = Worker {
        parent: Rc::new(Parent {
            out: line_to_parent()?,
            requests: read_requests()?,
        }),
        device: None,
        meter: None,
        watch: None,
        problem: None,
    };
    worker.say(&Event::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema: SCHEMA_VERSION.to_owned(),
    })?;
    while let Ok(request) = worker.parent.requests.recv() {
        let served = match request {
            Ok(Request::Open {
                adapter,
                shaders,
                power,
            }) => worker.open(&adapter, &shaders, power),
            Ok(Request::Tune { id, seed }) => worker.tune(&id, seed),
            Ok(Request::Measure {
                id,
                choice,
                tier,
                draw,
                metered,
                dump,
                fresh_device,
                beside_others,
            }) => worker.measure(&Case {
                id: &id,
                choice: choice.as_ref(),
                tier,
                draw,
                metered,
                dump: dump.as_deref(),
                fresh_device,
                beside_others,
            }),
            Ok(Request::List { filters, software }) => {
                let ids = select::listing(&filters, software).into_iter();
                Ok(Event::Listed {
                    ids: ids.map(|id| id.to_string()).collect(),
                })
            }
            Ok(Request::Check { id, choice, draw }) => worker.check(&id, choice.as_ref(), draw),
            Ok(
                request @ (Request::Hold { .. }
                | Request::Sample { .. }
                | Request::Meter { .. }
                | Request::Release),
            ) => worker.hold(request),
            // The case that was to be finished has failed meanwhile.
            Ok(Request::Finish) => continue,
            Ok(Request::Begin) => Err("nothing is ready to begin".to_owned()),
            Err(error) => Err(not_a_request(&error)),
        };
        match served {
            Ok(event) => worker.say(&event)?,
            Err(message) => return worker.say(&Event::Error { message }),
        }
    }
    Ok(())
}

fn not_a_request(error: &serde_json::Error) -> String {
    format!("not a request: {error}")
}

/// Reads on a thread of its own: when the input ends, nobody waits for what is
/// being measured, and the process exits at once.
fn read_requests() -> io::Result<Requests> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.send(serde_json::from_str(&line)).is_err() {
                break;
            }
        }
        std::process::exit(0);
    })?;
    Ok(receiver)
}

/// What is asked of a case.
struct Case<'a> {
    id: &'a str,
    choice: Option<&'a Choice>,
    tier: Tier,
    draw: Draw,
    metered: bool,
    dump: Option<&'a str>,
    fresh_device: bool,
    beside_others: bool,
}

struct Worker {
    parent: Rc<Parent>,
    device: Option<OpenDevice>,
    /// Taken away while a case is measured.
    meter: Option<Meter>,
    /// Sees what else goes on; taken away as well.
    watch: Option<Watch>,
    /// Kernels of one problem follow one another; its reference is kept.
    problem: Option<(CaseId, Draw, Box<dyn Problem>)>,
}

struct OpenDevice {
    adapter: Adapter,
    templates: Arc<Templates>,
    mode: ShaderMode,
    /// Taken away after a failure and for a fresh life, opened afresh for what follows.
    gpu: Option<Gpu>,
}

impl Parent {
    fn say(&self, event: &Event) -> io::Result<()> {
        let line = serde_json::to_string(event)? + "\n";
        (&self.out).write_all(line.as_bytes())
    }
}

impl Worker {
    fn say(&self, event: &Event) -> io::Result<()> {
        self.parent.say(event)
    }

    fn open(
        &mut self,
        wanted: &AdapterDescription,
        shaders: &Shaders,
        power: PowerRequest,
    ) -> Result<Event, String> {
        let found = adapter::enumerate().into_iter().find(|found| {
            // The position in the list may differ from one enumeration to the next.
            let same_place = AdapterDescription {
                index: wanted.index,
                // Programs before schema 1.4 do not tell it.
                uuid: found
                    .description
                    .uuid
                    .clone()
                    .filter(|_| wanted.uuid.is_some()),
                ..found.description.clone()
            };
            same_place == *wanted
        });
        let adapter = found.ok_or("the adapter is gone: it is no longer listed")?;
        let templates = shaders.load().map_err(|e| e.to_string())?;
        let spec: PowerSpec = power.wanted.parse().map_err(|e| format!("{e}"))?;
        let mut watch = Watch::new(wanted, &spec);
        // What the device draws while nobody has it open is seen before it is.
        let (meter, power) = Meter::open(&spec, Some(wanted), power.sensor);
        let gpu = watch.while_opening(|| Gpu::open(&adapter.wgpu, shaders.mode));
        self.device = Some(OpenDevice {
            adapter,
            templates,
            mode: shaders.mode,
            gpu: Some(gpu.map_err(|e| e.to_string())?),
        });
        self.meter = meter;
        self.watch = Some(watch);
        Ok(Event::Opened { power })
    }

    fn tune(&mut self, id: &str, seed: u64) -> Result<Event, String> {
        let outcome = self.with_bench(id, Draw::normal(seed), |bench, id, problem, on_phase| {
            tune::tune(bench, id, problem, seed, on_phase)
        });
        let tuning = outcome?.1.map_err(|stopped| stopped.reason().clone());
        Ok(Event::Tuned { tuning })
    }

    fn measure(&mut self, case: &Case) -> Result<Event, String> {
        if let (true, Some(device)) = (case.fresh_device, &mut self.device) {
            device.gpu = None;
        }
        let (meter, watch) = (self.meter.take(), self.watch.take());
        let (mut trace, mut busy) = (None, Vec::new());
        let mut others: Box<dyn Others> = match case.beside_others {
            true => Box::new(BesideOthers::new(Rc::clone(&self.parent))),
            false => Box::new(Nobody),
        };
        let measured = self.with_bench(case.id, case.draw, |bench, id, problem, on_phase| {
            let meter = meter.as_ref().filter(|_| case.metered);
            let states_are_read = meter.is_some_and(Meter::is_of_one_adapter);
            let mut watched = watch.as_ref().map(|watch| watch.case(states_are_read));
            let mut watching = |phase| {
                watched.iter_mut().for_each(|watched| watched.hear(phase));
                on_phase(phase);
            };
            let mut prepared = bench.prepare(id, case.choice, problem, case.tier, &mut watching)?;
            match meter {
                Some(meter) => {
                    let metered = prepared.converge_metered(meter, &mut *others, &mut watching)?;
                    trace = Some(Box::new(PowerTrace::from(metered)));
                }
                None => prepared.converge_beside(&mut *others, &mut watching)?,
            }
            prepared.stay_busy(&mut *others, &mut watching)?;
            busy = prepared.busy();
            let mut measurement = prepared.finish()?;
            if let Some(watched) = watched {
                watched.enter(&mut measurement);
            }
            Ok(case.dumped(id, problem, measurement, prepared.output(), on_phase))
        });
        let sensor = meter.as_ref().map(Meter::sensor);
        (self.meter, self.watch) = (meter, watch);
        let (id, outcome) = measured?;
        let device_is_gone = outcome.as_ref().is_err_and(Stopped::ends_the_run);
        let measurement = outcome.unwrap_or_else(|stopped| stopped.measurement(&id));
        Ok(Event::Done {
            measurement: Box::new(measurement),
            trace,
            sensor,
            device_is_gone,
            busy,
        })
    }

    fn check(&mut self, id: &str, choice: Option<&Choice>, draw: Draw) -> Result<Event, String> {
        let checked = self.with_bench(id, draw, |bench, id, problem, on_phase| {
            bench.check(id, choice, problem, on_phase)
        });
        let (id, outcome) = checked?;
        Ok(match outcome {
            Ok(programs) => Event::Checked {
                programs: programs
                    .into_iter()
                    .map(|(parameters, work)| RightProgram { parameters, work })
                    .collect(),
            },
            Err(stopped) => stopped_at(&id, stopped),
        })
    }

    /// Works on the problem of case `id` with the open device, or with a fresh one
    /// where the last case cost it.
    fn with_bench<T>(
        &mut self,
        id: &str,
        draw: Draw,
        work: impl FnOnce(&Bench, &CaseId, &dyn Problem, &mut dyn FnMut(Phase)) -> Result<T, Stopped>,
    ) -> Result<(CaseId, Result<T, Stopped>), String> {
        let id: CaseId = id.parse().map_err(|e| format!("{e}"))?;
        let mut device = self.device.take().ok_or("no adapter is open")?;
        let problem = self
            .problem(&id, draw)
            .ok_or_else(|| format!("{id} poses no problem"))?;
        let mut reported = None;
        let mut on_phase = |phase: Phase| self.report(phase, &mut reported);
        let outcome = device.with_bench(|bench| work(bench, &id, &*problem, &mut on_phase));
        self.problem = Some((id.clone(), draw, problem));
        self.device = Some(device);
        Ok((id, outcome))
    }

    /// Tells of a phase. A parent that does not listen any more has ended, and
    /// the end of the input ends this process.
    fn report(&self, phase: Phase, reported: &mut Option<Instant>) {
        let sampling = matches!(phase, Phase::Sampling { .. } | Phase::StayingBusy { .. });
        if sampling && reported.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return;
        }
        *reported = sampling.then(Instant::now);
        let _ = self.say(&Event::phase(phase));
    }

    /// The problem that `id` poses, taken from the last case if it is the same.
    fn problem(&mut self, id: &CaseId, draw: Draw) -> Option<Box<dyn Problem>> {
        match self.problem.take() {
            Some((last, last_draw, problem)) if last_draw == draw && last.same_problem(id) => {
                Some(problem)
            }
            _ => problem::problem(id, draw),
        }
    }
}

impl Case<'_> {
    /// The measurement, once what was computed is kept where that is wanted.
    fn dumped(
        &self,
        id: &CaseId,
        problem: &dyn Problem,
        measurement: Measurement,
        output: &[u8],
        on_phase: &mut dyn FnMut(Phase),
    ) -> Measurement {
        let Some(folder) = self.dump else {
            return measurement;
        };
        on_phase(Phase::Dumping);
        let computed = Computed {
            id,
            draw: self.draw,
            problem,
            parameters: &measurement.parameters,
            output,
        };
        match computed.dump(Path::new(folder)) {
            Ok(()) => measurement,
            Err(error) => {
                let reason = Reason::new(ReasonCode::Worker, error);
                Measurement::without_figures(id, Status::Failed, reason)
            }
        }
    }
}

/// The case that ended without figures.
fn stopped_at(id: &CaseId, stopped: Stopped) -> Event {
    let device_is_gone = stopped.ends_the_run();
    Event::Done {
        measurement: Box::new(stopped.measurement(id)),
        trace: None,
        sensor: None,
        device_is_gone,
        busy: Vec::new(),
    }
}

impl OpenDevice {
    fn with_bench<T>(
        &mut self,
        work: impl FnOnce(&Bench) -> Result<T, Stopped>,
    ) -> Result<T, Stopped> {
        let capabilities = Capabilities::from(&self.adapter.description);
        let templates = Arc::clone(&self.templates);
        self.with_gpu(|gpu| Bench::new(gpu, capabilities, &templates).and_then(|b| work(&b)))
    }

    /// Works with the device, or with a fresh one where the last case cost it.
    fn with_gpu<T>(&mut self, work: impl FnOnce(&Gpu) -> Result<T, Stopped>) -> Result<T, Stopped> {
        let gpu = match self.gpu.take() {
            Some(gpu) => gpu,
            None => Gpu::open(&self.adapter.wgpu, self.mode)?,
        };
        let outcome = work(&gpu);
        if !outcome.as_ref().is_err_and(Stopped::wants_fresh_device) {
            self.gpu = Some(gpu);
        }
        outcome
    }
}
