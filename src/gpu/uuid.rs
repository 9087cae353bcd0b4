//! The UUID of a Vulkan adapter, which wgpu does not ask for.

/// The device's UUID in lower case; `None` for other backends than Vulkan, and where
/// the driver has none.
#[cfg(not(target_vendor = "apple"))]
pub fn of(adapter: &wgpu::Adapter) -> Option<String> {
    use ash::vk;

    // SAFETY: the handle is only used to ask, never destroyed.
    let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = hal.shared_instance();
    let device = hal.physical_device_capabilities().properties().api_version;
    // What is called below came with Vulkan 1.1.
    if instance.instance_api_version().min(device) < vk::API_VERSION_1_1 {
        return None;
    }
    let mut identity = vk::PhysicalDeviceIDProperties::default();
    let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut identity);
    // SAFETY: the handle is that of a living adapter of this instance, and both know
    // the function.
    unsafe {
        let instance = instance.raw_instance();
        instance.get_physical_device_properties2(hal.raw_physical_device(), &mut properties);
    }
    known(identity.device_uuid)
}

/// There is no Vulkan: wgpu goes through Metal.
#[cfg(target_vendor = "apple")]
pub fn of(_: &wgpu::Adapter) -> Option<String> {
    None
}

/// A UUID as it is written; one of zeros is none.
#[cfg_attr(target_vendor = "apple", allow(dead_code))]
fn known(bytes: [u8; 16]) -> Option<String> {
    let uuid = uuid::Uuid::from_bytes(bytes);
    (!uuid.is_nil()).then(|| uuid.hyphenated().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_written_as_nvml_writes_it() {
        let bytes = *b"\x67\x30\x4e\xe1\x2a\xb0\xd7\xcc\x6e\x01\xfe\xdc\xba\x98\x76\x54";
        let text = "67304ee1-2ab0-d7cc-6e01-fedcba987654";
        assert_eq!(known(bytes).as_deref(), Some(text));
        assert_eq!(known([0; 16]), None);
    }
}
