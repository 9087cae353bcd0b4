//! Which adapters a run on several of them uses.
//!
//! `all` stands for every GPU of the machine, once each: a card that several
//! backends or drivers reach is measured through the best of them, in the order of
//! preference that holds for a single adapter. Software adapters are among them only
//! where there is no GPU.

use super::{SelectError, rank, select};
use crate::gpu::adapter::{AdapterDescription, Backend};
use crate::gpu::bus::VisibleGpu;
use crate::gpu::identity;

/// Several adapters of a machine, by their positions in the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Several {
    /// Those to use, in the order of the list.
    pub chosen: Vec<usize>,
    /// Those that `all` does not stand for, and why.
    pub left_out: Vec<(usize, String)>,
}

/// What the text of `--adapter` names where it names more than one: `all`, or a list
/// with commas. A comma with a space behind it is a part of a name.
pub fn listed(wanted: &str) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for part in wanted.split(',') {
        match names.last_mut() {
            Some(last) if part.starts_with(' ') => *last += &format!(",{part}"),
            _ => names.push(part.to_owned()),
        }
    }
    (names.len() > 1 || is_all(&names[0])).then_some(names)
}

fn is_all(name: &str) -> bool {
    name.trim().eq_ignore_ascii_case("all")
}

/// The adapters that `names` stand for, each `all` or what [`select`] takes.
///
/// # Errors
/// As [`select`] for any of the names.
pub fn several(
    adapters: &[AdapterDescription],
    names: &[String],
    visible: &[VisibleGpu],
) -> Result<Several, SelectError> {
    let mut several = Several::default();
    for name in names {
        if is_all(name) {
            let all = all(adapters, visible)?;
            several.chosen.extend(all.chosen);
            several.left_out = all.left_out;
        } else {
            several.chosen.push(select(adapters, Some(name), visible)?);
        }
    }
    several.chosen.sort_unstable();
    several.chosen.dedup();
    let chosen = &several.chosen;
    several.left_out.retain(|(left, _)| !chosen.contains(left));
    Ok(several)
}

/// Every GPU once, or every software adapter where there is none.
fn all(adapters: &[AdapterDescription], visible: &[VisibleGpu]) -> Result<Several, SelectError> {
    let best = select(adapters, None, visible)?;
    let mut by_rank: Vec<usize> = (0..adapters.len()).collect();
    by_rank.sort_by_key(|&position| rank(&adapters[position]));
    let mut several = Several::default();
    for position in by_rank {
        let adapter = &adapters[position];
        let known = several.chosen.iter().map(|&chosen| &adapters[chosen]);
        match why_not(adapter, &adapters[best], known) {
            Some(why) => several.left_out.push((position, why)),
            None => several.chosen.push(position),
        }
    }
    several.left_out.sort();
    Ok(several)
}

