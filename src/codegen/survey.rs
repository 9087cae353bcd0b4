//! What a driver's compiler made of every shader of a selection of cases.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::bound::{self, Architecture, Peak};
use super::listing::{HotLoop, Mix};
use super::statistics::Statistics;
use super::{CodegenError, Compiler, Executable};
use crate::kernel::capabilities::Capabilities;
use crate::kernel::id::{CaseId, Operation};
use crate::kernel::program::{Pass, Program};
use crate::kernel::template::{TemplateError, Templates};
use crate::kernel::{BuildError, Kernel, Parameters, ceiling_of};

/// Every shader of a selection, as one compiler compiles it for one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// The adapter, as its driver names it.
    pub adapter: String,
    /// What was compiled for, where it is known.
    pub architecture: Option<Architecture>,
    /// Driver and version. Surveys of different compilers differ for reasons that
    /// are not the shaders'.
    pub compiler: String,
    /// The shaders, in the order of the catalogue.
    pub shaders: Vec<Shader>,
    /// Kernels of which the adapter can run none of the cases.
    pub skipped: Vec<Skipped>,
}

/// One shader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shader {
    /// The first case that uses it.
    pub case: String,
    /// The candidate's tile sizes and the like.
    pub parameters: Parameters,
    /// The candidate's pass, counted from 1.
    pub pass: usize,
    /// The pass's template.
    pub template: String,
    /// What the driver tells.
    #[serde(flatten)]
    pub statistics: Statistics,
    /// Instructions of the loop that does the most arithmetic.
    pub hot_loop: Option<Mix>,
    /// FMA and matrix instructions among them.
    pub percent_flop: Option<f64>,
    /// Bound on the percentage of the peak by counting instructions: no
    /// measurement.
    pub bound_percent_of_peak: Option<f64>,
}

/// A kernel without shaders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its first case.
    pub case: String,
    /// What that needs.
    pub reason: String,
}

impl Shader {
    /// What tells it from all others of a survey, in words.
    pub fn title(&self) -> String {
        let parameters = crate::kernel::in_words(&self.parameters);
        let template = self.template.trim_end_matches(".wgsl.jinja");
        format!(
            "{} ({parameters}), pass {} {template}",
            self.case, self.pass
        )
    }
}

/// Why a survey could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// A template is defective.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The compiler does not tell, or refused a shader.
    #[error("{case}: {source}")]
    Compile {
        /// Whose shader.
        case: CaseId,
        /// Why.
        source: CodegenError,
    },
}

/// Who compiles, what, and for what.
pub struct Surveyor<'a> {
    /// The compiler.
    pub compiler: &'a Compiler,
    /// What it compiles for.
    pub architecture: Option<Architecture>,
    /// What decides which programs there are.
    pub capabilities: &'a Capabilities,
    /// Where their texts come from.
    pub templates: &'a Templates,
    /// Whether the checks that WGSL prescribes are compiled in.
    pub checked: bool,
}

