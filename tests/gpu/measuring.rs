//! Measuring a case: figures that follow from what was measured where the output
//! is right, and none where it is not or the case does not fit.

use flopwatt::gpu::adapter;
use flopwatt::gpu::device::GpuError;
use flopwatt::kernel::id::CaseId;
use flopwatt::kernel::problem::Checked;
use flopwatt::kernel::shape::{GemmShape, Layout, Shape};
use flopwatt::kernel::template::Templates;
use flopwatt::kernel::{CATALOGUE, Kernel};
use flopwatt::measure::Bench;
use flopwatt::measure::measurement::{
    Clock, Flag, Measurement, Reason, ReasonCode, Status, Verification,
};
use flopwatt::measure::tier::Tier;
use flopwatt::stats;
use flopwatt::units::Gflops;
use libtest_mimic::Trial;

use crate::cases::edge_shapes;
use crate::stage::{Stage, case, problem_of, stage};
use crate::trials::{alone, anywhere, needing};

pub fn trials() -> Vec<Trial> {
    let noop = CATALOGUE.iter().map(|kernel| {
        let Kernel {
            operation,
            precision,
            variant,
            ..
        } = kernel;
        let name = format!("{operation}/{precision}/{variant}_has_no_figure_on_a_noop_adapter");
        anywhere(&name, || a_noop_adapter_yields_no_figure(kernel))
    });
    let others = [
        alone(
            "figures_follow_from_the_samples",
            stage,
            figures_follow_from_the_samples,
        ),
        alone(
            "dispatches_that_did_not_run_are_noticed_after_timing",
            stage,
            dispatches_that_did_not_run_are_noticed_after_timing,
        ),
        needing(
            "a_refused_shader_is_an_error_and_the_device_goes_on",
            stage,
            a_refused_shader_is_an_error_and_the_device_goes_on,
        ),
        needing(
            "a_shape_beyond_the_adapter_is_skipped",
            stage,
            a_shape_beyond_the_adapter_is_skipped,
        ),
    ];
    noop.chain(others).collect()
}

/// The record of `id`, however it ends.
fn measure(stage: &Stage, id: &CaseId) -> Measurement {
    let problem = problem_of(id);
    Bench::new(&stage.gpu, stage.capabilities.clone(), Templates::builtin())
        .and_then(|bench| {
            let mut prepared = bench.prepare(id, None, &*problem, Tier::Quick, &mut |_| {})?;
            prepared.converge(&mut |_| {})?;
            prepared.finish()
        })
        .unwrap_or_else(|stopped| stopped.measurement(id))
}

/// 64×60×50 multiply-adds are 384 000 operations; A, B and C are
/// 4·(64·50 + 50·60 + 64·60) = 40 160 bytes.
fn figures_follow_from_the_samples(stage: &'static Stage) {
    let m = measure(stage, &case("matmul/f32/naive/64x60x50"));
    assert_eq!((m.status, m.reason), (Status::Ok, None));
    assert_eq!((m.work, m.bytes), (Some(384_000), Some(40_160)));

    assert_eq!(m.verification.checked, Checked::Full);
    assert!(m.verification.max_scaled_error <= m.verification.tolerance);
    assert!(
        m.verification.max_scaled_error > Some(0.0),
        "float32 rounds"
    );

    let time = m.time.expect("a time");
    let samples: Vec<f64> = time.samples_s.iter().map(|s| s.0).collect();
    assert!(!samples.is_empty());
    assert!(samples.iter().all(|&s| s > 0.0), "{samples:?}");
    assert_eq!(Some(time.median_s.0), stats::median(&samples));
    let [shortest, longest] = time.interval_s.expect("six samples or more").ends();
    assert!(shortest <= time.median_s && time.median_s <= longest);
    let host = m.flags.contains(&Flag::HostTimed) || m.flags.contains(&Flag::TimestampsRejected);
    assert_eq!(time.clock == Clock::Host, host, "{:?}", m.flags);
    if stage.description.is_software() && stage.description.features.timestamps {
        assert_eq!(time.clock, Clock::Device);
    }

    let rate = |seconds: f64| Gflops(384_000.0 / seconds / 1e9);
    let gflops = m.gflops.expect("a rate");
    assert_eq!(gflops.median, rate(time.median_s.0));
    let ends = gflops.interval.expect("six samples or more").ends();
    assert_eq!(ends, [rate(longest.0), rate(shortest.0)]);
    assert_eq!(m.gbytes_per_s, Some(40_160.0 / time.median_s.0 / 1e9));
}

