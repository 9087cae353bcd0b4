//! The headline kernels through criterion, by the same measuring code as
//! `flopwatt run`: every kernel is verified first, time is the device's, rates
//! are GFLOP/s, and the run leaves a report under `reports/`.
//!
//! `FLOPWATT_ADAPTER` chooses the adapter as `--adapter` does elsewhere, and
//! `FLOPWATT_POWER` the source of power as `--power` does.

mod attention;
mod device_time;
mod harness;
mod matmul;
mod metering;
mod peaks;

use std::process::ExitCode;

use criterion::Criterion;
use device_time::DeviceTime;
use flopwatt::gpu::select::SelectError;
use flopwatt::power::PowerSpec;
use flopwatt::session::LockError;
use harness::Harness;

fn main() -> ExitCode {
    let power = std::env::var("FLOPWATT_POWER").unwrap_or_default();
    let power = if power.is_empty() {
        Ok(PowerSpec::Auto)
    } else {
        power.parse()
    };
    let power = match power {
        Ok(power) => power,
        Err(error) => {
            eprintln!("error: FLOPWATT_POWER: {error}");
            return ExitCode::from(2);
        }
    };
    let wanted = std::env::var("FLOPWATT_ADAPTER").ok();
    let opened = match harness::open(wanted.as_deref(), power) {
        Ok(opened) => opened,
        Err(error) => {
            eprintln!("error: {error:#}");
            let select = error.downcast_ref::<SelectError>();
            let misnamed = select.is_some_and(|error| !error.nothing_to_measure());
            let usage = misnamed || error.is::<LockError>();
            return ExitCode::from(if usage { 2 } else { 3 });
        }
    };
    let mut harness = match Harness::new(&opened) {
        Ok(harness) => harness,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(3);
        }
    };
    let time = DeviceTime::default();
    let mut criterion = Criterion::default()
        .with_measurement(time.clone())
        // The harness has warmed the case up before criterion calls it.
        .warm_up_time(std::time::Duration::from_millis(1))
        .measurement_time(std::time::Duration::from_secs(3))
        .without_plots()
        .configure_from_args();
    peaks::bench(&mut criterion, &mut harness, &time);
    matmul::bench(&mut criterion, &mut harness, &time);
    attention::bench(&mut criterion, &mut harness, &time);
    criterion.final_summary();
    harness.finish()
}
