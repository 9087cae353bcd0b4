//! The worker's side: opens the adapter it is told and measures what it is told.

use std::io::{self, BufRead, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::protocol::{Event, PROTOCOL, Request};
use crate::gpu::adapter::{self, Adapter, AdapterDescription};
use crate::gpu::device::Gpu;
use crate::kernel::capabilities::Capabilities;
use crate::kernel::id::CaseId;
use crate::kernel::problem::{self, Problem};
use crate::kernel::template::Templates;
use crate::measure::measurement::Measurement;
use crate::measure::tier::Tier;
use crate::measure::{Bench, Phase, Stopped};

/// Sampling is reported at most this often.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// Serves requests from standard input until it ends.
///
/// # Errors
/// When standard output is gone.
pub fn serve() -> io::Result<()> {
    let requests = read_requests();
    let mut worker = Worker {
        out: io::stdout(),
        device: None,
        problem: None,
    };
    worker.say(&Event::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })?;
    for request in requests {
        let served = match request {
            Ok(Request::Open { adapter }) => worker.open(&adapter),
            Ok(Request::Measure { id, tier, seed }) => worker.measure(&id, tier, seed),
            Err(error) => Err(format!("not a request: {error}")),
        };
        match served {
            Ok(event) => worker.say(&event)?,
            Err(message) => return worker.say(&Event::Error { message }),
        }
    }
    Ok(())
}

/// Reads on a thread of its own: when the input ends, nobody waits for what is
/// being measured, and the process exits at once.
fn read_requests() -> mpsc::Receiver<Result<Request, serde_json::Error>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.send(serde_json::from_str(&line)).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    receiver
}

struct Worker {
    out: io::Stdout,
    device: Option<OpenDevice>,
    /// Kernels of one problem follow one another; its reference is kept.
    problem: Option<(CaseId, u64, Box<dyn Problem>)>,
}

struct OpenDevice {
    adapter: Adapter,
    /// Taken away after a failure, opened afresh for the next case.
    gpu: Option<Gpu>,
}

impl Worker {
    fn say(&self, event: &Event) -> io::Result<()> {
        let mut out = self.out.lock();
        serde_json::to_writer(&mut out, event)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    fn open(&mut self, wanted: &AdapterDescription) -> Result<Event, String> {
        let found = adapter::enumerate().into_iter().find(|found| {
            // The position in the list may differ from one enumeration to the next.
            let same_place = AdapterDescription {
                index: wanted.index,
                ..found.description.clone()
            };
            same_place == *wanted
        });
        let adapter = found.ok_or("the adapter is gone: it is no longer listed")?;
        let gpu = Gpu::open(&adapter.wgpu).map_err(|e| e.to_string())?;
        self.device = Some(OpenDevice {
            adapter,
            gpu: Some(gpu),
        });
        Ok(Event::Opened)
    }

    fn measure(&mut self, id: &str, tier: Tier, seed: u64) -> Result<Event, String> {
        let id: CaseId = id.parse().map_err(|e| format!("{e}"))?;
        let mut device = self.device.take().ok_or("no adapter is open")?;
        let problem = self
            .problem(&id, seed)
            .ok_or_else(|| format!("{id} poses no problem"))?;
        let outcome = self.measure_on(&mut device, &id, &*problem, tier);
        let measurement = outcome.unwrap_or_else(|stopped| stopped.measurement(&id));
        self.problem = Some((id, seed, problem));
        self.device = Some(device);
        Ok(Event::Done {
            measurement: Box::new(measurement),
        })
    }

    /// Measures on the open device, or on a fresh one where the last case cost it.
    fn measure_on(
        &self,
        device: &mut OpenDevice,
        id: &CaseId,
        problem: &dyn Problem,
        tier: Tier,
    ) -> Result<Measurement, Stopped> {
        let gpu = match device.gpu.take() {
            Some(gpu) => gpu,
            None => Gpu::open(&device.adapter.wgpu)?,
        };
        let capabilities = Capabilities::from(&device.adapter.description);
        let mut reported = None;
        let mut on_phase = |phase: Phase| self.report(phase, &mut reported);
        let outcome = Bench::new(&gpu, capabilities, Templates::builtin())
            .and_then(|bench| bench.measure(id, problem, tier, &mut on_phase));
        if !outcome.as_ref().is_err_and(Stopped::wants_fresh_device) {
            device.gpu = Some(gpu);
        }
        outcome
    }

    /// Tells of a phase. A parent that does not listen any more has ended, and
    /// the end of the input ends this process.
    fn report(&self, phase: Phase, reported: &mut Option<Instant>) {
        let sampling = matches!(phase, Phase::Sampling { .. });
        if sampling && reported.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return;
        }
        *reported = sampling.then(Instant::now);
        let _ = self.say(&Event::phase(phase));
    }

    /// The problem that `id` poses, taken from the last case if it is the same.
    fn problem(&mut self, id: &CaseId, seed: u64) -> Option<Box<dyn Problem>> {
        match self.problem.take() {
            Some((last, last_seed, problem)) if last_seed == seed && last.same_problem(id) => {
                Some(problem)
            }
            _ => problem::problem(id.operation, id.precision, id.shape, seed),
        }
    }
}
