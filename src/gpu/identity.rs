//! Which adapters are the same hardware under another backend or driver.
//!
//! A PCI address settles it. Where a backend does not tell the address
//! (OpenGL never does), vendor, device and the name without the driver's
//! additions have to do, and where these leave two cards to choose from, the
//! adapter is kept apart rather than guessed at.

use std::borrow::Cow;

use super::adapter::{AdapterDescription, Backend};

/// Names of software adapters that a backend may not know as such.
const SOFTWARE: [&str; 5] = [
    "llvmpipe",
    "softpipe",
    "swrast",
    "swiftshader",
    "microsoft basic render",
];

/// Whether the name is that of a software adapter, on its own or behind a
/// layer such as zink or virgl.
pub fn is_software_name(name: &str) -> bool {
    let name = name.to_lowercase();
    SOFTWARE.iter().any(|software| name.contains(software))
}

/// The name without what drivers add to it: trademark signs, translation
/// layers, bus and instruction set, bracketed driver and compiler versions.
pub fn canonical_name(name: &str) -> String {
    let mut name = name.to_lowercase();
    for sign in ["(r)", "(tm)", "(c)", "®", "™"] {
        name = name.replace(sign, "");
    }
    let name = without_layer(&name);
    let name = name.split("/pcie").next().unwrap_or_default();
    let name = name.split("/sse2").next().unwrap_or_default();
    let name = name.split('(').next().unwrap_or_default();
    let name = name.trim().strip_prefix("mesa ").unwrap_or(name);
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands inside the brackets of a layer's name: `zink Vulkan 1.3(X (…))`,
/// `D3D12 (X)`, `virgl (X)`, `ANGLE (vendor, X, version)`.
fn without_layer(name: &str) -> Cow<'_, str> {
    let Some((layer, inside)) = name.split_once('(') else {
        return name.into();
    };
    let inside = inside.trim_end().strip_suffix(')').unwrap_or(inside);
    if layer.starts_with("angle") {
        let renderer = inside.split(", ").nth(1).unwrap_or(inside);
        // "Vulkan 1.3.0 (X (…))", "ANGLE Metal Renderer: X", "X Direct3D11 vs_5_0".
        let renderer = renderer
            .split_once("vulkan ")
            .and_then(|(_, rest)| rest.split_once('('))
            .map_or(renderer, |(_, x)| x);
        let renderer = renderer.split("renderer: ").last().unwrap_or(renderer);
        let renderer = renderer.split(" direct3d").next().unwrap_or(renderer);
        return renderer.to_owned().into();
    }
    let layers = [
        "zink",
        "d3d12",
        "virgl",
        "microsoft direct3d12",
        "virtio-gpu",
    ];
    if layers.iter().any(|known| layer.starts_with(known)) {
        return inside.into();
    }
    name.into()
}

/// Gives every description the key of its hardware.
pub fn assign_physical_devices(adapters: &mut [AdapterDescription]) {
    forget_doubtful_addresses(adapters);
    let mut devices: Vec<Device> = Vec::new();
    let (addressed, others): (Vec<_>, Vec<_>) =
        (0..adapters.len()).partition(|&i| adapters[i].pci_address.is_some());
    for i in addressed.into_iter().chain(others) {
        let adapter = &adapters[i];
        let device = match device_of(adapter, &devices) {
            Some(known) => known,
            None => {
                devices.push(Device::new(adapter, &devices));
                devices.len() - 1
            }
        };
        devices[device].take(adapter);
        adapters[i].physical_device = devices[device].key.clone();
    }
}

/// Direct3D's addresses are looked up by vendor and device, so two cards of one
/// model both get the first one's: there the address tells nothing.
fn forget_doubtful_addresses(adapters: &mut [AdapterDescription]) {
    let addresses: Vec<_> = adapters
        .iter()
        .map(|a| (a.backend, a.pci_address.clone()))
        .collect();
    for adapter in adapters.iter_mut().filter(|a| a.backend == Backend::Dx12) {
        let same = |other: &&(Backend, Option<String>)| {
            other.0 == Backend::Dx12 && other.1 == adapter.pci_address
        };
        if addresses.iter().filter(same).count() > 1 {
            adapter.pci_address = None;
        }
    }
}

/// Hardware found so far, and the adapters by which it was found.
struct Device {
    key: String,
    software: bool,
    addressed: bool,
    name: String,
    vendor_id: u32,
    device_id: u32,
    /// Backend and driver of each adapter: one driver lists a card once.
    reached_by: Vec<(Backend, String, String)>,
}

impl Device {
    fn new(adapter: &AdapterDescription, devices: &[Device]) -> Self {
        let name = canonical_name(&adapter.name);
        let key = match &adapter.pci_address {
            Some(address) => format!("pci:{address}"),
            None => {
                let key = format!("{:04x}:{:04x} {name}", adapter.vendor_id, adapter.device_id);
                let twins = devices
                    .iter()
                    .filter(|d| d.key.starts_with(&key) && d.name == name)
                    .count();
                match twins {
                    0 => key,
                    n => format!("{key} #{}", n + 1),
                }
            }
        };
        Self {
            key,
            software: adapter.is_software(),
            addressed: adapter.pci_address.is_some(),
            name,
            vendor_id: adapter.vendor_id,
            device_id: adapter.device_id,
            reached_by: Vec::new(),
        }
    }

