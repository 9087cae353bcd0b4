//! Criterion's unit of measurement: seconds on the device, and rates of the work
//! that one dispatch does.

use std::cell::Cell;
use std::rc::Rc;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};

/// Seconds per dispatch, as `iter_custom` hands them over.
#[derive(Clone, Default)]
pub struct DeviceTime {
    formatter: Formatter,
}

/// Prints times and rates. What a dispatch does is known only once its kernel
/// has been chosen, after criterion has asked for a throughput; so it is looked
/// up here when the rate is printed.
#[derive(Clone, Default)]
struct Formatter {
    amount: Rc<Cell<f64>>,
}

impl DeviceTime {
    /// Sets what one dispatch of the case does: operations or bytes.
    pub fn set_amount(&self, amount: f64) {
        self.formatter.amount.set(amount);
    }
}

impl Measurement for DeviceTime {
    type Intermediate = ();
    type Value = f64;

    fn start(&self) {}

    fn end(&self, (): ()) -> f64 {
        0.0
    }

    fn add(&self, a: &f64, b: &f64) -> f64 {
        a + b
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, seconds: &f64) -> f64 {
        *seconds
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &self.formatter
    }
}

impl ValueFormatter for Formatter {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        let (factor, unit) = match typical {
            s if s < 1e-6 => (1e9, "ns"),
            s if s < 1e-3 => (1e6, "µs"),
            s if s < 1.0 => (1e3, "ms"),
            _ => (1.0, "s"),
        };
        for value in values {
            *value *= factor;
        }
        unit
    }

    fn scale_throughputs(
        &self,
        _: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        for value in values {
            *value = self.amount.get() / *value / 1e9;
        }
        match throughput {
            Throughput::Bytes(_) => "GB/s",
            _ => "GFLOP/s",
        }
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "s"
    }
}
