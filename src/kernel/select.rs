//! From filters on the command line to the cases of a run.

use std::collections::HashSet;

use globset::{Glob, GlobSet};

use super::id::{CaseId, IdError};
use super::shape::Shape;
use super::{BEST, CATALOGUE, Kernel, ceiling_of, contenders};
use crate::likeness::{likeness, nearest};

/// Cases that run without a filter, ceilings included, at most.
pub const MOST_HEADLINE_CASES: usize = 16;

/// Kernels that are named to somebody who asked for one that is not there.
const NAMED_IN_A_HINT: usize = 5;

/// Whether the case is one of those that run without a filter.
pub fn is_headline(id: &CaseId, software: bool) -> bool {
    let text = id.to_string();
    headline(software).contains(&text.as_str())
}

/// What runs without a filter: at most sixteen cases that tell the story of an
/// adapter. Sizes differ, since a software adapter would take minutes for what
/// a GPU needs to be busy at all.
fn headline(software: bool) -> &'static [&'static str] {
    if software {
        &[
            "peak/f32/fma/device",
            "bandwidth/f32/copy/256MiB",
            "latency/none/dispatch/empty",
            "matmul/f32/naive/256x256x256",
            "matmul/f32/workgroup/256x256x256",
            "matmul/f32/register/256x256x256",
            "matmul/f32/best/1024x1024x1024",
            "matmul/f32/best/1000x777x333",
            "matmul/f16-f32acc/best/1024x1024x1024",
            "attention/f32/materialised/b1h8s256d64",
            "attention/f32/flash/b1h8s256d64",
            "attention/f32/best/b1h8s512d64",
            "attention/f32/best/b1h8s512d64-causal",
            "attention/f16/best/b1h8s512d64",
        ]
    } else {
        &[
            "peak/f32/fma/device",
            "bandwidth/f32/copy/256MiB",
            "latency/none/dispatch/empty",
            "matmul/f32/naive/1024x1024x1024",
            "matmul/f32/workgroup/4096x4096x4096",
            "matmul/f32/register/4096x4096x4096",
            "matmul/f32/best/4096x4096x4096",
            "matmul/f32/best/1000x777x333",
            "matmul/f16-f32acc/best/4096x4096x4096",
            "attention/f32/materialised/b4h32s1024d64",
            "attention/f32/flash/b4h32s4096d64",
            "attention/f32/best/b4h32s4096d64",
            "attention/f32/best/b4h32s4096d64-causal",
            "attention/f16/best/b4h16s4096d128",
        ]
    }
}

/// Sides of the square products of a size sweep.
pub const SWEEP: [u32; 7] = [512, 768, 1024, 1536, 2048, 3072, 4096];
/// What is swept without a filter.
const SWEPT: &str = "matmul/f32/best/1024x1024x1024";

/// One case of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// Which case.
    pub id: CaseId,
    /// Named by its full id, so that not being able to run it is an error.
    pub explicit: bool,
}

/// A filter or shape that selects nothing.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// Neither a glob that matches a listed case nor an id.
    #[error(
        "no case matches \"{filter}\"; cases are operation/precision/variant/shape, {}",
        hint(.kernels)
    )]
    NoMatch {
        /// The filter.
        filter: String,
        /// The kernels whose names look most like it.
        kernels: Vec<String>,
    },
    /// Looks like a full id, but is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Not a glob.
    #[error("\"{filter}\" is not a valid filter: {cause}")]
    Glob {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        cause: String,
    },
    /// `--shape` that no selected operation takes.
    #[error(
        "\"{0}\" is not a shape of any selected operation: expected one such as 1000x777x333 for matmul, b1h8s512d64-causal for attention or 64MiB for bandwidth"
    )]
    Shape(String),
    /// `--sweep` without a matrix product.
    #[error("--sweep needs a matrix product among the selected cases, such as matmul/f16/best")]
    Sweep,
}

