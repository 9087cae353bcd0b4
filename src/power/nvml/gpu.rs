//! A GPU of a loaded library, and fields of it.

use std::{fmt, mem};

use nvml_wrapper::Device;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlFieldValue_t,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT as UNSIGNED_INT,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG as UNSIGNED_LONG,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG as UNSIGNED_LONG_LONG,
};

use super::Library;

/// A GPU whose handle is kept: asking for it takes a call as long as a reading.
pub(super) struct Gpu {
    library: Library,
    handle: nvmlDevice_t,
}

// SAFETY: the handle is a name of the library's, which may be called from any thread
// (NVML's reference, "Thread safety"); it points to nothing that is read here.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu").finish_non_exhaustive()
    }
}

impl Gpu {
    /// The GPU with NVML's number `index`.
    pub(super) fn new(library: Library, index: u32) -> Result<Self, NvmlError> {
        let device = library.nvml().device_by_index(index)?;
        // SAFETY: it is used for the library that it comes from only.
        let handle = unsafe { device.handle() };
        Ok(Self { library, handle })
    }

    pub(super) fn library(&self) -> &Library {
        &self.library
    }

    pub(super) fn device(&self) -> Device<'_> {
        // SAFETY: the handle is this library's, which is still loaded.
        unsafe { Device::new(self.handle, self.library.nvml()) }
    }
}

/// nvmlPowerScopeType_t in nvml.h.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scope {
    Gpu = 0,
    Module = 1,
}

/// A field of nvmlDeviceGetFieldValues. Fields up to 250 have the same numbers in every
/// version of NVML.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) id: u32,
    pub(super) scope: Scope,
}

/// Unsigned fields of the device, all in one call. The wrapper reads fields in the scope
/// of the GPU only.
pub(super) fn field_values<const N: usize>(
    device: &Device<'_>,
    wanted: [Field; N],
) -> [Result<u64, NvmlError>; N] {
    let mut fields = wanted.map(|field| {
        // SAFETY: the structure is plain numbers, for which zeros are values.
        let mut value: nvmlFieldValue_t = unsafe { mem::zeroed() };
        value.fieldId = field.id;
        value.scopeId = field.scope as u32;
        value
    });
    let library = device.nvml().lib();
    let read = nvml_sym(library.nvmlDeviceGetFieldValues.as_ref()).map(|function| {
        // SAFETY: the handle lives as long as the library, and there are N fields.
        unsafe { function(device.handle(), N as i32, fields.as_mut_ptr()) }
    });
    fields.map(|field| {
        nvml_try(*read.as_ref().map_err(same)?)?;
        value(&field)
    })
}

/// The wrapper's errors cannot be copied; the one that the whole call fails with is that
/// of every field.
fn same(error: &NvmlError) -> NvmlError {
    match error {
        NvmlError::FailedToLoadSymbol(symbol) => NvmlError::FailedToLoadSymbol(symbol.clone()),
        _ => NvmlError::Unknown,
    }
}

fn value(field: &nvmlFieldValue_t) -> Result<u64, NvmlError> {
    nvml_try(field.nvmlReturn)?;
    // SAFETY: the type says which part of the union was written.
    unsafe {
        match field.valueType {
            UNSIGNED_INT => Ok(field.value.uiVal.into()),
            // 32 bits long on Windows.
            #[allow(clippy::useless_conversion)]
            UNSIGNED_LONG => Ok(field.value.ulVal.into()),
            UNSIGNED_LONG_LONG => Ok(field.value.ullVal),
            other => Err(NvmlError::UnexpectedVariant(other)),
        }
    }
}
