//! From what an adapter says about itself to its datasheet.
//!
//! The rule is that doubt means none. The name must be one that drivers report
//! for the product, letter for letter; PCI ids and memory size, where known,
//! must agree with it; and every other part that reports the same name must be
//! ruled out by them. A PCI id alone decides nothing, because products share
//! ids.

use super::catalogue::Catalogue;
use super::model::{Datasheet, FigureKind, Lookalike, PciDevice};
use crate::units::Bytes;

/// What an adapter says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The adapter's name.
    pub name: &'a str,
    /// PCI vendor id; zero counts as unknown, as some backends report it.
    pub pci_vendor: Option<u32>,
    /// PCI device id; zero counts as unknown.
    pub pci_device: Option<u32>,
    /// The adapter's own memory.
    pub memory: Option<Bytes>,
}

/// The outcome of looking an adapter up.
#[derive(Clone, Debug, PartialEq)]
pub enum Match<'c> {
    /// The adapter is this product.
    Found(&'c Datasheet),
    /// There is no datasheet, or it is in doubt which.
    None {
        /// The reason, as a sentence without its full stop.
        why: String,
    },
}

impl<'c> Match<'c> {
    /// The datasheet, if there is one.
    pub fn datasheet(&self) -> Option<&'c Datasheet> {
        match self {
            Match::Found(sheet) => Some(sheet),
            Match::None { .. } => None,
        }
    }

    /// Why there is none.
    pub fn why(&self) -> Option<&str> {
        match self {
            Match::Found(_) => None,
            Match::None { why } => Some(why),
        }
    }
}

impl Catalogue {
    /// Looks up the datasheet of an adapter.
    pub fn identify(&self, identity: &Identity<'_>) -> Match<'_> {
        match self.decide(&Known::from(identity)) {
            Ok(sheet) => Match::Found(sheet),
            Err(why) => Match::None { why },
        }
    }

    fn decide(&self, known: &Known) -> Result<&Datasheet, String> {
        known.refuse_software()?;
        let sheet = self
            .datasheets()
            .iter()
            .find(|sheet| sheet.names.iter().any(|name| normalise(name) == known.name))
            .ok_or_else(|| self.why_not_listed(known))?;
        pci_ids_agree(sheet, known)?;
        memory_agrees(sheet, known)?;
        lookalikes_are_ruled_out(sheet, known)?;
        Ok(sheet)
    }

    /// Why a name that no datasheet lists leads to none, with the datasheet
    /// that somebody might have meant.
    fn why_not_listed(&self, known: &Known) -> String {
        let name = &known.name;
        let lookalike = self.datasheets().iter().find_map(|sheet| {
            let goes_by_name = |l: &&Lookalike| l.names.iter().any(|n| normalise(n) == *name);
            Some((sheet, sheet.lookalikes.iter().find(goes_by_name)?))
        });
        if let Some((sheet, Lookalike { what, differs, .. })) = lookalike {
            return format!(
                "“{name}” is {what}, for which `{}` does not hold: {differs}",
                sheet.id
            );
        }
        match self.suggested_by_pci_id(known) {
            Some((sheet, ids)) => format!(
                "no datasheet lists the name “{name}”; PCI id {ids} would suggest `{}`, but a name in doubt is no match",
                sheet.id
            ),
            None => format!("no datasheet lists the name “{name}”"),
        }
    }

    /// The datasheet with the adapter's PCI ids, unless other products have
    /// them too.
    fn suggested_by_pci_id(&self, known: &Known) -> Option<(&Datasheet, String)> {
        let (vendor, device) = (known.vendor?, known.device?);
        let has_ids = |sheet: &&Datasheet| {
            u32::from(sheet.pci_vendor.0) == vendor && listed(sheet, device).is_some()
        };
        let mut candidates = self.datasheets().iter().filter(has_ids);
        let sheet = candidates.next()?;
        let shared = candidates.next().is_some() || !listed(sheet, device)?.shared_with.is_empty();
        (!shared).then(|| (sheet, format!("{vendor:04x}:{device:04x}")))
    }
}

/// An identity with its name normalised and zeros taken for unknown.
struct Known {
    name: String,
    vendor: Option<u32>,
    device: Option<u32>,
    memory: Option<Bytes>,
}

impl From<&Identity<'_>> for Known {
    fn from(identity: &Identity<'_>) -> Self {
        Self {
            name: normalise(identity.name),
            vendor: identity.pci_vendor.filter(|&id| id != 0),
            device: identity.pci_device.filter(|&id| id != 0),
            memory: identity.memory.filter(|&bytes| bytes.0 != 0),
        }
    }
}