/// The cases that `filters` select, in catalogue order, each once, with the
/// ceilings that they are held against in front. Without filters, the headline
/// list. Each of `shapes` is added for every selected kernel that takes it, and
/// with `sweep` the sizes of [`SWEEP`].
///
/// # Errors
/// When a filter selects nothing or a shape fits no selected operation.
pub fn select(
    filters: &[String],
    shapes: &[String],
    sweep: bool,
    software: bool,
) -> Result<Vec<Selected>, SelectError> {
    let mut cases = Vec::new();
    if sweep && filters.is_empty() {
        cases.extend(listed(SWEPT));
    } else if filters.is_empty() {
        cases.extend(headline(software).iter().filter_map(|id| listed(id)));
    }
    for filter in filters {
        cases.extend(matching(filter, software)?);
    }
    for shape in shapes {
        let added = with_shape(&cases, shape);
        if added.is_empty() {
            return Err(SelectError::Shape(shape.clone()));
        }
        cases.extend(added);
    }
    if sweep {
        let added: Vec<Selected> = SWEEP
            .iter()
            .flat_map(|size| with_shape(&cases, &format!("{size}x{size}x{size}")))
            .map(|case| Selected {
                // Nobody named this very size.
                explicit: false,
                ..case
            })
            .collect();
        if added.is_empty() {
            return Err(SelectError::Sweep);
        }
        cases.extend(added);
    }
    Ok(ordered(cases, software))
}

/// The kernels' cases that `filters` select, in catalogue order, each once: all
/// listed ones without a filter. The best kernel's are those of all that may be it.
///
/// # Errors
/// When a filter selects nothing.
pub fn kernels(filters: &[String], software: bool) -> Result<Vec<CaseId>, SelectError> {
    let everything = ["*".to_owned()];
    let filters = if filters.is_empty() {
        &everything
    } else {
        filters
    };
    let mut cases: Vec<CaseId> = Vec::new();
    for filter in filters {
        for Selected { id, .. } in matching(filter, software)? {
            match id.is_best() {
                true => cases.extend(contenders(&id).map(|kernel| kernel.case(id.shape))),
                false => cases.push(id),
            }
        }
    }
    let position = |id: &CaseId| {
        let kernel = |k: &Kernel| k.matches(id) && k.variant == id.variant;
        CATALOGUE.iter().position(kernel)
    };
    let mut seen = HashSet::new();
    cases.retain(|id| seen.insert(id.clone()));
    cases.sort_by_key(position);
    Ok(cases)
}

/// The cases that `filters` themselves select, as [`select`], without the ceilings
/// that others are held against. A filter that selects nothing adds nothing.
pub fn listing(filters: &[String], software: bool) -> Vec<CaseId> {
    let cases: Vec<Selected> = if filters.is_empty() {
        let headline = headline(software).iter();
        headline.filter_map(|id| listed(id)).collect()
    } else {
        let matching = |filter: &String| matching(filter, software).unwrap_or_default();
        filters.iter().flat_map(matching).collect()
    };
    let cases = sorted(unique(cases));
    cases.into_iter().map(|case| case.id).collect()
}

fn listed(id: &str) -> Option<Selected> {
    let id = id.parse().ok()?;
    Some(Selected {
        id,
        explicit: false,
    })
}

/// Cases of one filter: a full id, a glob over the listed cases, or the leading
/// parts of an id.
fn matching(filter: &str, software: bool) -> Result<Vec<Selected>, SelectError> {
    let is_glob = filter.contains(['*', '?', '[', '{']);
    if !is_glob && filter.matches('/').count() == 3 {
        let id: CaseId = filter.parse()?;
        let known = Kernel::find(&id).is_some() || id.is_best() && contenders(&id).next().is_some();
        if !known {
            return Err(no_match(filter));
        }
        return Ok(vec![Selected { id, explicit: true }]);
    }
    let pattern = if is_glob {
        filter.to_owned()
    } else {
        format!("{}/*", filter.trim_end_matches('/'))
    };
    let glob = glob(&pattern).map_err(|cause| SelectError::Glob {
        filter: filter.to_owned(),
        cause,
    })?;
    let cases: Vec<Selected> = all(software)
        .filter(|id| glob.is_match(id.to_string()))
        .map(|id| Selected {
            id,
            explicit: false,
        })
        .collect();
    if cases.is_empty() {
        return Err(no_match(filter));
    }
    Ok(cases)
}

/// A pattern over ids, ready to match.
///
/// # Errors
/// What is wrong with it.
pub fn glob(pattern: &str) -> Result<GlobSet, String> {
    /// Far longer than any id: what it compiles to stays small.
    const LONGEST: usize = 1000;
    if pattern.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let glob = Glob::new(pattern).map_err(|error| error.kind().to_string())?;
    // A single glob's own matcher panics where it does not compile.
    let set = GlobSet::builder().add(glob).build();
    set.map_err(|error| error.kind().to_string())
}

