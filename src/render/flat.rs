//! A measurement as one flat row, the run's own fields repeated in each.

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::fleet;
use crate::kernel::shape::{AttentionShape, GemmShape, Shape};
use crate::measure::conditions::Conditions;
use crate::measure::measurement::{Efficiency, Measurement, Rate, Time};
use crate::measure::power::Power;
use crate::record::{Report, SlurmTask};

/// A column: its name, with the unit as suffix, and its value in a row, which
/// is never an object or an array.
pub(super) type Column = (&'static str, fn(&Report, &Measurement) -> Value);

/// Every column of a row, in order.
pub(super) const COLUMNS: &[Column] = &[
    // The run.
    ("run_id", |r, _| value(r.run_id)),
    ("started", |r, _| value(r.started)),
    ("ended", |r, _| value(r.ended)),
    ("complete", |r, _| value(r.complete)),
    ("synthetic", |r, _| value(r.synthetic)),
    ("file_sha256", |r, _| value(&r.file_sha256)),
    ("flopwatt_version", |r, _| value(&r.flopwatt_version)),
    ("git_commit", |r, _| {
        value(r.git.as_ref().map(|g| &g.commit))
    }),
    ("git_dirty", |r, _| value(r.git.as_ref().map(|g| g.dirty))),
    ("tier", |r, _| value(r.tier)),
    ("seed", |r, _| value(r.seed)),
    ("data", |_, m| value(m.data)),
    ("host", |r, _| value(&r.host.name)),
    ("os", |r, _| value(&r.host.os)),
    ("cpu", |r, _| value(&r.host.cpu)),
    ("container_engine", |r, _| {
        value(r.host.container.as_ref().map(|c| &c.engine))
    }),
    ("container_image", |r, _| {
        value(r.host.container.as_ref().and_then(|c| c.image.as_ref()))
    }),
    ("slurm_cluster", |r, _| slurm(r, |s| value(&s.cluster))),
    ("slurm_job_id", |r, _| slurm(r, |s| value(s.job_id))),
    ("slurm_array_job_id", |r, _| {
        slurm(r, |s| value(s.array_job_id))
    }),
    ("slurm_array_task_id", |r, _| {
        slurm(r, |s| value(s.array_task_id))
    }),
    ("slurm_process_id", |r, _| slurm(r, |s| value(s.process_id))),
    ("slurm_restart_count", |r, _| {
        slurm(r, |s| value(s.restart_count))
    }),
    ("slurm_node", |r, _| slurm(r, |s| value(&s.node))),
    ("accelerator", |r, _| value(fleet::accelerator(r))),
    ("card", |r, _| value(fleet::card(r))),
    ("adapter", |r, _| value(&r.adapter.name)),
    ("device_type", |r, _| value(r.adapter.device_type)),
    ("backend", |r, _| value(r.adapter.backend)),
    ("driver", |r, _| value(&r.adapter.driver)),
    ("driver_info", |r, _| value(&r.adapter.driver_info)),
    ("pci_address", |r, _| value(&r.adapter.pci_address)),
    ("uuid", |r, _| value(&r.adapter.uuid)),
    ("vendor_id", |r, _| value(r.adapter.vendor_id)),
    ("device_id", |r, _| value(r.adapter.device_id)),
    ("datasheet", |r, _| {
        value(r.datasheet.as_ref().map(|d| &d.id))
    }),
    // The case.
    ("id", |_, m| value(&m.id)),
    ("operation", |_, m| value(m.operation)),
    ("precision", |_, m| value(m.precision)),
    ("variant", |_, m| value(&m.variant)),
    ("shape", |_, m| value(m.shape.to_string())),
    ("batch", |_, m| value(batch(&m.shape))),
    ("m", |_, m| gemm(m, |g| value(g.m))),
    ("n", |_, m| gemm(m, |g| value(g.n))),
    ("k", |_, m| gemm(m, |g| value(g.k))),
    ("layout", |_, m| gemm(m, |g| value(g.layout))),
    ("heads", |_, m| attention(m, |a| value(a.heads))),
    ("kv_heads", |_, m| attention(m, |a| value(a.kv_heads))),
    ("q_len", |_, m| attention(m, |a| value(a.q_len))),
    ("kv_len", |_, m| attention(m, |a| value(a.kv_len))),
    ("head_dim", |_, m| attention(m, |a| value(a.head_dim))),
    ("causal", |_, m| attention(m, |a| value(a.causal))),
    ("working_set_bytes", |_, m| value(working_set(&m.shape))),
    ("work", |_, m| value(m.work)),
    ("work_unit", |_, m| value(m.work_unit)),
    ("bytes", |_, m| value(m.bytes)),
    ("power_limit_w", |_, m| value(m.power_limit_w)),
    ("timed_begin", |_, m| {
        value(m.timed.first().map(|period| period.begin))
    }),
    ("timed_end", |_, m| {
        value(m.timed.last().map(|period| period.end))
    }),
    ("concurrent_adapters", |_, m| value(m.concurrent_with.len())),
    // How it ended.
    ("status", |_, m| value(m.status)),
    ("reason_code", |_, m| value(reason(m).map(|(code, _)| code))),
    ("reason", |_, m| {
        value(reason(m).map(|(_, message)| message))
    }),
    ("verified", |_, m| value(m.verification.checked)),
    ("max_scaled_error", |_, m| {
        value(m.verification.max_scaled_error)
    }),
    ("tolerance", |_, m| value(m.verification.tolerance)),
    // Its figures.
    ("clock", |_, m| time(m, |t| value(t.clock))),
    ("cache", |_, m| time(m, |t| value(t.cache))),
    ("median_s", |_, m| time(m, |t| value(t.median_s))),
    ("interval_low_s", |_, m| {
        time(m, |t| value(t.interval_s.map(|interval| interval.low)))
    }),
    ("interval_high_s", |_, m| {
        time(m, |t| value(t.interval_s.map(|interval| interval.high)))
    }),
    ("interval_kind", |_, m| {
        time(m, |t| value(t.interval_s.map(|interval| interval.kind)))
    }),
    ("lives", |_, m| time(m, |t| value(t.lives.len()))),
    ("p5_s", |_, m| time(m, |t| value(t.p5_s))),
    ("p95_s", |_, m| time(m, |t| value(t.p95_s))),
    ("samples", |_, m| time(m, |t| value(t.samples_s.len()))),
    ("dispatches_per_sample", |_, m| {
        time(m, |t| value(t.dispatches_per_sample))
    }),
    ("gflops_median", |_, m| rate(m, |r| value(r.median))),
    ("gflops_low", |_, m| {
        rate(m, |r| value(r.interval.map(|interval| interval.low)))
    }),
    ("gflops_high", |_, m| {
        rate(m, |r| value(r.interval.map(|interval| interval.high)))
    }),
    ("gbytes_per_s", |_, m| value(m.gbytes_per_s)),
    ("ceiling_id", |_, m| value(&m.ceiling_id)),
    ("percent_of_ceiling", |_, m| value(m.percent_of_ceiling)),
    ("percent_of_datasheet", |_, m| value(m.percent_of_datasheet)),
    ("gflops_per_watt_gross", |_, m| {
        efficiency(m, |e| value(e.gross))
    }),
    ("gflops_per_watt_net", |_, m| {
        efficiency(m, |e| value(e.net))
    }),
    ("power_source", |_, m| power(m, |p| value(&p.source))),
    ("power_covers", |_, m| power(m, |p| value(p.covers))),
    ("power_median_w", |_, m| power(m, |p| value(p.median_w))),
    ("power_ci95_low_w", |_, m| {
        power(m, |p| value(expanded(p, -1.0)))
    }),
    ("power_ci95_high_w", |_, m| {
        power(m, |p| value(expanded(p, 1.0)))
    }),
    ("power_repeatability_w", |_, m| {
        power(m, |p| value(p.uncertainty.and_then(|u| u.repeatability_w)))
    }),
    ("power_idle_w", |_, m| power(m, |p| value(p.energy.idle_w))),
    ("j_per_dispatch", |_, m| {
        power(m, |p| value(p.j_per_dispatch))
    }),
    ("net_j_per_dispatch", |_, m| {
        power(m, |p| value(p.net_j_per_dispatch))
    }),
    ("j_per_tflop", |_, m| power(m, |p| value(p.j_per_tflop))),
    ("energy_delay_js", |_, m| {
        power(m, |p| value(p.energy_delay_js))
    }),
    ("percent_of_datasheet_efficiency", |_, m| {
        power(m, |p| value(p.percent_of_datasheet_efficiency))
    }),
    ("percent_of_limit_efficiency", |_, m| {
        power(m, |p| value(p.percent_of_limit_efficiency))
    }),
    ("sm_clock_mhz", |_, m| value(m.sm_clock_mhz())),
    ("sm_clock_min_mhz", |_, m| {
        conditions(m, |c| value(c.sm_clock_mhz.map(|clock| clock.min)))
    }),
    ("sm_clock_max_mhz", |_, m| {
        conditions(m, |c| value(c.sm_clock_mhz.map(|clock| clock.max)))
    }),
    ("temperature_c", |_, m| {
        conditions(m, |c| value(c.temperature_c))
    }),
    ("enforced_limit_w", |_, m| {
        conditions(m, |c| value(c.enforced_limit_w))
    }),
    ("power_reason", |_, m| {
        value(m.power_reason.as_ref().map(ToString::to_string))
    }),
    // How it was measured.
    ("shader_mode", |_, m| value(m.shader_mode)),
    ("shaders_hash", |r, _| value(&r.shaders.hash)),
    ("parameters", |_, m| value(value(&m.parameters).to_string())),
    ("flags", |_, m| {
        value(super::cells::flags(m).replace(' ', ""))
    }),
    ("doubtful", |r, m| value(fleet::is_doubtful(r, m))),
    ("doubtful_power", |_, m| value(fleet::is_power_doubtful(m))),
];

/// One measurement of a report, as an object with a key for every column.
pub(super) struct Row<'r>(pub &'r Report, pub &'r Measurement);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(report, measurement) = self;
        let values = COLUMNS
            .iter()
            .map(|(name, value)| (name, value(report, measurement)));
        serializer.collect_map(values)
    }
}