/// Why `all` does not stand for an adapter, given the best one and those that it
/// stands for already.
fn why_not<'a>(
    adapter: &AdapterDescription,
    best: &AdapterDescription,
    mut known: impl Iterator<Item = &'a AdapterDescription>,
) -> Option<String> {
    if adapter.backend == Backend::Noop && best.backend != Backend::Noop {
        return Some("it does nothing".into());
    }
    if adapter.is_software() && !best.is_software() {
        return Some("it is a software adapter beside a GPU; measured only where named".into());
    }
    let twin = known.find(|known| {
        // Where a backend does not tell which of two cards it is, it may be either.
        let may_be = adapter.pci_address.is_none()
            && adapter.backend != known.backend
            && identity::may_be_one_device(adapter, known);
        adapter.physical_device == known.physical_device || may_be
    })?;
    let sure = adapter.physical_device == twin.physical_device;
    let verb = if sure { "is" } else { "may be" };
    Some(format!(
        "it {verb} the device of #{}, which is measured through {}",
        twin.index, twin.backend
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{machine, workstation};
    use super::*;
    use crate::gpu::adapter::Backend::{Dx12, Gl, Vulkan};
    use crate::gpu::adapter::DeviceType::{Cpu, DiscreteGpu, Other};
    use crate::gpu::bus::tests::rtx_4090;
    use crate::gpu::bus::{AMD, NVIDIA};

    const LLVMPIPE: &str = "llvmpipe (LLVM 15.0.6, 256 bits)";

    fn of(adapters: &[AdapterDescription], wanted: &str) -> Result<Several, SelectError> {
        several(adapters, &listed(wanted).expect("several"), &[])
    }

    fn left_out(several: &Several) -> Vec<usize> {
        several.left_out.iter().map(|(left, _)| *left).collect()
    }

    #[test]
    fn a_list_has_commas_and_a_name_may_have_them() {
        let names = |wanted| listed(wanted).unwrap_or_default();
        assert_eq!(names("all"), ["all"]);
        assert_eq!(names("All,cpu"), ["All", "cpu"]);
        assert_eq!(names("0,2,0000:0a:00.0"), ["0", "2", "0000:0a:00.0"]);
        assert_eq!(names("0,,2"), ["0", "", "2"]);
        assert_eq!(
            names("llvmpipe (LLVM 15.0.6, 256 bits),gl"),
            [LLVMPIPE, "gl"]
        );
        for one in ["", "0", "cpu", LLVMPIPE, "allwinner"] {
            assert_eq!(listed(one), None, "{one}");
        }
    }

    /// 0 lavapipe, 1 an APU, 2 and 3 two cards of one model, 4 the APU under OpenGL, 5
    /// llvmpipe.
    #[test]
    fn all_is_every_gpu_once_through_its_best_backend() {
        let all = of(&workstation(), "all").unwrap();
        assert_eq!(all.chosen, [1, 2, 3]);
        let why = |text: &str| text.to_owned();
        let software = "it is a software adapter beside a GPU; measured only where named";
        let twin = "it is the device of #1, which is measured through vulkan";
        assert_eq!(
            all.left_out,
            [(0, why(software)), (4, why(twin)), (5, why(software))]
        );
    }

    #[test]
    fn what_is_named_is_measured_whatever_it_is() {
        let named = of(&workstation(), "all,cpu").unwrap();
        assert_eq!(
            (named.chosen.as_slice(), left_out(&named)),
            (&[0, 1, 2, 3][..], vec![4, 5])
        );
        let named = of(&workstation(), "4,all,1").unwrap();
        assert_eq!(named.chosen, [1, 2, 3, 4]);
        let named = of(&workstation(), "3,2,03:00.0").unwrap();
        assert_eq!(
            (named.chosen.as_slice(), left_out(&named)),
            (&[2, 3][..], vec![])
        );
        let unknown = of(&workstation(), "2,geforce");
        assert!(matches!(unknown, Err(SelectError::Unknown { wanted, .. }) if wanted == "geforce"));
    }

    /// OpenGL tells no address, and Direct3D's is that of the first card for both.
    #[test]
    fn an_adapter_that_may_be_any_of_two_cards_is_no_third_one() {
        let name = "NVIDIA GeForce RTX 3090";
        let card = |backend, address| (name, backend, DiscreteGpu, address, (NVIDIA, 0x2204));
        let machine = machine(vec![
            (
                "NVIDIA GeForce RTX 3090/PCIe/SSE2",
                Gl,
                Other,
                None,
                (NVIDIA, 0),
            ),
            card(Dx12, Some("0000:01:00.0")),
            card(Dx12, Some("0000:01:00.0")),
            card(Vulkan, Some("0000:01:00.0")),
            card(Vulkan, Some("0000:02:00.0")),
        ]);
        let all = of(&machine, "all").unwrap();
        assert_eq!(
            (all.chosen.as_slice(), left_out(&all)),
            (&[3, 4][..], vec![0, 1, 2])
        );
        let why = "it may be the device of #3, which is measured through vulkan";
        assert_eq!(all.left_out[0].1, why);
    }

    #[test]
    fn twins_that_one_backend_lists_without_addresses_are_two() {
        let twin = (
            "AMD Radeon Pro W6800X",
            Vulkan,
            DiscreteGpu,
            None,
            (AMD, 0x73a3),
        );
        let all = of(&machine(vec![twin, twin]), "all").unwrap();
        assert_eq!(all.chosen, [0, 1]);
    }

    #[test]
    fn without_a_gpu_all_is_every_software_adapter() {
        let swiftshader = "SwiftShader Device (Subzero)";
        let machine = machine(vec![
            (LLVMPIPE, Vulkan, Cpu, None, (0x10005, 0)),
            (swiftshader, Vulkan, Cpu, None, (0x1ae0, 0xc0de)),
            (LLVMPIPE, Gl, Cpu, None, (0x10005, 0)),
        ]);
        let all = of(&machine, "all").unwrap();
        assert_eq!(
            (all.chosen.as_slice(), left_out(&all)),
            (&[0, 1][..], vec![2])
        );
        let hidden = several(&machine, &["all".to_owned()], &[rtx_4090(None)]);
        assert!(matches!(hidden, Err(SelectError::HiddenGpu { .. })));
        assert!(matches!(of(&[], "all"), Err(SelectError::NoAdapter { .. })));
    }
}