impl Surveyor<'_> {
    /// Compiles what `cases` run, in catalogue order. A text that several cases of a
    /// kernel share is compiled once.
    ///
    /// # Errors
    /// When a template renders no shader or the driver refuses one.
    pub fn survey(&self, cases: &[CaseId]) -> Result<(Vec<Shader>, Vec<Skipped>), SurveyError> {
        let mut shaders = Vec::new();
        let mut skipped = Vec::new();
        let kernel = |id: &CaseId| (id.operation, id.precision, id.variant.clone());
        for cases in cases.chunk_by(|a, b| kernel(a) == kernel(b)) {
            let known = shaders.len();
            let mut unfit = None;
            let mut seen = HashSet::new();
            for (case, kernel) in cases.iter().filter_map(|id| Some((id, Kernel::find(id)?))) {
                match self.programs(case, kernel) {
                    Ok(programs) => {
                        for program in &programs {
                            shaders.extend(self.program(case, program, &mut seen)?);
                        }
                    }
                    Err(BuildError::Template(error)) => return Err(error.into()),
                    Err(BuildError::Unfit(reason)) => {
                        unfit.get_or_insert((case, reason));
                    }
                }
            }
            if shaders.len() == known {
                skipped.extend(unfit.map(|(case, reason)| Skipped {
                    case: case.to_string(),
                    reason: reason.to_string(),
                }));
            }
        }
        Ok((shaders, skipped))
    }

    /// The passes whose texts have not been seen.
    fn program(
        &self,
        case: &CaseId,
        program: &Program,
        seen: &mut HashSet<String>,
    ) -> Result<Vec<Shader>, SurveyError> {
        let mut shaders = Vec::new();
        for (number, pass) in (1..).zip(&program.passes) {
            if seen.insert(pass.wgsl.clone()) {
                shaders.extend(self.pass(case, program, number, pass)?);
            }
        }
        Ok(shaders)
    }

    /// The candidates of a case.
    ///
    /// # Errors
    /// When it has none.
    pub fn programs(&self, case: &CaseId, kernel: &Kernel) -> Result<Vec<Program>, BuildError> {
        kernel.candidates(case.shape, self.capabilities, self.templates)
    }

    /// What the driver made of a pass, in its own words.
    ///
    /// # Errors
    /// When the driver refuses the shader.
    pub fn compile(
        &self,
        case: &CaseId,
        program: &Program,
        pass: &Pass,
    ) -> Result<Vec<Executable>, SurveyError> {
        let compiled = self.compiler.compile(program, pass, self.checked);
        compiled.map_err(|source| SurveyError::Compile {
            case: case.clone(),
            source,
        })
    }

    fn pass(
        &self,
        case: &CaseId,
        program: &Program,
        number: usize,
        pass: &Pass,
    ) -> Result<Vec<Shader>, SurveyError> {
        let executables = self.compile(case, program, pass)?;
        let shader = |executable: &Executable| {
            let mut statistics = Statistics::of(executable);
            let hot = HotLoop::of(executable);
            let lanes = executable.subgroup_size.unwrap_or(32);
            let bound = match &hot {
                Ok(hot) => self.bound(case, hot, lanes),
                Err(_) => Err("there is no hot loop to count".into()),
            };
            let not_told = &mut statistics.not_told;
            let mut told = |name: &str, reason: &String| {
                not_told.insert(name.to_owned(), reason.clone());
            };
            let hot = hot.inspect_err(|reason| told("hot_loop", reason)).ok();
            let bound = bound.inspect_err(|reason| told("bound_percent_of_peak", reason));
            let mix = hot.as_ref().map(HotLoop::mix);
            Shader {
                case: case.to_string(),
                parameters: program.parameters.clone(),
                pass: number,
                template: pass.template.to_owned(),
                statistics,
                hot_loop: mix,
                percent_flop: mix.map(|mix| tenths(mix.percent_flop())),
                bound_percent_of_peak: bound.ok().map(tenths),
            }
        };
        Ok(executables.iter().map(shader).collect())
    }

    fn bound(&self, case: &CaseId, hot: &HotLoop, lanes: u32) -> Result<f64, String> {
        let ceiling = match case.operation {
            Operation::Peak => Some(case.clone()),
            _ => ceiling_of(case),
        };
        let peak = ceiling.as_ref().and_then(Peak::of_ceiling);
        let peak = peak.ok_or("it is held against no peak of a datasheet")?;
        let architecture = self.architecture.ok_or(
            "the driver does not tell the architecture, or it is none whose rates are \
             known here: --architecture names one",
        )?;
        bound::percent_of_peak(architecture, peak, hot, lanes)
    }
}

/// To one decimal, so that what is committed changes only where something did.
fn tenths(percent: f64) -> f64 {
    (10.0 * percent).round() / 10.0
}
