//! The layer's side of the loader's interface.

use std::collections::HashSet;
use std::ffi::{CStr, c_char, c_void};
use std::fs::OpenOptions;
use std::mem::transmute;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, RwLock};
use std::thread;
use std::time::Duration;

use ash::vk;
use ash::vk::Handle;

/// What is to fail.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Lost(u64),
    Crash(u64),
    Hang(u64),
    Memory(u64),
    Gone,
    Idle,
    /// Ticks at the beginning and the end of every pass.
    Timestamps([u64; 2]),
    /// Percent of what a tick of the device's clock takes.
    Scaled(u64),
    /// Of a command buffer only the first dispatch is run.
    FirstOnly,
    /// One dispatch in so many is not run.
    OneIn(u64),
}

static FAULT: LazyLock<Fault> = LazyLock::new(|| {
    let text = std::env::var(super::FAULT).unwrap_or_default();
    let (name, number) = text.split_once(':').unwrap_or((&text, "0"));
    let number = number.parse().expect("a number");
    match name {
        "" => Fault::None,
        "lost" => Fault::Lost(number),
        "crash" => Fault::Crash(number),
        "hang" => Fault::Hang(number),
        "memory" => Fault::Memory(number),
        "gone" => Fault::Gone,
        "idle" => Fault::Idle,
        "zero" => Fault::Timestamps([0, 0]),
        "constant" => Fault::Timestamps([5, 5]),
        "backwards" => Fault::Timestamps([2_000_000_000, 1_000_000_000]),
        // A second and a bit, whatever the pass took.
        "other-clock" => Fault::Timestamps([1_000_000_000, 2_234_567_890]),
        "scaled" => Fault::Scaled(number),
        "first-only" => Fault::FirstOnly,
        "one-in" => Fault::OneIn(number),
        other => panic!("unknown fault {other:?}"),
    }
});

/// Submissions of this process so far.
static SUBMITTED: AtomicU64 = AtomicU64::new(0);
/// Dispatches that were recorded in this process so far.
static DISPATCHED: AtomicU64 = AtomicU64::new(0);
/// Command buffers that hold a dispatch by now.
static BEGUN: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);
/// Query pools that hold timestamps, and no statistics.
static CLOCKS: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);
/// Whether the device that was opened last is lost.
static LOST: AtomicBool = AtomicBool::new(false);
/// The next in the chain of the instance that was made last.
static INSTANCE: RwLock<Option<NextOfInstance>> = RwLock::new(None);
/// The next in the chain of the device that was opened last.
static DEVICE: RwLock<Option<Next>> = RwLock::new(None);

/// An instance, and functions of the next in its chain. They are looked up when it
/// is made: later on the loader would name this layer's own.
#[derive(Clone, Copy)]
struct NextOfInstance {
    instance: vk::Instance,
    find: vk::PFN_vkGetInstanceProcAddr,
    enumerate_physical_devices: vk::PFN_vkEnumeratePhysicalDevices,
    properties: vk::PFN_vkGetPhysicalDeviceProperties,
    properties2: Option<vk::PFN_vkGetPhysicalDeviceProperties2>,
}

fn next_of_instance() -> NextOfInstance {
    let next = INSTANCE.read().expect("no panic");
    next.expect("an instance is there")
}

/// Functions of the next in the chain of a device.
#[derive(Clone, Copy)]
struct Next {
    find: vk::PFN_vkGetDeviceProcAddr,
    queue_submit: vk::PFN_vkQueueSubmit,
    allocate_memory: vk::PFN_vkAllocateMemory,
    copy_results: vk::PFN_vkCmdCopyQueryPoolResults,
    update_buffer: vk::PFN_vkCmdUpdateBuffer,
    create_query_pool: vk::PFN_vkCreateQueryPool,
    begin_command_buffer: vk::PFN_vkBeginCommandBuffer,
    dispatch: vk::PFN_vkCmdDispatch,
}

fn next() -> Next {
    DEVICE.read().expect("no panic").expect("a device is open")
}

/// `VkLayerInstanceCreateInfo` and `VkLayerDeviceCreateInfo` of vk_layer.h, which
/// differ in the links that they hold.
#[repr(C)]
struct CreateInfo<Link> {
    s_type: vk::StructureType,
    p_next: *mut c_void,
    function: i32,
    link: *mut Link,
}

/// `VkLayerInstanceLink`.
#[repr(C)]
struct InstanceLink {
    next: *mut InstanceLink,
    find: vk::PFN_vkGetInstanceProcAddr,
    find_physical: *const c_void,
}

/// `VkLayerDeviceLink`.
#[repr(C)]
struct DeviceLink {
    next: *mut DeviceLink,
    find_instance: vk::PFN_vkGetInstanceProcAddr,
    find: vk::PFN_vkGetDeviceProcAddr,
}