/// Every listed case: each kernel on each of its shapes, and after the kernels
/// of an operation and precision the best of them, on the shapes of any.
fn all(software: bool) -> impl Iterator<Item = CaseId> {
    let of = |kernel: &Kernel| (kernel.operation, kernel.precision);
    let groups = CATALOGUE.chunk_by(move |a, b| of(a) == of(b));
    groups.flat_map(move |kernels| {
        let cases = kernels.iter().flat_map(|kernel| {
            let shapes = (kernel.shapes)(software).into_iter();
            shapes.map(|shape| kernel.case(shape))
        });
        let cases: Vec<CaseId> = cases.collect();
        let mut best: Vec<CaseId> = Vec::new();
        for id in cases.iter().map(|id| id.with_variant(BEST)) {
            if contenders(&id).next().is_some() && !best.contains(&id) {
                best.push(id);
            }
        }
        cases.into_iter().chain(best)
    })
}

/// The case that `text` names by its full id, and its kernel.
///
/// # Errors
/// When it is no id, or the catalogue has no such kernel.
pub fn named(text: &str) -> Result<(CaseId, &'static Kernel), SelectError> {
    let id: CaseId = text.parse()?;
    let kernel = Kernel::find(&id).ok_or_else(|| no_match(text))?;
    Ok((id, kernel))
}

fn no_match(filter: &str) -> SelectError {
    let names = CATALOGUE
        .iter()
        .map(|k| format!("{}/{}/{}", k.operation, k.precision, k.variant));
    // A shape is like none of them.
    let wanted: Vec<&str> = filter.splitn(4, '/').take(3).collect();
    let wanted = wanted.join("/");
    SelectError::NoMatch {
        filter: filter.to_owned(),
        kernels: nearest(names, |name| likeness(&wanted, name), NAMED_IN_A_HINT),
    }
}

/// What else to select.
fn hint(kernels: &[String]) -> String {
    match kernels {
        [] => "such as matmul/f32/best/1024x1024x1024".to_owned(),
        kernels => format!(
            "and kernels like it are {}; globs match listed shapes, --shape adds others",
            kernels.join(", ")
        ),
    }
}

fn with_shape(cases: &[Selected], text: &str) -> Vec<Selected> {
    cases
        .iter()
        .filter_map(|case| {
            let shape = Shape::parse(case.id.operation, text).ok()?;
            let id = CaseId {
                shape,
                ..case.id.clone()
            };
            Some(Selected { id, explicit: true })
        })
        .collect()
}

/// Adds missing ceilings, removes repeats (explicit wins), sorts by catalogue.
fn ordered(cases: Vec<Selected>, software: bool) -> Vec<Selected> {
    let ceilings = cases.iter().flat_map(|case| ceilings(&case.id, software));
    let ceilings: Vec<Selected> = ceilings
        .map(|id| Selected {
            id,
            explicit: false,
        })
        .collect();
    sorted(unique(cases.into_iter().chain(ceilings)))
}

/// Each case once; explicit wins.
fn unique(cases: impl IntoIterator<Item = Selected>) -> Vec<Selected> {
    let mut unique: Vec<Selected> = Vec::new();
    for case in cases {
        match unique.iter_mut().find(|known| known.id == case.id) {
            Some(known) => known.explicit |= case.explicit,
            None => unique.push(case),
        }
    }
    unique
}

/// In the order of the catalogue.
fn sorted(mut cases: Vec<Selected>) -> Vec<Selected> {
    let position = |id: &CaseId| {
        let kernel = |k: &Kernel| k.matches(id) && (id.is_best() || k.variant == id.variant);
        (CATALOGUE.iter().rposition(kernel), id.is_best())
    };
    cases.sort_by_key(|case| position(&case.id));
    cases
}