impl Known {
    fn refuse_software(&self) -> Result<(), String> {
        /// The Khronos vendor id of Mesa, under which its software rasterisers
        /// report themselves.
        const MESA: u32 = 0x10005;
        const NAMES: [&str; 5] = [
            "llvmpipe",
            "lavapipe",
            "softpipe",
            "swiftshader",
            "microsoft basic render driver",
        ];
        let name = self.name.to_lowercase();
        let is_warp = name
            .split(|c: char| !c.is_alphanumeric())
            .any(|w| w == "warp");
        if self.vendor == Some(MESA) || is_warp || NAMES.iter().any(|n| name.contains(n)) {
            return Err(format!(
                "“{}” is a software adapter, which has no datasheet",
                self.name
            ));
        }
        Ok(())
    }
}

/// A name without what drivers and graphics APIs add around it: outer and
/// repeated spaces, and the suffix of NVIDIA's OpenGL driver.
pub(super) fn normalise(name: &str) -> String {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    match name.strip_suffix("/PCIe/SSE2") {
        Some(bare) => bare.trim_end().to_owned(),
        None => name,
    }
}

fn listed(sheet: &Datasheet, device: u32) -> Option<&PciDevice> {
    sheet
        .pci_devices
        .iter()
        .find(|pci| u32::from(pci.id.0) == device)
}

fn pci_ids_agree(sheet: &Datasheet, known: &Known) -> Result<(), String> {
    let name = &known.name;
    if let Some(vendor) = known.vendor
        && vendor != u32::from(sheet.pci_vendor.0)
    {
        return Err(format!(
            "“{name}” is `{}` by name, but its PCI vendor is {vendor:04x}, not {}",
            sheet.id, sheet.pci_vendor
        ));
    }
    let Some(device) = known.device else {
        return Ok(());
    };
    if sheet.pci_devices.is_empty() || listed(sheet, device).is_some() {
        return Ok(());
    }
    let has_id = |l: &&Lookalike| l.pci_devices.iter().any(|id| u32::from(id.0) == device);
    Err(match sheet.lookalikes.iter().find(has_id) {
        Some(Lookalike { what, differs, .. }) => format!(
            "PCI device {device:04x} with the name “{name}” is {what}, for which `{}` does not hold: {differs}",
            sheet.id
        ),
        None => format!(
            "“{name}” is `{}` by name, but PCI device {device:04x} is not among its ids",
            sheet.id
        ),
    })
}

fn memory_agrees(sheet: &Datasheet, known: &Known) -> Result<(), String> {
    let sizes = memory_sizes(sheet);
    match known.memory {
        Some(memory) if !sizes.is_empty() && !sizes.iter().any(|&gb| is_size(memory, gb)) => {
            let stated: Vec<_> = sizes.iter().map(|gb| format!("{gb} GB")).collect();
            Err(format!(
                "“{}” is `{}` by name, but it has {memory} of memory where the datasheet states {}",
                known.name,
                sheet.id,
                stated.join(" or ")
            ))
        }
        _ => Ok(()),
    }
}