fn slurm(report: &Report, field: fn(&SlurmTask) -> Value) -> Value {
    report.slurm.as_ref().map_or(Value::Null, field)
}

fn power(measurement: &Measurement, field: impl Fn(&Power) -> Value) -> Value {
    measurement.power.as_deref().map_or(Value::Null, field)
}

fn conditions(measurement: &Measurement, field: impl Fn(&Conditions) -> Value) -> Value {
    let conditions = measurement.conditions.as_deref();
    conditions.map_or(Value::Null, field)
}

/// One end of what a power may be.
fn expanded(power: &Power, sign: f64) -> Option<f64> {
    let watts = power.median_w.0;
    Some(watts + sign * power.uncertainty_of(watts)?)
}

fn value(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn batch(shape: &Shape) -> Option<u32> {
    match shape {
        Shape::Gemm(shape) => Some(shape.batch),
        Shape::Attention(shape) => Some(shape.batch),
        _ => None,
    }
}

fn working_set(shape: &Shape) -> Option<u64> {
    match shape {
        Shape::WorkingSet { bytes } => Some(*bytes),
        _ => None,
    }
}

fn gemm(measurement: &Measurement, value: fn(&GemmShape) -> Value) -> Value {
    match &measurement.shape {
        Shape::Gemm(shape) => value(shape),
        _ => Value::Null,
    }
}

fn attention(measurement: &Measurement, value: fn(&AttentionShape) -> Value) -> Value {
    match &measurement.shape {
        Shape::Attention(shape) => value(shape),
        _ => Value::Null,
    }
}

fn time(measurement: &Measurement, value: fn(&Time) -> Value) -> Value {
    measurement.time.as_ref().map_or(Value::Null, value)
}

fn rate(measurement: &Measurement, value: fn(&Rate) -> Value) -> Value {
    measurement.gflops.as_ref().map_or(Value::Null, value)
}

fn efficiency(measurement: &Measurement, value: fn(&Efficiency) -> Value) -> Value {
    measurement
        .gflops_per_watt
        .as_ref()
        .map_or(Value::Null, value)
}

/// Code and message of the reason for which there is no figure.
fn reason(measurement: &Measurement) -> Option<(String, &str)> {
    let reason = measurement.reason.as_ref()?;
    let text = reason.to_string();
    let code = text.split_once(':').map_or("", |(code, _)| code);
    Some((code.to_owned(), &reason.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_names_are_unique() {
        let names: std::collections::HashSet<_> = COLUMNS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), COLUMNS.len());
    }

    #[test]
    fn every_column_is_documented() {
        let documentation = include_str!("../../docs/formats.md");
        let (_, columns) = documentation.split_once("\n## Columns\n").unwrap();
        for (name, _) in COLUMNS {
            assert!(columns.contains(&format!("`{name}`")), "{name}");
        }
    }
}
