//! The tensors of a case on disk, for whoever wants to check them.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::SaveError;
use super::npy;
use super::store;
use crate::kernel::Parameters;
use crate::kernel::element::Element;
use crate::kernel::id::{CaseId, Operation, Precision};
use crate::kernel::inputs::{Data, Draw};
use crate::kernel::problem::Problem;
use crate::kernel::shape::Shape;

/// Written last: a folder that has it is whole.
const META_FILE: &str = "meta.json";
/// Name of the reference's array, which some cases lack.
const REFERENCE: &str = "reference";

/// A case that was computed.
pub struct Computed<'a> {
    /// Which one.
    pub id: &'a CaseId,
    /// What its inputs were drawn from.
    pub draw: Draw,
    /// What it computes.
    pub problem: &'a dyn Problem,
    /// Tile sizes and the like of the program that computed it.
    pub parameters: &'a Parameters,
    /// What that program wrote.
    pub output: &'a [u8],
}

/// What the arrays do not say themselves.
#[derive(Serialize)]
struct Meta<'a> {
    id: String,
    operation: Operation,
    precision: Precision,
    shape: Shape,
    seed: u64,
    data: Data,
    parameters: &'a Parameters,
    flopwatt_version: &'a str,
    /// Why there is no `reference.npy`; `null` where there is.
    reference_reason: Option<&'a str>,
}

impl Computed<'_> {
    /// Writes the inputs by their names, `output.npy`, `reference.npy` and
    /// `meta.json` into a folder of `folder` that has the id's name, with
    /// underscores for slashes, and the distribution of the inputs unless that is
    /// normal. Nothing for a case that is a ceiling.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn dump(&self, folder: &Path) -> Result<(), SaveError> {
        let Some(export) = self.problem.export() else {
            return Ok(());
        };
        let folder = store::make_folder(folder, self.name().as_ref())?;
        begin(&folder)?;
        let array = |name: &str, element: Element, dimensions: &[u32], bytes: &[u8]| {
            store::stream_into(&folder, format!("{name}.npy"), |file| {
                npy::write(file, element, dimensions, bytes)
            })
        };
        for ((name, dimensions), tensor) in export.inputs.iter().zip(self.problem.inputs()) {
            array(name, tensor.element, dimensions, &tensor.bytes)?;
        }
        array("output", export.element, &export.output, self.output)?;
        if let Some(reference) = &export.reference {
            array(REFERENCE, Element::F64, &export.output, &reference.bytes)?;
        }
        let sampled = "the case is so large that only samples of its output are compared";
        let meta = Meta {
            id: self.id.to_string(),
            operation: self.id.operation,
            precision: self.id.precision,
            shape: self.id.shape,
            seed: self.draw.seed,
            data: self.draw.data,
            parameters: self.parameters,
            flopwatt_version: env!("CARGO_PKG_VERSION"),
            reference_reason: export.reference.is_none().then_some(sampled),
        };
        store::stream_into(&folder, META_FILE, |file| {
            serde_json::to_writer_pretty(file, &meta)?;
            Ok(())
        })
    }
}

impl Computed<'_> {
    /// A name that every file system takes.
    fn name(&self) -> String {
        let id = self.id.to_string().replace('/', "_");
        match self.draw.data {
            Data::Normal => id,
            data => format!("{id}_{}", data.to_string().replace(':', "-")),
        }
    }
}

/// Takes from `folder` what an earlier run left there, which is not whole from here on.
fn begin(folder: &Path) -> Result<(), SaveError> {
    for stale in [META_FILE, &format!("{REFERENCE}.npy")] {
        let path = folder.join(stale);
        let removed = store::refuse_what_is_no_file(&path).and_then(|()| fs::remove_file(&path));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SaveError::at(&path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
