//! Memory ceilings: traffic between memory and the cores.
//!
//! The shape of a stream is its working set, all arrays together, and traffic is
//! every byte of each array read or written once; what a cache reads in order to
//! be written to (write-allocate) is not counted. The shape of workgroup memory
//! is the tile of one workgroup.

pub mod read;
pub mod stream;
pub mod workgroup;

use super::capabilities::Unfit;
use super::shape::Shape;
use super::{Build, BuildError};
use crate::units::Bytes;

/// Invocations of a workgroup.
const LANES: u32 = 256;

/// Working sets of streams over `arrays`: in a core's cache, in a GPU's, and
/// beyond. 128 MiB an array are the largest that every adapter binds, and more
/// than twice the last-level cache of most CPUs; GPUs bind more.
pub fn shapes(arrays: u64, software: bool) -> Vec<Shape> {
    let beyond = arrays * (128 << 20);
    let beyond = if software {
        beyond
    } else {
        beyond.max(256 << 20)
    };
    [1 << 20, 16 << 20, beyond]
        .map(|bytes| Shape::WorkingSet { bytes })
        .into()
}

/// Tiles of workgroup memory: what every adapter has, and half of it.
pub fn tiles(_software: bool) -> Vec<Shape> {
    [8 << 10, 16 << 10]
        .map(|bytes| Shape::WorkingSet { bytes })
        .into()
}

/// Bytes of each of `arrays` in a working set: whole vectors of 16 bytes.
fn array_bytes(working_set: u64, arrays: u64) -> u64 {
    working_set / arrays / 16 * 16
}

fn working_set(build: &Build) -> Result<u64, Unfit> {
    match build.shape {
        Shape::WorkingSet { bytes } => Ok(bytes),
        _ => Err(Unfit::Shape("a working set".into())),
    }
}

/// Vectors of `width` float32 numbers in an array.
fn vectors(build: &Build, array: u64, width: u32) -> Result<u32, BuildError> {
    u32::try_from(array / 4 / u64::from(width)).map_err(|_| {
        let allowed = build.capabilities.max_storage_binding;
        let needed = Bytes(array);
        Unfit::Memory { needed, allowed }.into()
    })
}

/// A vector of `width` float32 numbers in WGSL.
fn wgsl_type(width: u32) -> String {
    match width {
        1 => "f32".into(),
        _ => format!("vec{width}<f32>"),
    }
}

/// The float32 numbers of a buffer's contents.
fn floats(bytes: &[u8]) -> impl Iterator<Item = f64> + '_ {
    let words = bytes.as_chunks::<4>().0.iter();
    words.map(|&word| f64::from(f32::from_le_bytes(word)))
}