/// `VkNegotiateLayerInterface`.
#[repr(C)]
pub struct Negotiation {
    s_type: i32,
    p_next: *mut c_void,
    version: u32,
    find_instance: Option<vk::PFN_vkGetInstanceProcAddr>,
    find_device: Option<vk::PFN_vkGetDeviceProcAddr>,
    find_physical: *const c_void,
}

/// The loader's first call.
///
/// # Safety
/// `negotiation` is the loader's structure.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn vkNegotiateLoaderLayerInterfaceVersion(
    negotiation: *mut Negotiation,
) -> vk::Result {
    // SAFETY: the caller's promise.
    let negotiation = unsafe { &mut *negotiation };
    negotiation.version = negotiation.version.min(2);
    negotiation.find_instance = Some(find_instance);
    negotiation.find_device = Some(find_device);
    negotiation.find_physical = std::ptr::null();
    vk::Result::SUCCESS
}

/// The link of this layer in the chain of `p_next`, which moves on to the next.
///
/// # Safety
/// `p_next` is that of a structure that the loader handed over, `Link` the type
/// that belongs to `s_type`.
unsafe fn take_link<Link>(
    p_next: *const c_void,
    s_type: vk::StructureType,
    following: impl Fn(&Link) -> *mut Link,
) -> &'static Link {
    let mut at = p_next.cast_mut().cast::<CreateInfo<Link>>();
    loop {
        assert!(!at.is_null(), "the loader hands over a link");
        // SAFETY: every structure of such a chain begins with a type and a pointer
        // to the next; the rest is read where the type is the loader's.
        unsafe {
            if (*at).s_type == s_type && (*at).function == 0 {
                let link = &*(*at).link;
                (*at).link = following(link);
                return link;
            }
            at = (*at).p_next.cast();
        }
    }
}

unsafe extern "system" fn create_instance(
    info: *const vk::InstanceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    instance: *mut vk::Instance,
) -> vk::Result {
    // SAFETY: the loader's structures; the function found is the one that was
    // asked for.
    unsafe {
        let s_type = vk::StructureType::LOADER_INSTANCE_CREATE_INFO;
        let link = take_link::<InstanceLink>((*info).p_next, s_type, |link| link.next);
        let found = (link.find)(vk::Instance::null(), c"vkCreateInstance".as_ptr());
        let create: vk::PFN_vkCreateInstance = transmute(found.expect("every driver has it"));
        let result = create(info, allocator, instance);
        if result == vk::Result::SUCCESS {
            let found = (link.find)(*instance, c"vkEnumeratePhysicalDevices".as_ptr());
            let enumerate_physical_devices: vk::PFN_vkEnumeratePhysicalDevices =
                transmute(found.expect("of Vulkan 1.0"));
            let found = (link.find)(*instance, c"vkGetPhysicalDeviceProperties".as_ptr());
            let properties: vk::PFN_vkGetPhysicalDeviceProperties =
                transmute(found.expect("of Vulkan 1.0"));
            let names = [
                c"vkGetPhysicalDeviceProperties2",
                c"vkGetPhysicalDeviceProperties2KHR",
            ];
            let mut found = names
                .iter()
                .filter_map(|name| (link.find)(*instance, name.as_ptr()));
            let properties2: Option<vk::PFN_vkGetPhysicalDeviceProperties2> =
                found.next().map(|found| transmute(found));
            *INSTANCE.write().expect("no panic") = Some(NextOfInstance {
                instance: *instance,
                find: link.find,
                enumerate_physical_devices,
                properties,
                properties2,
            });
        }
        result
    }
}

unsafe extern "system" fn create_device(
    physical: vk::PhysicalDevice,
    info: *const vk::DeviceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    device: *mut vk::Device,
) -> vk::Result {
    let instance = next_of_instance().instance;
    // SAFETY: as above.
    unsafe {
        let s_type = vk::StructureType::LOADER_DEVICE_CREATE_INFO;
        let link = take_link::<DeviceLink>((*info).p_next, s_type, |link| link.next);
        let found = (link.find_instance)(instance, c"vkCreateDevice".as_ptr());
        let create: vk::PFN_vkCreateDevice = transmute(found.expect("every driver has it"));
        let result = create(physical, info, allocator, device);
        if result == vk::Result::SUCCESS {
            let find = |name: &CStr| (link.find)(*device, name.as_ptr()).expect("of Vulkan 1.0");
            let queue_submit: vk::PFN_vkQueueSubmit = transmute(find(c"vkQueueSubmit"));
            let allocate_memory: vk::PFN_vkAllocateMemory = transmute(find(c"vkAllocateMemory"));
            let copy_results: vk::PFN_vkCmdCopyQueryPoolResults =
                transmute(find(c"vkCmdCopyQueryPoolResults"));
            let update_buffer: vk::PFN_vkCmdUpdateBuffer = transmute(find(c"vkCmdUpdateBuffer"));
            let dispatch: vk::PFN_vkCmdDispatch = transmute(find(c"vkCmdDispatch"));
            let create_query_pool: vk::PFN_vkCreateQueryPool =
                transmute(find(c"vkCreateQueryPool"));
            let begin_command_buffer: vk::PFN_vkBeginCommandBuffer =
                transmute(find(c"vkBeginCommandBuffer"));
            *DEVICE.write().expect("no panic") = Some(Next {
                find: link.find,
                queue_submit,
                allocate_memory,
                copy_results,
                update_buffer,
                create_query_pool,
                begin_command_buffer,
                dispatch,
            });
            LOST.store(false, Ordering::SeqCst);
        }
        result
    }
}

