//! The C functions. A handle is the device's position plus one.

#![allow(non_snake_case)]
// Each function has the contract of its namesake in NVML's reference.
#![allow(clippy::missing_safety_doc, missing_docs)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::*;

use crate::script::{Code, Device, STAGE};

const SUCCESS: Code = nvmlReturn_enum_NVML_SUCCESS;
const INVALID_ARGUMENT: Code = nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
const NOT_SUPPORTED: Code = nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
const NOT_FOUND: Code = nvmlReturn_enum_NVML_ERROR_NOT_FOUND;

const MODULE_SCOPE: c_uint = NVML_POWER_SCOPE_MODULE;

/// What the device of `handle` answers to `function`: `value`, or the error that
/// the script has for it.
fn answer<T>(
    handle: nvmlDevice_t,
    function: &str,
    value: impl FnOnce(&Device, f64) -> Result<T, Code>,
) -> Result<T, Code> {
    let now = STAGE.now();
    let device = STAGE.script.devices.get(position(handle));
    let device = device.ok_or(INVALID_ARGUMENT)?;
    match device.fault(function, now) {
        Some(code) => Err(code),
        None => value(device, now),
    }
}

fn position(handle: nvmlDevice_t) -> usize {
    (handle as usize).wrapping_sub(1)
}

/// Writes what was answered.
///
/// # Safety
/// `to` can be written.
unsafe fn give<T>(answer: Result<T, Code>, to: *mut T) -> Code {
    match answer {
        Ok(value) => {
            // SAFETY: the caller's promise.
            unsafe { to.write(value) };
            SUCCESS
        }
        Err(code) => code,
    }
}

/// Writes `text` and its end.
///
/// # Safety
/// `to` has room for `length` characters.
unsafe fn give_text(answer: Result<&str, Code>, to: *mut c_char, length: c_uint) -> Code {
    let text = match answer {
        Ok(text) => text,
        Err(code) => return code,
    };
    if text.len() >= length as usize {
        return nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
    }
    for (i, byte) in text.bytes().chain([0]).enumerate() {
        // SAFETY: the caller's promise, and the text with its end fits.
        unsafe { to.add(i).write(byte as c_char) };
    }
    SUCCESS
}

/// Functions that take a device and write one value.
macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident($out:ty) = $value:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(device: nvmlDevice_t, to: *mut $out) -> Code {
            // SAFETY: NVML's contract is that `to` can be written.
            unsafe { give(answer(device, stringify!($name), $value), to) }
        }
    )*};
}

/// Functions that take a device and a selector, and write one value.
macro_rules! selecting_getters {
    ($($name:ident($out:ty) = $value:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(device: nvmlDevice_t, which: c_uint, to: *mut $out) -> Code {
            let value = |device: &Device, _: f64| $value(device, which);
            // SAFETY: NVML's contract is that `to` can be written.
            unsafe { give(answer(device, stringify!($name), value), to) }
        }
    )*};
}

/// Functions that take a device and write two values.
macro_rules! pair_getters {
    ($($name:ident($out:ty) = $value:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(device: nvmlDevice_t, a: *mut $out, b: *mut $out) -> Code {
            match answer(device, stringify!($name), $value) {
                Ok((first, second)) => {
                    // SAFETY: NVML's contract is that both can be written.
                    unsafe {
                        a.write(first);
                        b.write(second);
                    }
                    SUCCESS
                }
                Err(code) => code,
            }
        }
    )*};
}

fn milli(watts: f64) -> c_uint {
    (watts * 1e3).round() as c_uint
}

/// The limit that was set, or that the device came with.
fn limit(device: nvmlDevice_t, scripted: &Device) -> c_uint {
    let set = STAGE.limit(position(device));
    set.unwrap_or(milli(scripted.limit_watts))
}