    fn take(&mut self, adapter: &AdapterDescription) {
        self.reached_by.push(route(adapter));
    }

    /// Whether an adapter without an address may be this device.
    fn may_be(&self, adapter: &AdapterDescription) -> bool {
        let known = |a, b| a == 0 || b == 0 || a == b;
        // OpenGL through Mesa's layers gives Mesa's number, not the card's.
        let pci = |vendor: u32| (1..=0xffff).contains(&vendor);
        let vendors_agree =
            self.vendor_id == adapter.vendor_id || !pci(self.vendor_id) || !pci(adapter.vendor_id);
        self.software == adapter.is_software()
            && vendors_agree
            && known(self.device_id, adapter.device_id)
            && self.name == canonical_name(&adapter.name)
    }
}

/// Whether two adapters of different backends can be the same hardware, by all that
/// they tell beside their addresses.
pub fn may_be_one_device(a: &AdapterDescription, b: &AdapterDescription) -> bool {
    Device::new(a, &[]).may_be(b)
}

fn route(adapter: &AdapterDescription) -> (Backend, String, String) {
    (
        adapter.backend,
        adapter.driver.clone(),
        adapter.driver_info.clone(),
    )
}

/// The one device found so far that the adapter is, by its place in the list.
fn device_of(adapter: &AdapterDescription, devices: &[Device]) -> Option<usize> {
    if let Some(address) = &adapter.pci_address {
        let key = format!("pci:{address}");
        return devices.iter().position(|device| device.key == key);
    }
    let candidates: Vec<usize> = (0..devices.len())
        .filter(|&i| devices[i].may_be(adapter))
        .collect();
    if adapter.is_software() {
        return candidates.first().copied();
    }
    let free = |&&i: &&usize| !devices[i].reached_by.contains(&route(adapter));
    let addressed = candidates.iter().filter(|&&i| devices[i].addressed).count();
    match addressed {
        0 | 1 => candidates.iter().find(free).copied(),
        _ => candidates
            .iter()
            .filter(|&&i| !devices[i].addressed)
            .find(free)
            .copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::adapter::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other};
    use super::super::adapter::tests::described;
    use super::Backend::{Dx12, Gl, Vulkan};
    use super::*;

    const NVIDIA: u32 = 0x10de;
    const AMD: u32 = 0x1002;
    const MESA: u32 = 0x10005;

    fn keys(mut adapters: Vec<AdapterDescription>) -> Vec<String> {
        assign_physical_devices(&mut adapters);
        adapters.into_iter().map(|a| a.physical_device).collect()
    }

    #[test]
    fn names_lose_what_drivers_add() {
        for (name, expected) in [
            ("llvmpipe (LLVM 15.0.6, 256 bits)", "llvmpipe"),
            (
                "NVIDIA GeForce RTX 3090/PCIe/SSE2",
                "nvidia geforce rtx 3090",
            ),
            (
                "AMD Radeon RX 7900 XTX (RADV NAVI31)",
                "amd radeon rx 7900 xtx",
            ),
            (
                "AMD Radeon RX 7900 XTX (radeonsi, navi31, LLVM 15.0.7, DRM 3.54, 6.8.0-40)",
                "amd radeon rx 7900 xtx",
            ),
            (
                "Intel(R) Arc(tm) A770 Graphics (DG2)",
                "intel arc a770 graphics",
            ),
            (
                "Mesa Intel(R) Arc(tm) A770 Graphics (DG2)",
                "intel arc a770 graphics",
            ),
            (
                "zink Vulkan 1.3(NVIDIA GeForce RTX 3090 (NVIDIA_PROPRIETARY))",
                "nvidia geforce rtx 3090",
            ),
            ("D3D12 (NVIDIA GeForce RTX 3080)", "nvidia geforce rtx 3080"),
            (
                "Microsoft Direct3D12 (NVIDIA GeForce RTX 3080)",
                "nvidia geforce rtx 3080",
            ),
            (
                "ANGLE (NVIDIA, NVIDIA GeForce RTX 3090 Direct3D11 vs_5_0 ps_5_0, D3D11)",
                "nvidia geforce rtx 3090",
            ),
            (
                "ANGLE (Apple, ANGLE Metal Renderer: Apple M1, Unspecified Version)",
                "apple m1",
            ),
            (
                "ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device (Subzero) (0x0000C0DE)), SwiftShader driver)",
                "swiftshader device",
            ),
            ("SwiftShader Device (Subzero)", "swiftshader device"),
            ("", ""),
        ] {
            assert_eq!(canonical_name(name), expected, "{name}");
        }
    }

    #[test]
    fn software_is_known_by_name_even_behind_a_layer() {
        assert!(is_software_name("softpipe"));
        assert!(is_software_name("virgl (LLVMPIPE (LLVM 15.0.6, 256 bits))"));
        assert!(is_software_name("Microsoft Basic Render Driver"));
        assert!(!is_software_name("NVIDIA GeForce RTX 3090"));
    }

    #[test]
    fn lavapipe_and_llvmpipe_are_one_device_and_swiftshader_another() {
        let keys = keys(vec![
            described(
                0,
                "llvmpipe (LLVM 15.0.6, 256 bits)",
                Vulkan,
                Cpu,
                None,
                (MESA, 0),
            ),
            described(
                1,
                "SwiftShader Device (Subzero)",
                Vulkan,
                Cpu,
                None,
                (0x1ae0, 0xc0de),
            ),
            described(
                2,
                "llvmpipe (LLVM 15.0.6, 256 bits)",
                Gl,
                Cpu,
                None,
                (MESA, 0),
            ),
        ]);
        assert_eq!(keys[0], keys[2]);
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn a_card_is_one_device_under_vulkan_and_opengl() {
        let keys = keys(vec![
            described(
                0,
                "NVIDIA GeForce RTX 3090/PCIe/SSE2",
                Gl,
                Other,
                None,
                (NVIDIA, 0),
            ),
            described(
                1,
                "NVIDIA GeForce RTX 3090",
                Vulkan,
                DiscreteGpu,
                Some("0000:01:00.0"),
                (NVIDIA, 0x2204),
            ),
        ]);
        assert_eq!(keys, ["pci:0000:01:00.0", "pci:0000:01:00.0"]);
    }

    #[test]
    fn two_drivers_for_one_card_are_one_device() {
        let card = |index, driver: &str| {
            let mut adapter = described(
                index,
                "AMD Radeon RX 7900 XTX",
                Vulkan,
                DiscreteGpu,
                Some("0000:03:00.0"),
                (AMD, 0x744c),
            );
            adapter.driver = driver.into();
            adapter
        };
        let keys = keys(vec![card(0, "radv"), card(1, "AMD open-source driver")]);
        assert_eq!(keys[0], keys[1]);
    }

    #[test]
    fn two_cards_of_one_model_are_two_devices_and_opengl_is_not_guessed_at() {
        let card = |index, address| {
            described(
                index,
                "NVIDIA A100-SXM4-80GB",
                Vulkan,
                DiscreteGpu,
                Some(address),
                (NVIDIA, 0x20b2),
            )
        };
        let keys = keys(vec![
            card(0, "0000:07:00.0"),
            card(1, "0000:0f:00.0"),
            described(
                2,
                "NVIDIA A100-SXM4-80GB/PCIe/SSE2",
                Gl,
                Other,
                None,
                (NVIDIA, 0),
            ),
        ]);
        assert_eq!(keys[0], "pci:0000:07:00.0");
        assert_eq!(keys[1], "pci:0000:0f:00.0");
        assert!(!keys[..2].contains(&keys[2]), "{keys:?}");
    }

    #[test]
    fn twins_without_an_address_stay_two() {
        let twin = |index| {
            described(
                index,
                "AMD Radeon Pro W6800X",
                Vulkan,
                DiscreteGpu,
                None,
                (AMD, 0x73a3),
            )
        };
        let keys = keys(vec![twin(0), twin(1), twin(2)]);
        assert_eq!(keys[0], "1002:73a3 amd radeon pro w6800x");
        assert_eq!(keys[1], "1002:73a3 amd radeon pro w6800x #2");
        assert_eq!(keys[2], "1002:73a3 amd radeon pro w6800x #3");
    }

    #[test]
    fn an_address_that_direct3d_gives_twice_is_not_believed() {
        let card = |index, backend, address| {
            described(
                index,
                "NVIDIA GeForce RTX 3090",
                backend,
                DiscreteGpu,
                Some(address),
                (NVIDIA, 0x2204),
            )
        };
        let mut adapters = vec![
            card(0, Vulkan, "0000:01:00.0"),
            card(1, Vulkan, "0000:02:00.0"),
            card(2, Dx12, "0000:01:00.0"),
            card(3, Dx12, "0000:01:00.0"),
        ];
        assign_physical_devices(&mut adapters);
        assert_eq!(adapters[2].pci_address, None);
        assert_eq!(adapters[3].pci_address, None);
        assert_ne!(adapters[2].physical_device, adapters[3].physical_device);
    }

    #[test]
    fn different_models_with_one_name_prefix_stay_apart() {
        let keys = keys(vec![
            described(
                0,
                "Intel(R) UHD Graphics 630 (CFL GT2)",
                Vulkan,
                IntegratedGpu,
                None,
                (0x8086, 0x3e92),
            ),
            described(
                1,
                "Intel(R) UHD Graphics",
                Gl,
                IntegratedGpu,
                None,
                (0x8086, 0),
            ),
        ]);
        assert_ne!(keys[0], keys[1]);
    }
}
