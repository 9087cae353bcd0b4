//! Which adapter a run uses.
//!
//! Without a wish the order is discrete, integrated, virtual, unknown, software
//! adapter; then Metal, Vulkan, Direct3D, OpenGL; then the order of the list. A
//! software adapter never stands in silently for a GPU that has no driver.
//!
//! All of it is pure: what the machine has is passed in.

mod several;

use std::collections::HashSet;

pub use several::{Several, listed, several};
use thiserror::Error;

use super::adapter::{AdapterDescription, Backend, DeviceType};
use super::bus::{self, VisibleGpu};
use super::pci;

/// How to get an adapter on a machine that has none.
pub const INSTALL_ANY: &str = "Mesa's software adapter needs no GPU; install it with
  Debian, Ubuntu  sudo apt install mesa-vulkan-drivers libvulkan1
  Fedora          sudo dnf install mesa-vulkan-drivers vulkan-loader
  Arch            sudo pacman -S vulkan-swrast vulkan-icd-loader
  openSUSE        sudo zypper install libvulkan_lvp libvulkan1
or, in a checkout of flopwatt, run ci/setup";

/// Why no adapter was chosen.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SelectError {
    /// No backend offers any adapter.
    #[error("no GPU adapter on any backend{}\n{INSTALL_ANY}", bus::remedies(.visible))]
    NoAdapter {
        /// GPUs that are there all the same.
        visible: Vec<VisibleGpu>,
    },
    /// Only a software adapter was found, on a machine that has a GPU.
    #[error(
        "only a software adapter was found ({software}), but this machine has a GPU{}\n`--adapter cpu` measures the software adapter all the same",
        bus::remedies(.gpus)
    )]
    HiddenGpu {
        /// The adapter that would have been used.
        software: String,
        /// The GPUs that no driver offers.
        gpus: Vec<VisibleGpu>,
    },
    /// No adapter fits the wish.
    #[error("no adapter fits `--adapter {wanted}`; there are\n{}{FORMS}", lines(.adapters))]
    Unknown {
        /// The wish.
        wanted: String,
        /// A line for every adapter.
        adapters: Vec<String>,
    },
    /// More than one device fits the wish.
    #[error("`--adapter {wanted}` fits {} devices:\n{}type {} instead", .candidates.len(), lines(.candidates), alternatives(.indices))]
    Ambiguous {
        /// The wish.
        wanted: String,
        /// A line for the best adapter of every device that fits.
        candidates: Vec<String>,
        /// Their positions in the list.
        indices: Vec<usize>,
    },
}

const FORMS: &str = "type `--adapter` with a number of this list, a part of a name, a PCI address, a backend \
     (vulkan, metal, dx12, gl) or cpu";

impl SelectError {
    /// Whether nothing can be measured on this machine as it is, rather than
    /// the wish being at fault.
    pub fn nothing_to_measure(&self) -> bool {
        matches!(self, Self::NoAdapter { .. } | Self::HiddenGpu { .. })
    }
}

fn lines(items: &[String]) -> String {
    items.iter().map(|line| format!("  {line}\n")).collect()
}

fn alternatives(indices: &[usize]) -> String {
    let each: Vec<_> = indices.iter().map(|i| format!("`--adapter {i}`")).collect();
    each.join(" or ")
}

/// The position in `adapters` of the one to use.
///
/// `wanted` is an index, a PCI address, `cpu`, a backend's name, or a part of
/// the adapter's (else the driver's) name; case does not matter. Several
/// adapters of one physical device are no ambiguity: the best backend wins. A
/// backend's name takes the best kind of device that it offers. Naming a
/// software adapter in any of these ways insists on it even where `visible`
/// holds a GPU.
///
/// # Errors
/// When there is no adapter, none or more than one device fits, or the default
/// would be a software adapter on a machine with a GPU.
pub fn select(
    adapters: &[AdapterDescription],
    wanted: Option<&str>,
    visible: &[VisibleGpu],
) -> Result<usize, SelectError> {
    let Some(best) = (0..adapters.len()).min_by_key(|&i| rank(&adapters[i])) else {
        return Err(SelectError::NoAdapter {
            visible: visible.to_vec(),
        });
    };
    if let Some(wanted) = wanted {
        return explicit(adapters, wanted.trim());
    }
    let hidden = bus::hidden(adapters, visible);
    if adapters[best].is_software() && !hidden.is_empty() {
        return Err(SelectError::HiddenGpu {
            software: adapters[best].name.clone(),
            gpus: hidden,
        });
    }
    Ok(best)
}

/// Sorts the adapter to prefer first. The order of the variants of
/// [`DeviceType`] and [`Backend`] is that of preference; a backend that does
/// nothing comes last.
fn rank(adapter: &AdapterDescription) -> (bool, DeviceType, Backend, usize) {
    (
        adapter.backend == Backend::Noop,
        adapter.device_type,
        adapter.backend,
        adapter.index,
    )
}