unsafe extern "system" fn enumerate_physical_devices(
    instance: vk::Instance,
    count: *mut u32,
    devices: *mut vk::PhysicalDevice,
) -> vk::Result {
    let is_worker = std::env::args().nth(1).is_some_and(|verb| verb == "worker");
    // SAFETY: the caller's arguments, handed on; `count` is to be written.
    unsafe {
        if *FAULT == Fault::Gone && is_worker {
            *count = 0;
            return vk::Result::SUCCESS;
        }
        (next_of_instance().enumerate_physical_devices)(instance, count, devices)
    }
}

unsafe extern "system" fn queue_submit(
    queue: vk::Queue,
    count: u32,
    submits: *const vk::SubmitInfo<'_>,
    fence: vk::Fence,
) -> vk::Result {
    let number = SUBMITTED.fetch_add(1, Ordering::SeqCst);
    match *FAULT {
        Fault::Lost(at) if number == at && strikes() => LOST.store(true, Ordering::SeqCst),
        Fault::Crash(at) if number == at && strikes() => std::process::abort(),
        Fault::Hang(at) if number == at && strikes() => loop {
            thread::sleep(Duration::from_secs(1));
        },
        _ => {}
    }
    if LOST.load(Ordering::SeqCst) {
        return vk::Result::ERROR_DEVICE_LOST;
    }
    // SAFETY: the caller's arguments, handed on.
    unsafe { (next().queue_submit)(queue, count, submits, fence) }
}

/// Whether this process is the one that is struck.
fn strikes() -> bool {
    let mark = std::env::var_os(super::ONCE).expect("the test names a file");
    let mark = OpenOptions::new().write(true).create_new(true).open(mark);
    mark.is_ok()
}

unsafe extern "system" fn allocate_memory(
    device: vk::Device,
    info: *const vk::MemoryAllocateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    memory: *mut vk::DeviceMemory,
) -> vk::Result {
    // SAFETY: the caller hands over a description.
    let size = unsafe { (*info).allocation_size };
    if matches!(*FAULT, Fault::Memory(from) if size >> 20 >= from) && strikes() {
        return vk::Result::ERROR_OUT_OF_DEVICE_MEMORY;
    }
    // SAFETY: the caller's arguments, handed on.
    unsafe { (next().allocate_memory)(device, info, allocator, memory) }
}

unsafe extern "system" fn copy_results(
    commands: vk::CommandBuffer,
    pool: vk::QueryPool,
    first: u32,
    count: u32,
    buffer: vk::Buffer,
    offset: vk::DeviceSize,
    stride: vk::DeviceSize,
    flags: vk::QueryResultFlags,
) {
    // SAFETY: the caller's arguments, handed on; a buffer that results may be
    // copied to may be updated as well.
    unsafe {
        let is_clock = CLOCKS.lock().expect("no panic").contains(&pool.as_raw());
        let (Fault::Timestamps(ticks), true) = (*FAULT, is_clock) else {
            let next = next().copy_results;
            return next(commands, pool, first, count, buffer, offset, stride, flags);
        };
        let ticks: Vec<u64> = (first..first + count)
            .map(|query| ticks[query as usize % 2])
            .collect();
        let bytes = size_of_val(ticks.as_slice()) as u64;
        (next().update_buffer)(commands, buffer, offset, bytes, ticks.as_ptr().cast());
    }
}

