//! IOReport: the GPU's power on Apple's chips, as `powermetrics` shows it, read
//! through macmon without root.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::discover::PowerSourceStatus;
use super::latest::{Latest, Value};
use super::sensor::Averaging;
use super::{
    Coverage, Metric, Missing, PowerError, PowerSource, RawReading, SourceIdentity, Unavailable,
};
use crate::units::{Seconds, Watts};

const WHAT: &str = "power of the GPU on Apple's chips";

/// macmon averages over the interval that it is asked for; as long as NVML's
/// usual update period.
const INTERVAL: Duration = Duration::from_millis(100);
/// The first value takes one interval; a system that gives none by then gives
/// none.
const FIRST_VALUE: Duration = Duration::from_secs(3);

/// Whether this machine's chip tells its GPU's power.
pub fn discover() -> PowerSourceStatus {
    match macmon::Sampler::new() {
        Ok(_) => PowerSourceStatus::ready("ioreport", WHAT),
        Err(why) => PowerSourceStatus::unavailable("ioreport", WHAT, why.to_string()),
    }
}

/// Begins to read.
///
/// # Errors
/// When the system gives no value.
pub fn open() -> Result<IoReport, Unavailable> {
    let latest = Latest::default();
    let stop = Arc::new(AtomicBool::new(false));
    thread::spawn({
        let (latest, stop) = (latest.clone(), stop.clone());
        move || read_until(&stop, &latest)
    });
    let source = IoReport {
        identity: SourceIdentity {
            name: "ioreport".into(),
            device: "GPU of Apple's chip".into(),
            covers: Coverage::GpuChip,
            power: Metric::Field("IOReport GPU Energy".into()),
            energy: Metric::Missing(Missing::NotOffered),
            averaging: Averaging::documented(Seconds(INTERVAL.as_secs_f64())),
            pci_address: None,
        },
        latest,
        stop,
    };
    let begin = Instant::now();
    while source.latest.get()?.is_none() {
        if begin.elapsed() > FIRST_VALUE {
            return Err(Unavailable::TellsNothing {
                name: "ioreport".into(),
                power: Missing::NoData,
                energy: Missing::NotOffered,
            });
        }
        thread::sleep(INTERVAL / 10);
    }
    Ok(source)
}

/// The sampler stays in this thread: it cannot be sent to another.
fn read_until(stop: &AtomicBool, latest: &Latest) {
    let failed = |why: String| latest.end(PowerError::Missing(Missing::Driver(why)));
    let mut sampler = match macmon::Sampler::new() {
        Ok(sampler) => sampler,
        Err(why) => return failed(why.to_string()),
    };
    while !stop.load(Ordering::Relaxed) {
        match sampler.get_metrics(INTERVAL.as_millis() as u32) {
            Ok(metrics) => latest.set(Value::Power(Watts(metrics.gpu_power.into()))),
            Err(why) => return failed(why.to_string()),
        }
    }
}

/// Apple's GPU as a power source.
pub struct IoReport {
    identity: SourceIdentity,
    latest: Latest,
    stop: Arc<AtomicBool>,
}

impl PowerSource for IoReport {
    fn identity(&self) -> &SourceIdentity {
        &self.identity
    }

    fn read(&mut self) -> Result<RawReading, PowerError> {
        let reading = self.latest.get()?;
        reading.ok_or(PowerError::Missing(Missing::NoData))
    }
}

impl Drop for IoReport {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