/// The adapter that the text names.
fn explicit(adapters: &[AdapterDescription], wanted: &str) -> Result<usize, SelectError> {
    let mut fitting = Wish::parse(wanted, adapters.len()).fitting(adapters);
    fitting.sort_by_key(|&i| rank(&adapters[i]));
    let mut devices = HashSet::new();
    fitting.retain(|&i| devices.insert(&adapters[i].physical_device));
    fitting.sort_unstable();
    match fitting[..] {
        [one] => Ok(one),
        [] => Err(SelectError::Unknown {
            wanted: wanted.into(),
            adapters: adapters.iter().map(AdapterDescription::summary).collect(),
        }),
        _ => Err(SelectError::Ambiguous {
            wanted: wanted.into(),
            candidates: fitting.iter().map(|&i| adapters[i].summary()).collect(),
            indices: fitting.iter().map(|&i| adapters[i].index).collect(),
        }),
    }
}

/// What the text of `--adapter` asks for.
#[derive(Debug, PartialEq)]
enum Wish {
    Index(usize),
    Address(String),
    Software,
    Backend(Backend),
    /// In lower case.
    Name(String),
}

impl Wish {
    /// Reads the text, given how many adapters there are: a number beyond the
    /// list is a model's (4090) if it has three digits or more.
    fn parse(text: &str, count: usize) -> Self {
        let digits = text.strip_prefix('#').unwrap_or(text);
        let name = text.to_lowercase();
        match (digits.parse(), pci::normalise(text)) {
            (Ok(index), _) if index < count || digits.len() < 3 => Self::Index(index),
            (_, Some(address)) => Self::Address(address),
            _ => match name.as_str() {
                "cpu" => Self::Software,
                "metal" => Self::Backend(Backend::Metal),
                "vulkan" | "vk" => Self::Backend(Backend::Vulkan),
                "dx12" | "d3d12" => Self::Backend(Backend::Dx12),
                "gl" | "opengl" | "gles" => Self::Backend(Backend::Gl),
                _ => Self::Name(name),
            },
        }
    }

    /// Positions of the adapters that it may mean.
    fn fitting(&self, adapters: &[AdapterDescription]) -> Vec<usize> {
        let all = |fits: &dyn Fn(&AdapterDescription) -> bool| -> Vec<usize> {
            let positions = adapters.iter().enumerate();
            positions.filter(|(_, a)| fits(a)).map(|(i, _)| i).collect()
        };
        match self {
            Self::Index(index) => all(&|a| a.index == *index),
            Self::Address(address) => all(&|a| a.pci_address.as_ref() == Some(address)),
            Self::Software => all(&AdapterDescription::is_software),
            Self::Backend(backend) => {
                let offered = adapters.iter().filter(|a| a.backend == *backend);
                let best = offered.map(|a| a.device_type).min();
                all(&|a| a.backend == *backend && Some(a.device_type) == best)
            }
            Self::Name(part) => {
                let levels: [&dyn Fn(&AdapterDescription) -> bool; 3] = [
                    &|a| a.name.to_lowercase() == *part,
                    &|a| !part.is_empty() && names(a).contains(part),
                    &|a| !part.is_empty() && a.driver.to_lowercase().contains(part),
                ];
                let mut found = levels.iter().map(|level| all(level));
                found
                    .find(|fitting| !fitting.is_empty())
                    .unwrap_or_default()
            }
        }
    }
}