unsafe extern "system" fn dispatch(commands: vk::CommandBuffer, x: u32, y: u32, z: u32) {
    let number = DISPATCHED.fetch_add(1, Ordering::SeqCst);
    let mark = || std::env::var_os(super::ONCE).expect("the test names a file");
    let is_dropped = match *FAULT {
        Fault::Idle => std::path::Path::new(&mark()).exists(),
        Fault::FirstOnly => !BEGUN.lock().expect("no panic").insert(commands.as_raw()),
        Fault::OneIn(many) => mixed(number).is_multiple_of(many),
        _ => false,
    };
    if !is_dropped {
        // SAFETY: the caller's arguments, handed on.
        unsafe { (next().dispatch)(commands, x, y, z) }
    }
}

/// The clock is of another rate than the driver says.
fn scale(limits: &mut vk::PhysicalDeviceLimits) {
    if let Fault::Scaled(percent) = *FAULT {
        limits.timestamp_period *= percent as f32 / 100.0;
    }
}

unsafe extern "system" fn properties(
    physical: vk::PhysicalDevice,
    properties: *mut vk::PhysicalDeviceProperties,
) {
    // SAFETY: the caller's arguments, handed on; the driver has filled them in.
    unsafe {
        (next_of_instance().properties)(physical, properties);
        scale(&mut (*properties).limits);
    }
}

unsafe extern "system" fn properties2(
    physical: vk::PhysicalDevice,
    properties: *mut vk::PhysicalDeviceProperties2<'_>,
) {
    let next = next_of_instance().properties2;
    // SAFETY: as above; who asks for this has been told that it is there.
    unsafe {
        next.expect("of Vulkan 1.1")(physical, properties);
        scale(&mut (*properties).properties.limits);
    }
}

unsafe extern "system" fn create_query_pool(
    device: vk::Device,
    info: *const vk::QueryPoolCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    pool: *mut vk::QueryPool,
) -> vk::Result {
    // SAFETY: the caller's arguments, handed on; the pool is there on success.
    unsafe {
        let result = (next().create_query_pool)(device, info, allocator, pool);
        if result == vk::Result::SUCCESS && (*info).query_type == vk::QueryType::TIMESTAMP {
            CLOCKS.lock().expect("no panic").insert((*pool).as_raw());
        }
        result
    }
}

unsafe extern "system" fn begin_command_buffer(
    commands: vk::CommandBuffer,
    info: *const vk::CommandBufferBeginInfo<'_>,
) -> vk::Result {
    BEGUN.lock().expect("no panic").remove(&commands.as_raw());
    // SAFETY: the caller's arguments, handed on.
    unsafe { (next().begin_command_buffer)(commands, info) }
}

/// Looks like chance, and is the same each time. (Finaliser of SplitMix64.)
fn mixed(number: u64) -> u64 {
    let mut z = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The layer's own function of that name.
fn own(name: &CStr) -> Option<unsafe extern "system" fn()> {
    let pointer: *const () = match name.to_bytes() {
        b"vkGetInstanceProcAddr" => find_instance as *const (),
        b"vkGetDeviceProcAddr" => find_device as *const (),
        b"vkCreateInstance" => create_instance as *const (),
        b"vkCreateDevice" => create_device as *const (),
        b"vkEnumeratePhysicalDevices" => enumerate_physical_devices as *const (),
        b"vkGetPhysicalDeviceProperties" => properties as *const (),
        b"vkGetPhysicalDeviceProperties2" | b"vkGetPhysicalDeviceProperties2KHR" => {
            properties2 as *const ()
        }
        b"vkCreateQueryPool" => create_query_pool as *const (),
        b"vkBeginCommandBuffer" => begin_command_buffer as *const (),
        b"vkQueueSubmit" => queue_submit as *const (),
        b"vkAllocateMemory" => allocate_memory as *const (),
        b"vkCmdDispatch" => dispatch as *const (),
        b"vkCmdCopyQueryPoolResults" => copy_results as *const (),
        _ => return None,
    };
    // SAFETY: a pointer to a function; whoever calls it goes by its name.
    Some(unsafe { transmute::<*const (), unsafe extern "system" fn()>(pointer) })
}

unsafe extern "system" fn find_instance(
    instance: vk::Instance,
    name: *const c_char,
) -> vk::PFN_vkVoidFunction {
    // SAFETY: the caller's text.
    let found = own(unsafe { CStr::from_ptr(name) });
    let chain = *INSTANCE.read().expect("no panic");
    // SAFETY: the caller's arguments, handed on.
    found.or_else(|| chain.and_then(|next| unsafe { (next.find)(instance, name) }))
}

unsafe extern "system" fn find_device(
    device: vk::Device,
    name: *const c_char,
) -> vk::PFN_vkVoidFunction {
    // SAFETY: the caller's text.
    let found = own(unsafe { CStr::from_ptr(name) });
    let chain = *DEVICE.read().expect("no panic");
    // SAFETY: the caller's arguments, handed on.
    found.or_else(|| chain.and_then(|next| unsafe { (next.find)(device, name) }))
}
