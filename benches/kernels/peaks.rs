//! Ceilings: arithmetic, memory, dispatch.

use criterion::Criterion;
use flopwatt::kernel::id::Operation;

use crate::device_time::DeviceTime;
use crate::harness::Harness;

/// Benches the ceilings, which the other modules' percentages refer to.
pub fn bench(criterion: &mut Criterion<DeviceTime>, harness: &mut Harness, time: &DeviceTime) {
    for operation in [Operation::Peak, Operation::Bandwidth, Operation::Latency] {
        harness.bench(criterion, operation, time);
    }
}