/// The adapter's name in lower case, with the one by which Mesa's software
/// Vulkan driver is known but does not call itself.
fn names(adapter: &AdapterDescription) -> String {
    let name = adapter.name.to_lowercase();
    if name.starts_with("llvmpipe") && adapter.backend == Backend::Vulkan {
        return format!("{name} lavapipe");
    }
    name
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::adapter::tests::described;
    use super::super::bus::tests::rtx_4090;
    use super::super::identity::assign_physical_devices;
    use super::Backend::{Dx12, Gl, Metal, Noop, Vulkan};
    use super::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
    use super::*;

    const LLVMPIPE: &str = "llvmpipe (LLVM 15.0.6, 256 bits)";
    const NVIDIA: u32 = bus::NVIDIA;
    const AMD: u32 = bus::AMD;

    /// Name, backend, kind, PCI address, vendor and device.
    pub(super) type Brief<'a> = (&'a str, Backend, DeviceType, Option<&'a str>, (u32, u32));

    pub(super) fn machine(adapters: Vec<Brief<'_>>) -> Vec<AdapterDescription> {
        let numbered = adapters.into_iter().enumerate();
        let mut machine: Vec<_> = numbered
            .map(|(i, (name, backend, kind, address, ids))| {
                described(i, name, backend, kind, address, ids)
            })
            .collect();
        assign_physical_devices(&mut machine);
        machine
    }

    /// 0 lavapipe, 1 an APU, 2 and 3 two cards of one model, 4 the APU under
    /// OpenGL, 5 llvmpipe.
    pub(super) fn workstation() -> Vec<AdapterDescription> {
        let card = "AMD Radeon RX 7900 XTX (RADV NAVI31)";
        let apu = "AMD Radeon 780M (RADV PHOENIX)";
        let mut machine = machine(vec![
            (LLVMPIPE, Vulkan, Cpu, None, (0x10005, 0)),
            (
                apu,
                Vulkan,
                IntegratedGpu,
                Some("0000:c1:00.0"),
                (AMD, 0x15bf),
            ),
            (
                card,
                Vulkan,
                DiscreteGpu,
                Some("0000:03:00.0"),
                (AMD, 0x744c),
            ),
            (
                card,
                Vulkan,
                DiscreteGpu,
                Some("0000:0a:00.0"),
                (AMD, 0x744c),
            ),
            (
                "AMD Radeon 780M (radeonsi, phoenix)",
                Gl,
                Other,
                None,
                (AMD, 0),
            ),
            (LLVMPIPE, Gl, Cpu, None, (0x10005, 0)),
        ]);
        machine[0].driver = "llvmpipe".into();
        for amd in &mut machine[1..4] {
            amd.driver = "radv".into();
        }
        machine
    }

    fn chosen(wanted: &str) -> Result<usize, SelectError> {
        select(&workstation(), Some(wanted), &[])
    }

    fn ambiguous(wanted: &str) -> Vec<usize> {
        match chosen(wanted) {
            Err(SelectError::Ambiguous { indices, .. }) => indices,
            other => panic!("`{wanted}` should be ambiguous, got {other:?}"),
        }
    }

    #[test]
    fn by_default_kinds_of_device_come_before_backends_and_these_before_the_order_of_the_list() {
        let order = [
            ("discrete", Metal, DiscreteGpu),
            ("discrete", Vulkan, DiscreteGpu),
            ("discrete", Dx12, DiscreteGpu),
            ("discrete", Gl, DiscreteGpu),
            ("integrated", Vulkan, IntegratedGpu),
            ("virtual", Vulkan, VirtualGpu),
            ("other", Gl, Other),
            ("software", Vulkan, Cpu),
            ("software", Gl, Cpu),
            ("nothing", Noop, Other),
        ];
        for best in 0..order.len() {
            let rest = order[best..].iter().rev();
            let machine = machine(rest.map(|&(n, b, k)| (n, b, k, None, (0, 0))).collect());
            let last = machine.len() - 1;
            assert_eq!(select(&machine, None, &[]), Ok(last), "{:?}", order[best]);
        }
        assert_eq!(select(&workstation(), None, &[]), Ok(2));
    }

    #[test]
    fn an_index_means_exactly_that_adapter() {
        for index in 0..6 {
            assert_eq!(chosen(&index.to_string()), Ok(index));
            assert_eq!(chosen(&format!("#{index}")), Ok(index));
        }
        assert!(matches!(chosen("6"), Err(SelectError::Unknown { .. })));
        assert!(
            matches!(chosen("78"), Err(SelectError::Unknown { .. })),
            "a short number is an index, never a part of a name"
        );
    }

    #[test]
    fn a_part_of_the_name_is_enough_in_any_case_and_the_best_backend_wins() {
        assert_eq!(chosen("780m"), Ok(1));
        assert_eq!(chosen("PHOENIX"), Ok(1));
        assert_eq!(chosen("780"), Ok(1), "a number of a model");
        assert_eq!(chosen("radeonsi"), Ok(4));
        assert_eq!(chosen("LLVMpipe"), Ok(0));
        assert_eq!(chosen("lavapipe"), Ok(0));
        assert!(matches!(
            chosen("geforce"),
            Err(SelectError::Unknown { .. })
        ));
        assert!(matches!(chosen(" "), Err(SelectError::Unknown { .. })));
    }

    #[test]
    fn a_full_name_is_not_ambiguous_with_a_longer_one() {
        let card =
            |name, address, device| (name, Vulkan, DiscreteGpu, Some(address), (NVIDIA, device));
        let machine = machine(vec![
            card("NVIDIA GeForce RTX 4070 Ti", "0000:01:00.0", 0x2782),
            card("NVIDIA GeForce RTX 4070", "0000:02:00.0", 0x2786),
        ]);
        let wanted = Some("nvidia geforce rtx 4070");
        assert_eq!(select(&machine, wanted, &[]), Ok(1));
        let part = select(&machine, Some("4070"), &[]);
        assert!(
            matches!(part, Err(SelectError::Ambiguous { .. })),
            "{part:?}"
        );
    }

    #[test]
    fn a_pci_address_is_taken_in_every_form() {
        for text in ["0000:0a:00.0", "0A:00.0", "00000000:0A:00.0", "0a:00"] {
            assert_eq!(chosen(text), Ok(3), "{text}");
        }
        assert_eq!(chosen("c1:00.0"), Ok(1));
        assert!(matches!(
            chosen("0b:00.0"),
            Err(SelectError::Unknown { .. })
        ));
    }

    #[test]
    fn a_backend_takes_its_best_kind_of_device() {
        assert_eq!(chosen("gl"), Ok(4));
        assert_eq!(chosen("OpenGL"), Ok(4));
        assert_eq!(ambiguous("vulkan"), [2, 3]);
        assert!(matches!(chosen("metal"), Err(SelectError::Unknown { .. })));
    }

    #[test]
    fn cpu_means_the_software_adapter_and_two_of_them_are_ambiguous() {
        assert_eq!(chosen("cpu"), Ok(0));
        assert_eq!(chosen("CPU"), Ok(0));
        let mut two = workstation();
        let ids = (0x1ae0, 0xc0de);
        two.push(described(
            6,
            "SwiftShader Device (Subzero)",
            Vulkan,
            Cpu,
            None,
            ids,
        ));
        assign_physical_devices(&mut two);
        let error = select(&two, Some("cpu"), &[]).expect_err("two devices fit");
        assert!(matches!(&error, SelectError::Ambiguous { indices, .. } if *indices == [0, 6]));
    }

    #[test]
    fn an_ambiguous_name_lists_the_devices_and_what_to_type() {
        assert_eq!(ambiguous("radv"), [1, 2, 3]);
        assert_eq!(ambiguous("7900"), [2, 3]);
        let error = chosen("7900").expect_err("two cards fit");
        assert!(!error.nothing_to_measure());
        assert_eq!(
            error.to_string(),
            "`--adapter 7900` fits 2 devices:\n  \
             #2 AMD Radeon RX 7900 XTX (RADV NAVI31) (vulkan, discrete-gpu, 0000:03:00.0)\n  \
             #3 AMD Radeon RX 7900 XTX (RADV NAVI31) (vulkan, discrete-gpu, 0000:0a:00.0)\n\
             type `--adapter 2` or `--adapter 3` instead"
        );
    }

    #[test]
    fn an_unknown_name_lists_what_there_is() {
        let error = chosen("geforce").expect_err("nothing fits");
        assert!(!error.nothing_to_measure());
        let text = error.to_string();
        assert!(
            text.starts_with("no adapter fits `--adapter geforce`"),
            "{text}"
        );
        for adapter in workstation() {
            assert!(text.contains(&adapter.summary()), "{text}");
        }
    }

    #[test]
    fn a_machine_without_adapters_is_told_what_to_install() {
        for wanted in [None, Some("cpu")] {
            let error = select(&[], wanted, &[]).expect_err("there is nothing");
            assert!(error.nothing_to_measure());
            let text = error.to_string();
            for package in [
                "apt install mesa-vulkan-drivers libvulkan1",
                "dnf install mesa-vulkan-drivers vulkan-loader",
                "pacman -S vulkan-swrast vulkan-icd-loader",
                "zypper install libvulkan_lvp libvulkan1",
                "ci/setup",
            ] {
                assert!(text.contains(package), "{text}");
            }
        }
        let error = select(&[], None, &[rtx_4090(None)]).expect_err("there is nothing");
        assert!(error.to_string().contains("10de:2684"), "{error}");
    }

    #[test]
    fn a_software_adapter_never_stands_in_silently_for_a_gpu() {
        let software = &workstation()[..1];
        let gpu = [rtx_4090(Some("nouveau"))];
        assert_eq!(select(software, None, &[]), Ok(0));
        let error = select(software, None, &gpu).expect_err("a GPU is hidden");
        assert!(error.nothing_to_measure());
        let text = error.to_string();
        for part in [
            "NVIDIA GPU [10de:2684] at 0000:01:00.0",
            "kernel driver nouveau",
            "NVK",
            "--adapter cpu",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn naming_a_software_adapter_insists_on_it() {
        let software = [workstation().remove(0), workstation().remove(5)];
        let gpu = [rtx_4090(None)];
        for (wanted, expected) in [
            ("cpu", 0),
            ("0", 0),
            ("llvmpipe", 0),
            ("vulkan", 0),
            ("gl", 1),
            ("5", 1),
        ] {
            assert_eq!(
                select(&software, Some(wanted), &gpu),
                Ok(expected),
                "{wanted}"
            );
        }
    }

    #[test]
    fn a_gpu_that_is_offered_is_used_even_where_another_is_hidden() {
        assert_eq!(select(&workstation(), None, &[rtx_4090(None)]), Ok(2));
    }
}
