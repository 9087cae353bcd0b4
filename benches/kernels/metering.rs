//! Windows of power around the samples that criterion asks for.

use std::ops::Range;
use std::time::{Duration, Instant};

use flopwatt::measure::meter::Windows;
use flopwatt::measure::{Meter, Prepared};

/// The windows of a case: each begins with a sample, and ends with the one that
/// makes it long enough. The device is left idle in between.
pub struct Metering<'a> {
    windows: Windows<'a>,
    /// When the current one began, and with which sample.
    open: Option<(Instant, usize)>,
    /// The samples in each.
    samples: Vec<Range<usize>>,
}

impl<'a> Metering<'a> {
    /// Leaves the device idle before the first sample.
    pub fn new(prepared: &Prepared, meter: &'a Meter) -> Self {
        Self {
            windows: prepared.windows(meter),
            open: None,
            samples: Vec::new(),
        }
    }

    /// How long each of so many samples takes at least for all windows to be full,
    /// where every window is one sample longer than it has to be.
    pub fn least(&self, samples: usize) -> Duration {
        let windows = self.windows.planned();
        let most = samples.saturating_sub(windows).max(1);
        Duration::from_secs_f64(windows as f64 * self.windows.length().0 / most as f64)
    }

    /// Before a sample, of which so many have been taken.
    pub fn before(&mut self, taken: usize) {
        if self.open.is_none() && self.windows.begin() {
            self.open = Some((Instant::now(), taken));
        }
    }

    /// After a sample, with which so many have been taken.
    pub fn after(&mut self, taken: usize) {
        let now = Instant::now();
        let least = self.windows.length().0;
        let is_full = |(begin, _): &(Instant, usize)| (now - *begin).as_secs_f64() >= least;
        if let Some((begin, first)) = self.open.take_if(|open| is_full(open)) {
            self.windows.end([begin, now], &mut |_| {});
            self.samples.push(first..taken);
        }
    }

    /// Hands the full windows over; samples outside of them have no power.
    pub fn finish(self, prepared: &mut Prepared) {
        prepared.meter_samples(self.windows, &self.samples);
    }
}