fn lookalikes_are_ruled_out(sheet: &Datasheet, known: &Known) -> Result<(), String> {
    match sheet.lookalikes.iter().find(|l| !is_ruled_out(l, known)) {
        None => Ok(()),
        Some(Lookalike { what, differs, .. }) => Err(format!(
            "“{}” is the name both of `{}` and of {what}, and nothing here tells them apart ({differs})",
            known.name, sheet.id
        )),
    }
}

fn is_ruled_out(lookalike: &Lookalike, known: &Known) -> bool {
    let has_other_names = !lookalike.names.is_empty();
    let has_other_ids = known.device.is_some_and(|device| {
        let ids = &lookalike.pci_devices;
        !ids.is_empty() && ids.iter().all(|id| u32::from(id.0) != device)
    });
    let has_other_memory = known
        .memory
        .zip(lookalike.memory_gb)
        .is_some_and(|(memory, gb)| !is_size(memory, gb));
    has_other_names || has_other_ids || has_other_memory
}

/// The memory sizes in GB that one reported device of the product may have.
fn memory_sizes(sheet: &Datasheet) -> Vec<f64> {
    let others = sheet
        .variants
        .iter()
        .filter_map(|variant| variant.figures.get(&FigureKind::Memory))
        .map(|figure| figure.value / f64::from(sheet.devices_reported.get()));
    sheet
        .per_device(FigureKind::Memory)
        .into_iter()
        .chain(others)
        .collect()
}