/// The output is poisoned once more between warming up and timing. A case that
/// ends there without a dispatch holds poison, not the verified output.
fn dispatches_that_did_not_run_are_noticed_after_timing(stage: &'static Stage) {
    let id = case("matmul/f32/naive/64x60x50");
    let problem = problem_of(&id);
    let bench = Bench::new(&stage.gpu, stage.capabilities.clone(), Templates::builtin())
        .expect("the device works");
    let prepare = || bench.prepare(&id, None, &*problem, Tier::Quick, &mut |_| {});

    let untimed = prepare().expect("the case is right");
    let stopped = untimed.finish().expect_err("nothing was dispatched");
    let m = stopped.measurement(&id);
    assert_eq!(m.status, Status::Rejected);
    assert_eq!(code(&m), Some(ReasonCode::Unstable));
    assert_no_figure(&m);

    let mut timed = prepare().expect("the case is right");
    timed.sample().expect("a sample");
    let m = timed.finish().expect("one sample is a figure");
    assert_eq!(m.time.expect("a time").samples_s.len(), 1);
}

/// wgpu would panic over the validation error; here it is an error of the load,
/// and the next case is measured as if nothing had been.
fn a_refused_shader_is_an_error_and_the_device_goes_on(stage: &'static Stage) {
    let id = case("matmul/f32/naive/64x60x50");
    let kernel = Kernel::find(&id).expect("a kernel");
    let candidates = stage.programs(kernel, id.shape);
    let mut program = candidates.expect("it fits").remove(0);
    program.passes[0].wgsl = "@compute @workgroup_size(1) fn main() { nonsense }".into();
    let refused = stage.gpu.load(&program, problem_of(&id).inputs()).err();
    assert!(
        matches!(&refused, Some(GpuError::Validation(text)) if text.contains("nonsense") && !text.contains('\n')),
        "{refused:?}"
    );
    assert_eq!(measure(stage, &id).status, Status::Ok);
}

/// K = 1 and M = N just large enough for the output to exceed what can be bound:
/// inputs stay small.
fn a_shape_beyond_the_adapter_is_skipped(stage: &'static Stage) {
    let limits = &stage.description.limits;
    let allowed = limits.max_storage_binding.min(limits.max_buffer_size).0;
    let side = (allowed / 4).isqrt() + 1;
    let size = u32::try_from(side).expect("an adapter with limits");
    let id = CaseId {
        shape: Shape::Gemm(GemmShape {
            batch: 1,
            m: size,
            n: size,
            k: 1,
            layout: Layout::Nn,
        }),
        ..case("matmul/f32/naive/1x1x1")
    };
    let m = measure(stage, &id);
    assert_eq!(m.status, Status::Skipped);
    let needed = (4 * side * side).div_ceil(1 << 20);
    let message = format!("needs {needed} MiB, adapter allows {} MiB", allowed >> 20);
    assert_eq!(m.reason, Some(Reason::new(ReasonCode::TooLarge, message)));
    assert_eq!(m.verification, Verification::NONE);
    assert_no_figure(&m);
}

/// wgpu's no-op backend accepts everything and executes nothing but copies, as
/// a driver does whose kernel side is missing.
fn noop() -> &'static Stage {
    thread_local! {
        static NOOP: &'static Stage = Box::leak(Box::new(open()));
    }
    fn open() -> Stage {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::NOOP;
        descriptor.backend_options.noop.enable = true;
        // Without limits wgpu itself fails: it keeps bind groups in fixed arrays.
        descriptor.backend_options.noop.limits = Some(wgpu::Limits::default());
        let instance = wgpu::Instance::new(descriptor);
        let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::NOOP));
        Stage::open(&adapter::describe(found)[0])
    }
    NOOP.with(|noop| *noop)
}

fn a_noop_adapter_yields_no_figure(kernel: &Kernel) {
    let id = kernel.case(edge_shapes(kernel)[0]);
    let m = measure(noop(), &id);
    assert_eq!(m.status, Status::Rejected, "{id}: {:?}", m.reason);
    assert_eq!(code(&m), Some(ReasonCode::NotComputed), "{id}");
    let reason = m.reason.as_ref().expect("a reason").to_string();
    assert!(reason.contains("output not computed"), "{reason}");
    assert_eq!(m.verification.max_scaled_error, None);
    assert_no_figure(&m);
}

fn code(m: &Measurement) -> Option<ReasonCode> {
    m.reason.as_ref().map(|reason| reason.code)
}

#[track_caller]
fn assert_no_figure(m: &Measurement) {
    assert_eq!(m.time, None);
    assert_eq!(m.gflops, None);
    assert_eq!(m.gbytes_per_s, None);
    assert_eq!(m.percent_of_ceiling, None);
    assert_eq!(m.percent_of_datasheet, None);
    assert_eq!(m.gflops_per_watt, None);
}