/// The ceilings that a case may be held against. Which one the best kernel has
/// is known when it is chosen; no software adapter has matrix units.
fn ceilings(id: &CaseId, software: bool) -> Vec<CaseId> {
    if !id.is_best() {
        return ceiling_of(id).into_iter().collect();
    }
    contenders(id)
        .filter_map(|kernel| ceiling_of(&kernel.case(id.shape)))
        .filter(|ceiling| !(software && ceiling.variant == "cooperative"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(filters: &[&str], shapes: &[&str]) -> Result<Vec<String>, String> {
        let own = |texts: &[&str]| texts.iter().map(|t| t.to_string()).collect::<Vec<_>>();
        select(&own(filters), &own(shapes), false, true)
            .map(|cases| cases.iter().map(|c| c.id.to_string()).collect())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn a_listing_holds_what_filters_name_and_no_ceiling_besides() {
        let list = |filters: &[&str]| {
            let filters: Vec<String> = filters.iter().map(|f| f.to_string()).collect();
            let ids = listing(&filters, true).into_iter();
            ids.map(|id| id.to_string()).collect::<Vec<_>>()
        };
        let naive = "matmul/f32/naive/256x256x256";
        let ids = list(&["conv", naive, "latency/none/dispatch", naive]);
        assert_eq!(ids, ["latency/none/dispatch/empty", naive]);
        assert_eq!(list(&[]).len(), headline(true).len());
    }

    #[test]
    fn headline_lists_parse_are_short_and_name_catalogued_kernels() {
        for software in [true, false] {
            let cases = select(&[], &[], false, software).unwrap();
            assert!(cases.len() >= headline(software).len());
            assert!(cases.len() <= MOST_HEADLINE_CASES);
            let known = |c: &Selected| c.id.is_best() || Kernel::find(&c.id).is_some();
            assert!(cases.iter().all(known));
        }
    }

    #[test]
    fn a_full_id_need_not_be_listed_and_brings_its_ceiling() {
        assert_eq!(
            ids(&["matmul/f32/naive/7x5x3"], &[]).unwrap(),
            ["peak/f32/fma/device", "matmul/f32/naive/7x5x3"]
        );
    }

    #[test]
    fn kernels_are_selected_without_ceilings_and_the_best_is_all_that_may_be_it() {
        let ids = |filter: &str| -> Vec<String> {
            let filters: Vec<String> = [filter].iter().map(|f| f.to_string()).collect();
            let cases = kernels(&filters, true).unwrap();
            cases.iter().map(CaseId::to_string).collect()
        };
        assert_eq!(ids("matmul/f64/naive/7x5x3"), ["matmul/f64/naive/7x5x3"]);
        assert_eq!(
            ids("matmul/f64/best/7x5x3"),
            ["naive", "workgroup", "register"].map(|v| format!("matmul/f64/{v}/7x5x3"))
        );
        let all = kernels(&[], true).unwrap();
        assert_eq!(all, kernels(&["*".to_owned()], true).unwrap());
        assert!(!all.iter().any(CaseId::is_best));
    }

    #[test]
    fn leading_parts_and_globs_select_the_same() {
        assert_eq!(ids(&["matmul"], &[]), ids(&["matmul/*"], &[]));
        assert_eq!(
            ids(&["attention/f32/flash"], &[]),
            ids(&["*/f32/flash/*"], &[])
        );
        assert!(ids(&["*"], &[]).unwrap().len() > ids(&[], &[]).unwrap().len());
    }

    #[test]
    fn a_shape_is_added_to_every_selected_kernel_that_takes_it() {
        let with = ids(&[], &["1001x7x3"]).unwrap();
        let added: Vec<&String> = with.iter().filter(|id| id.ends_with("/1001x7x3")).collect();
        assert_eq!(added.len(), 5, "naive, workgroup, register and two best");
        assert!(
            ids(&["attention"], &["1001x7x3"])
                .unwrap_err()
                .contains("1001x7x3")
        );
    }

    #[test]
    fn filters_that_select_nothing_say_what_there_is() {
        assert!(
            ids(&["conv"], &[])
                .unwrap_err()
                .contains("such as matmul/f32/best")
        );
        let near = ids(&["matmull/f32/*"], &[]).unwrap_err();
        assert!(near.contains("matmul/f32/naive"), "{near}");
        assert!(!near.contains("attention"), "{near}");
        assert!(
            ids(&["matmul/f32/nope/1x1x1"], &[])
                .unwrap_err()
                .contains("nope")
        );
        assert!(
            ids(&["matmul/f32/naive/0x1x1"], &[])
                .unwrap_err()
                .contains("0x1x1")
        );
        assert!(
            ids(&["mat[mul"], &[])
                .unwrap_err()
                .contains("not a valid filter")
        );
    }
}