getters! {
    nvmlDeviceGetArchitecture(c_uint) = |d, _| Ok(d.architecture);
    nvmlDeviceGetNumGpuCores(c_uint) = |_, _| Ok(1024);
    nvmlDeviceGetPowerUsage(c_uint) = |d, t| d.milliwatts(true, t).ok_or(NOT_SUPPORTED);
    nvmlDeviceGetTotalEnergyConsumption(c_ulonglong) =
        |d, t| d.millijoules(t).ok_or(NOT_SUPPORTED);
    nvmlDeviceGetPowerManagementDefaultLimit(c_uint) = |d, _| Ok(milli(d.limit_watts));
    nvmlDeviceGetPerformanceState(nvmlPstates_t) = |_, _| Ok(0);
    nvmlDeviceGetCurrentClocksThrottleReasons(c_ulonglong) = |d, t| Ok(d.reasons(t));
    nvmlDeviceGetSupportedClocksThrottleReasons(c_ulonglong) = |_, _| Ok(0x1ff);
    nvmlDeviceGetPersistenceMode(nvmlEnableState_t) = |_, _| Ok(1);
    nvmlDeviceGetVirtualizationMode(nvmlGpuVirtualizationMode_t) =
        |d, _| Ok(d.virtualization_mode);
    nvmlDeviceGetUtilizationRates(nvmlUtilization_t) =
        |d, _| Ok(nvmlUtilization_t { gpu: d.utilization_percent, memory: 50 });
    nvmlDeviceGetMemoryInfo_v2(nvmlMemory_v2_t) = |d, _| Ok(nvmlMemory_v2_t {
        version: 2,
        total: d.memory_bytes,
        reserved: 0,
        free: d.memory_bytes,
        used: 0,
    });
    nvmlDeviceGetPciInfo_v3(nvmlPciInfo_t) = |d, _| Ok(pci_info(d));
}

selecting_getters! {
    nvmlDeviceGetClockInfo(c_uint) = |_: &Device, _| Ok(1500);
    nvmlDeviceGetMaxClockInfo(c_uint) = |_: &Device, _| Ok(2000);
    nvmlDeviceGetTemperature(c_uint) = |_: &Device, _| Ok(60);
}

pair_getters! {
    nvmlDeviceGetEccMode(nvmlEnableState_t) = |_, _| Ok((0, 0));
    nvmlDeviceGetMigMode(c_uint) = |d, _| Ok((u32::from(d.mig), u32::from(d.mig)));
    nvmlDeviceGetPowerManagementLimitConstraints(c_uint) =
        |d, _| Ok((milli(d.limit_watts / 3.0), milli(d.limit_watts)));
}