/// Whether a driver that reports `memory` may speak of a card sold with `gb`
/// gigabytes. Vendors often mean binary gigabytes, and drivers keep some for
/// themselves and for error correction.
fn is_size(memory: Bytes, gb: f64) -> bool {
    const KEPT_BACK: f64 = 0.05;
    const SLACK: f64 = 0.01;
    let bytes = memory.0 as f64;
    (gb * 1e9 * (1.0 - KEPT_BACK)..=gb * f64::from(1 << 30) * (1.0 + SLACK)).contains(&bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NVIDIA: u32 = 0x10de;
    const AMD: u32 = 0x1002;

    fn gib(count: u64) -> Option<Bytes> {
        Some(Bytes(count << 30))
    }

    fn named(name: &str) -> Identity<'_> {
        Identity {
            name,
            pci_vendor: None,
            pci_device: None,
            memory: None,
        }
    }

    fn with_pci(name: &str, vendor: u32, device: u32) -> Identity<'_> {
        Identity {
            pci_vendor: Some(vendor),
            pci_device: Some(device),
            ..named(name)
        }
    }

    /// The id of the datasheet found, or the reason there is none.
    fn identify(identity: Identity<'_>) -> Result<&'static str, String> {
        match Catalogue::builtin().identify(&identity) {
            Match::Found(sheet) => Ok(&sheet.id),
            Match::None { why } => Err(why),
        }
    }

    fn found(identity: Identity<'_>) -> &'static str {
        identify(identity).unwrap_or_else(|why| panic!("{}: {why}", identity.name))
    }

    fn why_not(identity: Identity<'_>) -> String {
        match identify(identity) {
            Ok(id) => panic!("{} was taken for {id}", identity.name),
            Err(why) => why,
        }
    }

    #[test]
    fn a_reported_name_finds_its_datasheet() {
        assert_eq!(
            found(with_pci("NVIDIA A100-SXM4-80GB", NVIDIA, 0x20b2)),
            "nvidia-a100-sxm4-80gb"
        );
        assert_eq!(found(named("Tesla T4")), "nvidia-t4");
        assert_eq!(
            found(with_pci("NVIDIA H100 80GB HBM3", NVIDIA, 0x2330)),
            "nvidia-h100-sxm5"
        );
        assert_eq!(
            found(named("Intel(R) Arc(tm) B580 Graphics (BMG G21)")),
            "intel-arc-b580"
        );
    }

    #[test]
    fn every_reported_name_leads_to_its_own_datasheet_or_to_none() {
        for sheet in Catalogue::builtin().datasheets() {
            for name in &sheet.names {
                let outcome = Catalogue::builtin().identify(&named(name));
                let doubtful = sheet.lookalikes.iter().any(|l| l.names.is_empty());
                let expected = (!doubtful).then_some(sheet.id.as_str());
                assert_eq!(
                    outcome.datasheet().map(|s| s.id.as_str()),
                    expected,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn decorations_by_drivers_do_not_hide_a_name() {
        let plain = "nvidia-rtx-3090";
        assert_eq!(found(named("NVIDIA GeForce RTX 3090/PCIe/SSE2")), plain);
        assert_eq!(found(named("  NVIDIA  GeForce RTX 3090 ")), plain);
        assert_eq!(
            found(with_pci(
                "AMD Radeon RX 7900 XTX (RADV NAVI31)",
                AMD,
                0x744c
            )),
            "amd-rx-7900-xtx"
        );
        assert_eq!(
            found(with_pci("AMD Radeon RX 7900 XTX", AMD, 0x744c)),
            "amd-rx-7900-xtx"
        );
    }

    #[test]
    fn a_name_that_begins_another_name_does_not_match_it() {
        let pairs = [
            ("NVIDIA A10", "nvidia-a10"),
            ("NVIDIA A100-SXM4-40GB", "nvidia-a100-sxm4-40gb"),
            ("NVIDIA L4", "nvidia-l4"),
            ("NVIDIA L40S", "nvidia-l40s"),
            ("NVIDIA H200", "nvidia-h200-sxm"),
            ("NVIDIA H200 NVL", "nvidia-h200-nvl"),
        ];
        for (name, id) in pairs {
            assert_eq!(found(named(name)), id);
        }
        for name in [
            "NVIDIA A10G",
            "NVIDIA A10M",
            "NVIDIA A1",
            "NVIDIA A100",
            "NVIDIA GeForce RTX 3090 Ti",
            "NVIDIA GeForce RTX 4080 SUPER",
            "NVIDIA GeForce RTX 4090 D",
            "NVIDIA GeForce RTX 4090 Laptop GPU",
            "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
            "nvidia geforce rtx 4090",
            "AMD Radeon RX 6800",
            "AMD Radeon RX 7900 XT (RADV NAVI31)",
            "",
        ] {
            why_not(named(name));
        }
        insta::assert_snapshot!(why_not(named("NVIDIA A100")), @"no datasheet lists the name “NVIDIA A100”");
    }

    #[test]
    fn a_part_known_for_being_mistaken_is_named() {
        insta::assert_snapshot!(why_not(named("NVIDIA L40")),
            @"“NVIDIA L40” is the L40, for which `nvidia-l40s` does not hold: its datasheet states half the tensor rate (181 TFLOP/s FP16)");
        assert_eq!(
            found(with_pci("NVIDIA GH200 480GB", NVIDIA, 0x2342)),
            "nvidia-gh200"
        );
        let hbm3e = why_not(with_pci("NVIDIA GH200 144G HBM3e", NVIDIA, 0x2348));
        assert!(hbm3e.contains("4.9 TB/s"), "{hbm3e}");
        why_not(with_pci("NVIDIA GH200 480GB", NVIDIA, 0x2348));
    }

    #[test]
    fn pci_ids_must_agree_with_the_name() {
        let rtx_3080 = "NVIDIA GeForce RTX 3080";
        assert_eq!(
            found(with_pci(rtx_3080, NVIDIA, 0x2206)),
            "nvidia-rtx-3080-10gb"
        );
        insta::assert_snapshot!(why_not(with_pci(rtx_3080, NVIDIA, 0x220a)),
            @"PCI device 220a with the name “NVIDIA GeForce RTX 3080” is the 12 GB GeForce RTX 3080, for which `nvidia-rtx-3080-10gb` does not hold: it has 8960 cores and 912 GB/s");
        insta::assert_snapshot!(why_not(with_pci(rtx_3080, NVIDIA, 0x1234)),
            @"“NVIDIA GeForce RTX 3080” is `nvidia-rtx-3080-10gb` by name, but PCI device 1234 is not among its ids");
        insta::assert_snapshot!(why_not(with_pci(rtx_3080, AMD, 0x2206)),
            @"“NVIDIA GeForce RTX 3080” is `nvidia-rtx-3080-10gb` by name, but its PCI vendor is 1002, not 10de");
        assert_eq!(
            found(with_pci("NVIDIA L4", 0, 0)),
            "nvidia-l4",
            "zeros are unknown ids"
        );
    }

    #[test]
    fn a_pci_id_alone_suggests_but_never_matches() {
        insta::assert_snapshot!(why_not(with_pci("Graphics Device", NVIDIA, 0x2684)),
            @"no datasheet lists the name “Graphics Device”; PCI id 10de:2684 would suggest `nvidia-rtx-4090`, but a name in doubt is no match");
        for shared in [0x73bf, 0x744c, 0x7550, 0x740c] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(why_not(with_pci("AMD Radeon", AMD, shared)),
                    @"no datasheet lists the name “AMD Radeon”");
            }
        }
        let other_vendor = why_not(with_pci("Graphics Device", AMD, 0x2684));
        assert!(!other_vendor.contains("suggest"), "{other_vendor}");
    }

    #[test]
    fn a_shared_pci_id_matches_by_name() {
        assert_eq!(
            found(with_pci("AMD Radeon RX 6800 XT (RADV NAVI21)", AMD, 0x73bf)),
            "amd-rx-6800-xt"
        );
        assert_eq!(
            found(with_pci("AMD Radeon RX 6900 XT", AMD, 0x73bf)),
            "amd-rx-6900-xt"
        );
    }

    #[test]
    fn memory_tells_cards_of_one_name_apart() {
        let card = |device, memory| Identity {
            memory,
            ..with_pci("NVIDIA GeForce RTX 3060", NVIDIA, device)
        };
        assert_eq!(found(card(0x2504, gib(12))), "nvidia-rtx-3060-12gb");
        insta::assert_snapshot!(why_not(card(0x2504, gib(8))),
            @"“NVIDIA GeForce RTX 3060” is `nvidia-rtx-3060-12gb` by name, but it has 8 GiB of memory where the datasheet states 12 GB");
        insta::assert_snapshot!(why_not(card(0x2504, None)),
            @"“NVIDIA GeForce RTX 3060” is the name both of `nvidia-rtx-3060-12gb` and of another 8 GB GeForce RTX 3060, and nothing here tells them apart (it has less memory bandwidth than the 12 GB card)");
        let ga104 = why_not(card(0x24c7, gib(12)));
        assert!(ga104.contains("8 GB GeForce RTX 3060"), "{ga104}");

        let opengl = |memory| Identity {
            memory,
            ..named("NVIDIA GeForce RTX 3080/PCIe/SSE2")
        };
        assert_eq!(found(opengl(gib(10))), "nvidia-rtx-3080-10gb");
        why_not(opengl(gib(12)));
        why_not(opengl(None));
    }

    #[test]
    fn both_memory_sizes_of_a_v100_have_the_same_datasheet() {
        for (name, size) in [("Tesla V100-SXM2-16GB", 16), ("Tesla V100-SXM2-32GB", 32)] {
            let memory = gib(size);
            let identity = Identity {
                memory,
                ..named(name)
            };
            assert_eq!(found(identity), "nvidia-v100-sxm2");
        }
    }

    #[test]
    fn what_drivers_keep_back_is_allowed_for() {
        // (card, MiB that the driver reports)
        let seen = [
            ("Tesla T4", 15_360),
            ("NVIDIA A10", 23_028),
            ("NVIDIA A100-SXM4-40GB", 40_960),
            ("NVIDIA H100 80GB HBM3", 81_559),
            ("NVIDIA H200", 143_771),
            ("NVIDIA B200", 183_359),
        ];
        for (name, mebibytes) in seen {
            found(Identity {
                memory: Some(Bytes(mebibytes << 20)),
                ..named(name)
            });
        }
    }

    #[test]
    fn a_partition_or_a_stack_is_not_the_whole_part() {
        let of = |name, memory| Identity {
            memory,
            ..named(name)
        };
        assert_eq!(found(of("AMD Instinct MI250X", gib(64))), "amd-mi250x");
        why_not(of("AMD Instinct MI250X", gib(128)));
        why_not(of("AMD Instinct MI300X", gib(24)));
        let intel = "Intel(R) Data Center GPU Max 1550";
        assert_eq!(found(of(intel, gib(128))), "intel-max-1550");
        why_not(of(intel, gib(64)));
        why_not(named(intel));
    }

    #[test]
    fn apple_bins_cannot_be_told_apart() {
        insta::assert_snapshot!(why_not(named("Apple M2 Max")),
            @"“Apple M2 Max” is the name both of `apple-m2-max` and of the bin with a 30-core GPU, and nothing here tells them apart (its peaks are lower, and no graphics API shows the number of GPU cores)");
        for sheet in Catalogue::builtin().datasheets() {
            if sheet.vendor == "Apple" {
                let name = &sheet.names[0];
                why_not(Identity {
                    memory: gib(64),
                    ..named(name)
                });
            }
        }
    }

    #[test]
    fn software_adapters_have_no_datasheet() {
        insta::assert_snapshot!(why_not(with_pci("llvmpipe (LLVM 19.1.7, 256 bits)", 0x10005, 0)),
            @"“llvmpipe (LLVM 19.1.7, 256 bits)” is a software adapter, which has no datasheet");
        for identity in [
            named("SwiftShader Device (Subzero)"),
            with_pci("SwiftShader Device (LLVM 10.0.0)", 0x1ae0, 0xc0de),
            named("Microsoft Basic Render Driver"),
            named("Microsoft Direct3D WARP adapter"),
            with_pci("some new rasteriser", 0x10005, 0),
        ] {
            assert!(why_not(identity).contains("software adapter"));
        }
    }

    /// A reported name, as it is or with one character dropped, doubled or
    /// added.
    fn nearly_a_name() -> impl Strategy<Value = String> {
        let names: Vec<String> = Catalogue::builtin()
            .datasheets()
            .iter()
            .flat_map(|sheet| sheet.names.clone())
            .collect();
        (
            prop::sample::select(names),
            0..4,
            any::<prop::sample::Index>(),
            "[ -~]",
        )
            .prop_map(|(name, change, at, extra)| {
                let mut letters: Vec<char> = name.chars().collect();
                let at = at.index(letters.len());
                match change {
                    0 => {}
                    1 => drop(letters.remove(at)),
                    2 => letters.insert(at, letters[at]),
                    _ => letters.extend(extra.chars()),
                }
                letters.into_iter().collect()
            })
    }

    proptest! {
        #[test]
        fn only_exact_names_match(
            name in prop_oneof![nearly_a_name(), ".{0,40}", "(NVIDIA|AMD|Intel|Apple) [A-Z0-9 ]{0,12}"],
            vendor in prop::option::of(prop::sample::select(vec![0, NVIDIA, AMD, 0x8086, 0x10005])),
            device in prop::option::of(any::<u32>()),
            memory in prop::option::of((0_u64..300).prop_map(|count| Bytes(count << 30))),
        ) {
            let identity = Identity { name: &name, pci_vendor: vendor, pci_device: device, memory };
            match Catalogue::builtin().identify(&identity) {
                Match::Found(sheet) => prop_assert!(sheet.names.contains(&normalise(&name))),
                Match::None { why } => prop_assert!(!why.is_empty()),
            }
        }
    }
}
