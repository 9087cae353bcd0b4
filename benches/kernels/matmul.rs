//! Matrix products.

use criterion::Criterion;
use flopwatt::kernel::id::Operation;

use crate::device_time::DeviceTime;
use crate::harness::Harness;

/// Benches the headline cases of this operation.
pub fn bench(criterion: &mut Criterion<DeviceTime>, harness: &mut Harness, time: &DeviceTime) {
    harness.bench(criterion, Operation::Matmul, time);
}
