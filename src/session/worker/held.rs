//! Cases that stay on the device, to be run batch by batch in turn.

use std::sync::Arc;

use super::{Event, Request, Worker, not_a_request, stopped_at};
use crate::gpu::device::Gpu;
use crate::kernel::Choice;
use crate::kernel::capabilities::Capabilities;
use crate::kernel::id::CaseId;
use crate::kernel::inputs::Draw;
use crate::kernel::template::Templates;
use crate::measure::measurement::Clock;
use crate::measure::tier::Tier;
use crate::measure::{Bench, Prepared, Stopped, Timed};
use crate::record::Shaders;

/// Why nothing is held any more, other than that it was released.
enum Lost {
    /// A case ended without figures.
    Stopped(Box<(CaseId, Stopped)>),
    /// The worker was asked for what it cannot do.
    Refused(String),
}

impl Lost {
    fn at(id: &CaseId, stopped: Stopped) -> Self {
        Self::Stopped(Box::new((id.clone(), stopped)))
    }
}

impl From<String> for Lost {
    fn from(message: String) -> Self {
        Self::Refused(message)
    }
}

/// What is to be held.
struct Wanted {
    id: String,
    choice: Option<Choice>,
    shaders: Option<Shaders>,
    tier: Tier,
    draw: Draw,
}

/// Runs one batch; where it is `checked`, on a poisoned output that is compared after it.
fn sampled(prepared: &Prepared, checked: bool) -> Result<Timed, Stopped> {
    if !checked {
        return prepared.time_batch();
    }
    prepared.poison()?;
    let timed = prepared.time_batch()?;
    prepared.confirm()?;
    Ok(timed)
}

impl Worker {
    /// Serves requests until nothing is held any more. The last answer is returned,
    /// and still has to be given.
    pub(super) fn hold(&mut self, first: Request) -> Result<Event, String> {
        let mut device = self.device.take().ok_or("no adapter is open")?;
        let capabilities = Capabilities::from(&device.adapter.description);
        let templates = Arc::clone(&device.templates);
        let mut last = None;
        let outcome =
            device.with_gpu(
                |gpu| match self.serve_held(gpu, &capabilities, &templates, first) {
                    Ok(event) => Ok(Ok(event)),
                    Err(Lost::Refused(message)) => Ok(Err(message)),
                    Err(Lost::Stopped(case)) => {
                        let (id, stopped) = *case;
                        last = Some(id);
                        Err(stopped)
                    }
                },
            );
        self.device = Some(device);
        match (outcome, last) {
            (Ok(answer), _) => answer,
            (Err(stopped), Some(id)) => Ok(stopped_at(&id, stopped)),
            (Err(stopped), None) => Err(stopped.to_string()),
        }
    }

    fn serve_held(
        &mut self,
        gpu: &Gpu,
        capabilities: &Capabilities,
        templates: &Arc<Templates>,
        first: Request,
    ) -> Result<Event, Lost> {
        let mut held: Vec<(CaseId, Prepared)> = Vec::new();
        let mut last = None;
        let mut request = first;
        loop {
            let answer = match request {
                Request::Hold {
                    id,
                    choice,
                    shaders,
                    tier,
                    draw,
                } => {
                    let wanted = Wanted {
                        id,
                        choice,
                        shaders,
                        tier,
                        draw,
                    };
                    let (id, mut prepared) = self.prepare(gpu, capabilities, templates, wanted)?;
                    if let Some((_, first)) = held.iter().find(|(first, _)| *first == id) {
                        let shared = prepared.share(first);
                        shared.map_err(|stopped| Lost::at(&id, stopped))?;
                    }
                    let event = Event::Held {
                        choice: prepared.choice(),
                        work: prepared.work(),
                    };
                    held.push((id, prepared));
                    event
                }
                Request::Sample {
                    held: which,
                    processor,
                    checked,
                } => {
                    let (id, prepared) = held
                        .get(which)
                        .ok_or_else(|| format!("no case number {which} is held"))?;
                    last = Some(which);
                    let timed = sampled(prepared, checked);
                    let timed = timed.map_err(|stopped| Lost::at(id, stopped))?;
                    let (clock, dispatch_s) = match (processor, timed.device) {
                        (true, _) => (Clock::Host, timed.processor.unwrap_or(timed.host)),
                        (false, Some(device)) => (Clock::Device, device),
                        (false, None) => (Clock::Host, timed.host),
                    };
                    Event::Sampled {
                        dispatch_s,
                        clock: Some(clock),
                        host_s: Some(timed.host),
                    }
                }
                Request::Meter { held: which } => {
                    let (id, prepared) = held
                        .get_mut(which)
                        .ok_or_else(|| format!("no case number {which} is held"))?;
                    last = Some(which);
                    let meter = self.meter.take();
                    let meter = meter.ok_or_else(|| "no source of power is read".to_owned())?;
                    let mut reported = None;
                    let mut on_phase = |phase| self.report(phase, &mut reported);
                    let energy = prepared.energy(&meter, &mut on_phase);
                    self.meter = Some(meter);
                    let dispatch_j = energy.map_err(|stopped| Lost::at(id, stopped))?;
                    Event::Metered { dispatch_j }
                }
                Request::Release => {
                    // Before anything is computed again: what lies there was written by
                    // timed dispatches.
                    let timed = last.map(|which: usize| (which, held[which].1.confirm()));
                    let again = |(id, prepared): &(CaseId, Prepared)| {
                        Some(prepared.recompute().err()?.measurement(id))
                    };
                    let mut wrong: Vec<_> = held.iter().map(again).collect();
                    if let Some((which, Err(stopped))) = timed {
                        wrong[which] = Some(stopped.measurement(&held[which].0));
                    }
                    return Ok(Event::Released { wrong });
                }
                other => return Err(format!("{other:?} while a case is held").into()),
            };
            self.say(&answer).map_err(|error| error.to_string())?;
            request = match self.parent.requests.recv() {
                Ok(request) => request.map_err(|error| not_a_request(&error))?,
                Err(_) => return Err("the input has ended".to_owned().into()),
            };
        }
    }

    /// Verifies a case and warms it up.
    fn prepare<'a>(
        &mut self,
        gpu: &'a Gpu,
        capabilities: &Capabilities,
        templates: &Arc<Templates>,
        wanted: Wanted,
    ) -> Result<(CaseId, Prepared<'a>), Lost> {
        let id: CaseId = wanted.id.parse().map_err(|e| format!("{e}"))?;
        let templates = match &wanted.shaders {
            Some(shaders) => shaders.load().map_err(|e| e.to_string())?,
            None => Arc::clone(templates),
        };
        let problem = self
            .problem(&id, wanted.draw)
            .ok_or_else(|| format!("{id} poses no problem"))?;
        let mut reported = None;
        let mut on_phase = |phase| self.report(phase, &mut reported);
        let prepared = Bench::new(gpu, capabilities.clone(), &templates).and_then(|bench| {
            let choice = wanted.choice.as_ref();
            bench.prepare(&id, choice, &*problem, wanted.tier, &mut on_phase)
        });
        self.problem = Some((id.clone(), wanted.draw, problem));
        match prepared {
            Ok(prepared) => Ok((id, prepared)),
            Err(stopped) => Err(Lost::at(&id, stopped)),
        }
    }
}