fn pci_info(device: &Device) -> nvmlPciInfo_t {
    let mut bus_id = [0; 32];
    for (to, byte) in bus_id.iter_mut().take(31).zip(device.bus_id.bytes()) {
        *to = byte as c_char;
    }
    nvmlPciInfo_t {
        busIdLegacy: [0; 16],
        domain: 0,
        bus: 0,
        device: 0,
        pciDeviceId: device.pci_device_id,
        pciSubSystemId: 0,
        busId: bus_id,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> Code {
    STAGE.script.init
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> Code {
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(to: *mut c_char, length: c_uint) -> Code {
    // SAFETY: NVML's contract is that `to` has room for `length` characters.
    unsafe { give_text(Ok("575.0"), to, length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(to: *mut c_uint) -> Code {
    let script = &STAGE.script;
    let count = script.count.unwrap_or(script.devices.len() as c_uint);
    // SAFETY: NVML's contract is that `to` can be written.
    unsafe { give(Ok(count), to) }
}

/// The handle of the first device for which `wanted` holds.
fn handle(wanted: impl Fn(usize, &Device) -> bool, otherwise: Code) -> Result<nvmlDevice_t, Code> {
    let devices = &STAGE.script.devices;
    let found = (0..devices.len()).find(|&i| wanted(i, &devices[i]));
    let handle = found.ok_or(otherwise)? + 1;
    answer(handle as nvmlDevice_t, "nvmlDeviceGetHandle", |_, _| Ok(()))?;
    Ok(handle as nvmlDevice_t)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(
    index: c_uint,
    to: *mut nvmlDevice_t,
) -> Code {
    let found = handle(|i, _| i == index as usize, INVALID_ARGUMENT);
    // SAFETY: NVML's contract is that `to` can be written.
    unsafe { give(found, to) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByPciBusId_v2(
    bus_id: *const c_char,
    to: *mut nvmlDevice_t,
) -> Code {
    // SAFETY: NVML's contract is that the id is a C string and `to` can be
    // written.
    unsafe {
        let wanted = CStr::from_ptr(bus_id).to_bytes();
        let is_it = |_, d: &Device| d.bus_id.as_bytes().eq_ignore_ascii_case(wanted);
        give(handle(is_it, NOT_FOUND), to)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByUUID(
    uuid: *const c_char,
    to: *mut nvmlDevice_t,
) -> Code {
    // SAFETY: NVML's contract is that the id is a C string and `to` can be
    // written.
    unsafe {
        let wanted = CStr::from_ptr(uuid).to_bytes();
        let is_it = |_, d: &Device| d.uuid.as_bytes() == wanted;
        give(handle(is_it, NOT_FOUND), to)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(
    device: nvmlDevice_t,
    to: *mut c_char,
    length: c_uint,
) -> Code {
    let name = answer(device, "nvmlDeviceGetName", |d, _| Ok(d.name.clone()));
    // SAFETY: NVML's contract is that `to` has room for `length` characters.
    unsafe { give_text(name.as_deref().map_err(|&code| code), to, length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(
    device: nvmlDevice_t,
    to: *mut c_char,
    length: c_uint,
) -> Code {
    let uuid = answer(device, "nvmlDeviceGetUUID", |d, _| Ok(d.uuid.clone()));
    // SAFETY: NVML's contract is that `to` has room for `length` characters.
    unsafe { give_text(uuid.as_deref().map_err(|&code| code), to, length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetFieldValues(
    device: nvmlDevice_t,
    count: c_int,
    values: *mut nvmlFieldValue_t,
) -> Code {
    if let Err(code) = answer(device, "nvmlDeviceGetFieldValues", |_, _| Ok(())) {
        return code;
    }
    for i in 0..count.max(0) as usize {
        // SAFETY: NVML's contract is that there are `count` values.
        let field = unsafe { &mut *values.add(i) };
        field.nvmlReturn = match field_value(device, field.fieldId, field.scopeId) {
            Ok(value) => {
                give_field(value, field);
                SUCCESS
            }
            Err(code) => code,
        }
    }
    SUCCESS
}

/// The value of a field, in the type that it has.
enum FieldValue {
    Short(c_uint),
    Long(c_ulonglong),
}

fn give_field(value: FieldValue, field: &mut nvmlFieldValue_t) {
    match value {
        FieldValue::Short(value) => {
            field.valueType = nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT;
            field.value.uiVal = value;
        }
        FieldValue::Long(value) => {
            field.valueType = nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
            field.value.ullVal = value;
        }
    }
}

fn field_value(device: nvmlDevice_t, field: c_uint, scope: c_uint) -> Result<FieldValue, Code> {
    let power = |name, averaged| {
        answer(device, name, |d, t| {
            let served = d.scopes.contains(&scope) && scope <= MODULE_SCOPE;
            let value = served.then(|| d.milliwatts(averaged, t)).flatten();
            value.map(FieldValue::Short).ok_or(NOT_SUPPORTED)
        })
    };
    let slowed = |field, policy| {
        let value = answer(device, field, |d, t| slowed(d, policy, t));
        value.map(FieldValue::Long)
    };
    match field {
        field_id::NVML_FI_DEV_POWER_INSTANT => power("POWER_INSTANT", false),
        field_id::NVML_FI_DEV_POWER_AVERAGE => power("POWER_AVERAGE", true),
        field_id::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION => {
            let energy = "nvmlDeviceGetTotalEnergyConsumption";
            let value = answer(device, energy, |d, t| d.millijoules(t).ok_or(NOT_SUPPORTED));
            value.map(FieldValue::Long)
        }
        field_id::NVML_FI_DEV_PERF_POLICY_POWER => slowed("PERF_POLICY_POWER", "POWER"),
        field_id::NVML_FI_DEV_PERF_POLICY_THERMAL => slowed("PERF_POLICY_THERMAL", "THERMAL"),
        field_id::NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT => {
            slowed("PERF_POLICY_BOARD_LIMIT", "BOARD_LIMIT")
        }
        _ => Err(NOT_SUPPORTED),
    }
}

/// For how long a policy has slowed the device down, in nanoseconds.
fn slowed(device: &Device, policy: &str, t: f64) -> Result<c_ulonglong, Code> {
    let counter = device.slowed.get(policy).ok_or(NOT_SUPPORTED)?;
    Ok(counter.nanoseconds(t))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetViolationStatus(
    device: nvmlDevice_t,
    policy: nvmlPerfPolicyType_t,
    to: *mut nvmlViolationTime_t,
) -> Code {
    let names = [
        (nvmlPerfPolicyType_enum_NVML_PERF_POLICY_POWER, "POWER"),
        (nvmlPerfPolicyType_enum_NVML_PERF_POLICY_THERMAL, "THERMAL"),
        (
            nvmlPerfPolicyType_enum_NVML_PERF_POLICY_BOARD_LIMIT,
            "BOARD_LIMIT",
        ),
    ];
    let Some((_, policy)) = names.into_iter().find(|(number, _)| *number == policy) else {
        return NOT_SUPPORTED;
    };
    let value = answer(device, "nvmlDeviceGetViolationStatus", |d, t| {
        Ok(nvmlViolationTime_t {
            referenceTime: (t * 1e6) as c_ulonglong,
            violationTime: slowed(d, policy, t)?,
        })
    });
    // SAFETY: NVML's contract is that `to` can be written.
    unsafe { give(value, to) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetSamples(
    device: nvmlDevice_t,
    _kind: nvmlSamplingType_t,
    _last_seen: c_ulonglong,
    _value_type: *mut nvmlValueType_t,
    _count: *mut c_uint,
    _samples: *mut nvmlSample_t,
) -> Code {
    let answer = answer::<()>(device, "nvmlDeviceGetSamples", |_, _| Err(NOT_SUPPORTED));
    answer.err().unwrap_or(SUCCESS)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPowerManagementLimit(
    device: nvmlDevice_t,
    to: *mut c_uint,
) -> Code {
    let value = answer(device, "nvmlDeviceGetPowerManagementLimit", |d, _| {
        Ok(limit(device, d))
    });
    // SAFETY: NVML's contract is that `to` can be written.
    unsafe { give(value, to) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetEnforcedPowerLimit(
    device: nvmlDevice_t,
    to: *mut c_uint,
) -> Code {
    let value = answer(device, "nvmlDeviceGetEnforcedPowerLimit", |d, _| {
        let other = d.other_limit_watts.map_or(c_uint::MAX, milli);
        Ok(limit(device, d).min(other))
    });
    // SAFETY: NVML's contract is that `to` can be written.
    unsafe { give(value, to) }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceSetPowerManagementLimit(device: nvmlDevice_t, limit: c_uint) -> Code {
    let set = answer(device, "nvmlDeviceSetPowerManagementLimit", |d, _| {
        let allowed = milli(d.limit_watts / 3.0)..=milli(d.limit_watts);
        if !allowed.contains(&limit) {
            return Err(INVALID_ARGUMENT);
        }
        let set = STAGE.set_limit(position(device), limit);
        set.map_err(|_| nvmlReturn_enum_NVML_ERROR_UNKNOWN)
    });
    set.err().unwrap_or(SUCCESS)
}

/// The processes that the script has on a device, and the one that loaded this
/// library where it is to be among them.
fn processes(device: &Device, graphics: bool) -> Vec<c_uint> {
    let scripted = device.processes.iter().filter(|p| p.graphics == graphics);
    let own = (device.lists_itself && !graphics).then(std::process::id);
    scripted.map(|process| process.pid).chain(own).collect()
}

/// Writes the processes that `list` holds, or how many there are where there is no
/// room for them.
///
/// # Safety
/// `count` can be written, and `infos` has room for as many as it says.
unsafe fn give_processes(
    list: Result<Vec<c_uint>, Code>,
    count: *mut c_uint,
    infos: *mut nvmlProcessInfo_t,
) -> Code {
    let pids = match list {
        Ok(pids) => pids,
        Err(code) => return code,
    };
    // SAFETY: the caller's promise.
    let room = unsafe { count.replace(pids.len() as c_uint) } as usize;
    if pids.len() > room {
        return nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
    }
    for (i, pid) in pids.into_iter().enumerate() {
        let info = nvmlProcessInfo_t {
            pid,
            usedGpuMemory: 1 << 20,
            gpuInstanceId: c_uint::MAX,
            computeInstanceId: c_uint::MAX,
        };
        // SAFETY: the caller's promise, and there is room.
        unsafe { infos.add(i).write(info) };
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    infos: *mut nvmlProcessInfo_t,
) -> Code {
    let list = answer(device, "nvmlDeviceGetComputeRunningProcesses_v3", |d, _| {
        Ok(processes(d, false))
    });
    // SAFETY: NVML's contract is that there is room for as many as `count` says.
    unsafe { give_processes(list, count, infos) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    infos: *mut nvmlProcessInfo_t,
) -> Code {
    let list = answer(
        device,
        "nvmlDeviceGetGraphicsRunningProcesses_v3",
        |d, _| Ok(processes(d, true)),
    );
    // SAFETY: NVML's contract is that there is room for as many as `count` says.
    unsafe { give_processes(list, count, infos) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetProcessName(
    pid: c_uint,
    to: *mut c_char,
    length: c_uint,
) -> Code {
    let devices = STAGE.script.devices.iter();
    let process = devices.flat_map(|d| &d.processes).find(|p| p.pid == pid);
    let name = process.and_then(|process| process.name.as_deref());
    // SAFETY: NVML's contract is that `to` has room for `length` characters.
    unsafe { give_text(name.ok_or(NOT_FOUND), to, length) }
}
