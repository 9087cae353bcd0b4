//! A library with NVML's C interface and two made-up GPUs, built by the tests.
//!
//! `--cfg` takes parts away or makes them misbehave.

#![allow(non_snake_case)]

use std::ffi::{c_char, c_uint, c_ulonglong, c_void};

const SUCCESS: c_uint = 0;
const INVALID_ARGUMENT: c_uint = 2;
const NOT_SUPPORTED: c_uint = 3;

#[repr(C)]
pub struct PciInfo {
    bus_id_legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    pci_device_id: c_uint,
    pci_sub_system_id: c_uint,
    bus_id: [c_char; 32],
}

#[repr(C)]
pub struct Memory {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// Writes `text` and its end into the `len` bytes at `to`.
unsafe fn put(text: &str, to: *mut c_char, len: usize) -> c_uint {
    assert!(text.len() < len);
    for (i, byte) in text.bytes().chain([0]).enumerate() {
        unsafe { *to.add(i) = byte as c_char };
    }
    SUCCESS
}

#[cfg(not(no_init))]
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> c_uint {
    if cfg!(driver_not_loaded) {
        9
    } else if cfg!(version_mismatch) {
        18
    } else {
        SUCCESS
    }
}

#[cfg(not(no_shutdown))]
#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> c_uint {
    SUCCESS
}

#[cfg(not(bare))]
mod gpus {
    use super::*;

    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> c_uint {
        unsafe { *count = if cfg!(countless) { c_uint::MAX } else { 2 } };
        SUCCESS
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(
        index: c_uint,
        device: *mut *mut c_void,
    ) -> c_uint {
        if index >= 2 {
            return INVALID_ARGUMENT;
        }
        unsafe { *device = (index as usize + 1) as *mut c_void };
        SUCCESS
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn nvmlDeviceGetName(
        _device: *mut c_void,
        name: *mut c_char,
        len: c_uint,
    ) -> c_uint {
        unsafe { put("NVIDIA Stand-in 9000", name, len as usize) }
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn nvmlDeviceGetUUID(
        device: *mut c_void,
        uuid: *mut c_char,
        len: c_uint,
    ) -> c_uint {
        unsafe { put(&format!("GPU-{}", device as usize), uuid, len as usize) }
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(
        device: *mut c_void,
        info: *mut PciInfo,
    ) -> c_uint {
        let bus = 9 + device as c_uint;
        unsafe {
            (*info).bus = bus;
            (*info).pci_device_id = 0x2684_10de;
            let text = format!("00000000:{bus:02X}:00.0");
            put(&text, (&raw mut (*info).bus_id).cast(), 32)
        }
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(
        _device: *mut c_void,
        memory: *mut Memory,
    ) -> c_uint {
        unsafe { (*memory).total = 24 << 30 };
        SUCCESS
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn nvmlDeviceGetTotalEnergyConsumption(
        device: *mut c_void,
        energy: *mut c_ulonglong,
    ) -> c_uint {
        if device as usize == 2 {
            return NOT_SUPPORTED;
        }
        unsafe { *energy = 123_456 };
        SUCCESS
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn nvmlDeviceGetPowerUsage(
        device: *mut c_void,
        power: *mut c_uint,
    ) -> c_uint {
        if device as usize == 2 {
            return NOT_SUPPORTED;
        }
        unsafe { *power = 41_000 };
        SUCCESS
    }
}
