//! Whether wrong kernels are rejected, and right ones are not.
//!
//! Every fault of [`fault::MUTANTS`] is brought into every kernel that it applies to,
//! on every listed shape, and goes the way of a user's case with templates of their
//! own: verified, by a witness where there are only samples, warmed up, timed,
//! confirmed. What is too slow for the adapter is computed on the host instead and
//! checked by the same bounds. Kernels without a fault are among them and are only
//! verified: they must be accepted. A cell that is finished is not run again by the same program.

mod emulation;
mod fault;

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use fault::{Fault, MUTANTS, Mutant, Stored, Target};
use flopwatt::gpu::adapter::Adapter;
use flopwatt::gpu::device::{Gpu, ShaderMode};
use flopwatt::kernel::capabilities::Capabilities;
use flopwatt::kernel::element::Element;
use flopwatt::kernel::id::{CaseId, Operation};
use flopwatt::kernel::inputs::Draw;
use flopwatt::kernel::problem::{self, Problem};
use flopwatt::kernel::shape::Shape;
use flopwatt::kernel::template::Templates;
use flopwatt::kernel::{CATALOGUE, COOPERATIVE, Kernel, select};
use flopwatt::measure::Bench;
use flopwatt::measure::measurement::{Flag, Measurement, Status};
use flopwatt::measure::tier::Tier;
use flopwatt::measure::verify;
use flopwatt::session::adapter;
use flopwatt::stats;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

#[path = "../../tests/support/cases.rs"]
mod cases;

/// Seed of the matrix' inputs.
const SEED: u64 = 20;
/// Multiply-adds that a software adapter computes in a second or so.
const MOST_MACS: u64 = 1 << 31;
/// Dispatches of a kernel that loses writes by chance.
const DISPATCHES: usize = 500;
/// The share of writes that such a kernel is to lose. What loses fewer here is another
/// kernel, and not always found.
const LOST_WRITES: f64 = 1e-5;
/// No more dispatches are tried after that.
const TRIED_FOR: Duration = Duration::from_secs(30);
/// The same for bytes of a working set.
const MOST_BYTES: u64 = 1 << 29;

/// Try wrong kernels, and right ones, on every listed shape.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only one kernel of each operation and precision, on its smallest shape
    #[arg(long)]
    part: bool,
    /// So many runs of right kernels, on small and odd shapes, in place of the matrix
    #[arg(long, value_name = "RUNS")]
    honest: Option<usize>,
    /// Only cells whose fault and case hold this text, as in "tf32 matmul/f32/naive"
    #[arg(long, default_value = "")]
    only: String,
    /// Folder of the results
    #[arg(long, default_value = "target/mutants")]
    out: PathBuf,
    /// Adapter, as for flopwatt
    #[arg(long, default_value = "cpu")]
    adapter: String,
}

/// One fault in one kernel on one shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Cell {
    fault: String,
    case: CaseId,
    /// Of the inputs.
    seed: u64,
    /// `ok`, `rejected`, `skipped` or `failed`.
    status: Status,
    /// Largest error over the largest that rounding explains; none where it is not a
    /// number, or nothing was compared.
    error_over_bound: Option<f64>,
    /// Why it has no figures.
    reason: Option<String>,
    took_s: f64,
}

impl Cell {
    /// What `run` makes of it: all right, unless it says otherwise.
    fn of(
        mutant: &Mutant,
        case: &CaseId,
        seed: u64,
        run: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> Self {
        let mut cell = Self {
            fault: mutant.name.to_owned(),
            case: case.clone(),
            seed,
            status: Status::Ok,
            error_over_bound: None,
            reason: None,
            took_s: 0.0,
        };
        if let Err(error) = run(&mut cell) {
            cell.status = Status::Failed;
            cell.reason = Some(format!("{error:#}"));
        }
        cell
    }

    /// Takes how a measurement ended. One of several programs of a kernel that is
    /// rejected lets a wrong kernel live, and is one too many of a right one's.
    fn ended(&mut self, measurement: &Measurement) {
        let some_rejected = measurement.flags.contains(&Flag::CandidateRejected);
        self.status = match measurement.status {
            Status::Ok if some_rejected && self.is_control() => Status::Rejected,
            status => status,
        };
        let verification = &measurement.verification;
        self.compared(verification.max_scaled_error, verification.tolerance);
        self.reason = measurement.reason.as_ref().map(ToString::to_string);
    }

    fn compared(&mut self, error: Option<f64>, bound: Option<f64>) {
        self.error_over_bound = error.zip(bound).map(|(error, bound)| match error {
            0.0 => 0.0,
            error => (error / bound).min(f64::MAX),
        });
    }

    fn key(&self) -> String {
        key(&self.fault, &self.case, self.seed)
    }

    fn is_control(&self) -> bool {
        self.fault == MUTANTS[0].name
    }

    /// Whether this is what must not be: a wrong kernel with a figure, a right one
    /// without, or nothing known.
    fn is_bad(&self) -> bool {
        match self.status {
            Status::Ok => !self.is_control(),
            Status::Rejected => self.is_control(),
            Status::Skipped => false,
            _ => true,
        }
    }
}

fn key(fault: &str, case: &CaseId, seed: u64) -> String {
    format!("{fault} {case} {seed}")
}

/// Finished cells, and the file to which new ones go.
struct Results {
    file: PathBuf,
    known: HashMap<String, Cell>,
    /// Those that were asked for.
    cells: Vec<Cell>,
}

impl Results {
    /// Results of this very program: another one may check otherwise.
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let program = Sha256::digest(fs::read(std::env::current_exe()?)?);
        let name: String = program[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        fs::create_dir_all(folder)?;
        let file = folder.join(format!("{name}.jsonl"));
        let mut known = HashMap::new();
        if file.exists() {
            for line in BufReader::new(fs::File::open(&file)?).lines() {
                // The last line of an interrupted run may be half a line.
                if let Ok(cell) = serde_json::from_str::<Cell>(&line?) {
                    known.insert(cell.key(), cell);
                }
            }
        }
        println!("results in {}", file.display());
        Ok(Self {
            file,
            known,
            cells: Vec::new(),
        })
    }

    /// Takes the cell of that key from the file, or else from `run`.
    fn take(&mut self, key: &str, run: impl FnOnce() -> Cell) -> anyhow::Result<()> {
        let cell = match self.known.get(key) {
            Some(cell) => cell.clone(),
            None => {
                let begin = Instant::now();
                let mut cell = run();
                cell.took_s = begin.elapsed().as_secs_f64();
                // What failed is tried again.
                if cell.status != Status::Failed {
                    let line = serde_json::to_string(&cell)? + "\n";
                    let mut file = OpenOptions::new()
                        .append(true)
                        .create(true)
                        .open(&self.file)?;
                    file.write_all(line.as_bytes())?;
                }
                cell
            }
        };
        println!("{}", line(&cell));
        self.cells.push(cell);
        Ok(())
    }

    /// Counts, and whether all is as it should be.
    fn summary(&self) -> bool {
        let count = |what: &dyn Fn(&Cell) -> bool| self.cells.iter().filter(|c| what(c)).count();
        let controls = count(&|c| c.is_control() && c.status != Status::Skipped);
        let rejected = count(&|c| c.is_control() && c.status == Status::Rejected);
        let wrong = count(&|c| !c.is_control() && c.status != Status::Skipped);
        let killed = count(&|c| !c.is_control() && c.status == Status::Rejected);
        let skipped = count(&|c| c.status == Status::Skipped);
        let bad: Vec<&Cell> = self.cells.iter().filter(|cell| cell.is_bad()).collect();
        println!("\nwrong kernels: {killed} of {wrong} rejected");
        let bounds = stats::clopper_pearson(rejected as u64, controls as u64, 0.95);
        let bound = bounds.map_or(String::new(), |[_, high]| {
            format!(" (95 %: at most {:.2} %)", 100.0 * high)
        });
        println!("right kernels: {rejected} of {controls} rejected{bound}");
        println!("skipped: {skipped}");
        for cell in &bad {
            println!("not as it should be: {}", line(cell));
        }
        bad.is_empty()
    }
}

fn line(cell: &Cell) -> String {
    let error = match (cell.error_over_bound, cell.status) {
        (Some(error), _) if error < 1e9 => format!("{error:.3} of the bound"),
        (Some(_), _) => "no error is allowed".to_owned(),
        (None, Status::Skipped) => String::new(),
        (None, Status::Ok) => "verified".to_owned(),
        (None, _) => "no error".to_owned(),
    };
    let how = match cell.case.variant.as_str() {
        fault::EMULATED => "emulated",
        _ => "on the adapter",
    };
    let reason = cell.reason.as_deref().unwrap_or_default();
    let status = cell.status.to_string();
    format!(
        "{status:<9} {:<8} {:<52} {how}, {error}  {reason}",
        cell.fault,
        cell.case.to_string()
    )
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let adapter = adapter::choose(Some(&arguments.adapter))?.adapter;
    println!("adapter {}", adapter.description.summary());
    let mut results = Results::open(&arguments.out)?;
    MUTANTS
        .iter()
        .for_each(|mutant| println!("{:<9} {}", mutant.name, mutant.what));
    match arguments.honest {
        Some(runs) => honest(&adapter, runs, &mut results)?,
        None => matrix(&adapter, &arguments, &mut results)?,
    }
    Ok(match results.summary() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Right kernels on shapes at the edges of what they divide their work into, each run
/// on inputs of its own.
fn honest(adapter: &Adapter, runs: usize, results: &mut Results) -> anyhow::Result<()> {
    let kernels: Vec<&Kernel> = CATALOGUE.iter().filter(|k| is_for_all(k.variant)).collect();
    let mut stage = Stage::open(adapter)?;
    let counted = |results: &Results| {
        let cells = results.cells.iter();
        cells.filter(|cell| cell.status != Status::Skipped).count()
    };
    for run in 0.. {
        if counted(results) == runs {
            break;
        }
        let kernel = kernels[run % kernels.len()];
        let shapes = cases::edge_shapes(kernel);
        let id = kernel.case(shapes[run / kernels.len() % shapes.len()]);
        let seed = run as u64;
        results.take(&key(MUTANTS[0].name, &id, seed), || {
            Cell::of(&MUTANTS[0], &id, seed, |cell| {
                let problem = problem::problem(&id, Draw::normal(seed)).context("no problem")?;
                stage.verify(cell, &*problem)
            })
        })?;
        if run % 100 == 99 {
            stage = Stage::open(adapter)?;
        }
    }
    Ok(())
}

/// Kernels on matrix units, which software adapters lack, are not tried.
fn is_for_all(variant: &str) -> bool {
    !variant.ends_with(COOPERATIVE)
}

fn matrix(adapter: &Adapter, arguments: &Arguments, results: &mut Results) -> anyhow::Result<()> {
    let mut ids = select::kernels(&[], true)?;
    ids.extend(select::kernels(&[], false)?);
    ids.retain(|id| is_for_all(&id.variant));
    for id in ids.iter_mut().filter(|id| !fits(id)) {
        *id = id.with_variant(fault::EMULATED);
    }
    // Neighbours pose the same problem.
    ids.sort_by_cached_key(|id| (size(id), id.shape.to_string(), id.precision.name()));
    ids.dedup();
    if arguments.part {
        let mut seen = Vec::new();
        ids.retain(|id| {
            let kind = (id.operation, id.precision);
            let is_first = !seen.contains(&kind);
            seen.push(kind);
            is_first
        });
    }
    for group in ids.chunk_by(CaseId::same_problem) {
        let problem = problem::problem(&group[0], Draw::normal(SEED)).context("no problem")?;
        let stage = Stage::open(adapter)?;
        for id in group {
            let mut target = None;
            for mutant in MUTANTS.iter().filter(|mutant| mutant.applies_to(id)) {
                let key = key(mutant.name, id, SEED);
                if !key.contains(&arguments.only) {
                    continue;
                }
                results.take(&key, || {
                    Cell::of(mutant, id, SEED, |cell| {
                        if id.variant == fault::EMULATED {
                            return emulate(cell, mutant, &*problem);
                        }
                        if mutant.fault == Fault::None {
                            return stage.verify(cell, &*problem);
                        }
                        let known = target.map_or_else(|| stage.target(id, &*problem), Ok)?;
                        target = Some(known);
                        stage.measure(cell, mutant, known, &*problem)
                    })
                })?;
            }
        }
    }
    Ok(())
}

/// Whether an adapter without a GPU computes the case fast enough.
fn fits(id: &CaseId) -> bool {
    match id.shape {
        Shape::WorkingSet { bytes } => bytes <= MOST_BYTES,
        _ => size(id) <= MOST_MACS,
    }
}

/// Multiply-adds, or bytes.
fn size(id: &CaseId) -> u64 {
    match id.shape {
        Shape::Gemm(shape) => shape.macs(),
        Shape::Attention(shape) => shape.macs(),
        Shape::WorkingSet { bytes } => bytes,
        Shape::Device | Shape::Empty => 0,
    }
}

/// Computes some rows on the host and checks these.
fn emulate(cell: &mut Cell, mutant: &Mutant, problem: &dyn Problem) -> anyhow::Result<()> {
    let verdict = emulation::verdict(mutant.fault, &cell.case, problem)?;
    cell.compared(verdict.max_scaled_error, Some(verdict.tolerance));
    if let Some(rejection) = verdict.rejection {
        let reason = verify::reason(&rejection);
        cell.status = match reason.code.is_rejection() {
            true => Status::Rejected,
            false => Status::Skipped,
        };
        cell.reason = Some(reason.to_string());
    }
    Ok(())
}

/// An open adapter.
struct Stage {
    gpu: Gpu,
    capabilities: Capabilities,
}

impl Stage {
    fn open(adapter: &Adapter) -> anyhow::Result<Self> {
        Ok(Self {
            gpu: Gpu::open(&adapter.wgpu, ShaderMode::Unchecked)?,
            capabilities: Capabilities::from(&adapter.description),
        })
    }

    /// Where faults of storing strike: in a row that no sample takes for its place, at
    /// the element that the right kernel makes largest there.
    fn target(&self, id: &CaseId, problem: &dyn Problem) -> anyhow::Result<Target> {
        let (element, columns) = match (id.operation, id.shape) {
            (Operation::Matmul, Shape::Gemm(s)) => (id.precision.accumulator(), s.n),
            (Operation::Attention, Shape::Attention(s)) => (id.precision.operand(), s.head_dim),
            (Operation::Peak, _) => (Element::I32, 256),
            _ => (Element::F32, 256),
        };
        let kernel = Kernel::find(id).context("no kernel")?;
        let programs = kernel.candidates(id.shape, &self.capabilities, Templates::builtin());
        let Some(program) = programs
            .ok()
            .and_then(|programs| programs.into_iter().next())
        else {
            // Nothing runs on it: any size will do.
            return Ok(Target {
                count: 1 << 12,
                ..Target::default()
            });
        };
        let loaded = self.gpu.load(&program, problem.inputs())?;
        self.gpu.run_once(&loaded)?;
        let bytes = self.gpu.output(&loaded)?;
        let count = bytes.len() / element.size() as usize;
        let columns = columns as usize;
        let row = count / columns * 5 / 8;
        let values = element.read(&bytes, count);
        let of_row = row * columns..((row + 1) * columns).min(count);
        let largest = of_row.max_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs()));
        Ok(Target {
            row,
            element: largest.unwrap_or(0),
            count,
        })
    }

    /// Goes the way of a user's case.
    fn measure(
        &self,
        cell: &mut Cell,
        mutant: &Mutant,
        target: Target,
        problem: &dyn Problem,
    ) -> anyhow::Result<()> {
        let id = cell.case.clone();
        let templates = mutant.templates(&id, target)?;
        let measured = Bench::new(&self.gpu, self.capabilities.clone(), &templates);
        let measured = measured.and_then(|bench| {
            let mut prepared = bench.prepare(&id, None, problem, Tier::Quick, &mut |_| {})?;
            prepared.converge(&mut |_| {})?;
            prepared.finish()
        });
        cell.ended(&measured.unwrap_or_else(|stopped| stopped.measurement(&id)));
        if mutant.fault == Fault::Stored(Stored::Race) && cell.status == Status::Ok {
            let (lost, of) = self.strikes(&id, &templates, problem)?;
            let expected = -(-LOST_WRITES * target.count as f64).exp_m1() * of as f64;
            if (lost as f64) < expected {
                cell.status = Status::Skipped;
                cell.reason = Some(format!("{lost} of {of} dispatches lost a write"));
            }
        }
        Ok(())
    }

    /// How many dispatches of a kernel that loses writes by chance do so here, and how
    /// many were tried: where they are short, one thread may do all the work.
    fn strikes(
        &self,
        id: &CaseId,
        templates: &Templates,
        problem: &dyn Problem,
    ) -> anyhow::Result<(usize, usize)> {
        let kernel = Kernel::find(id).context("no kernel")?;
        let programs = kernel.candidates(id.shape, &self.capabilities, templates)?;
        let program = programs.first().context("no program")?;
        let loaded = self.gpu.load(program, problem.inputs())?;
        let mut outputs = HashMap::<_, usize>::new();
        let (begin, mut tried) = (Instant::now(), 0);
        while tried < DISPATCHES && begin.elapsed() < TRIED_FOR {
            tried += 1;
            self.gpu.poison(&loaded)?;
            self.gpu.run_once(&loaded)?;
            let output = Sha256::digest(self.gpu.output(&loaded)?);
            *outputs.entry(output).or_default() += 1;
        }
        Ok((tried - outputs.values().max().unwrap_or(&0), tried))
    }

    /// Verifies every program of a right kernel.
    fn verify(&self, cell: &mut Cell, problem: &dyn Problem) -> anyhow::Result<()> {
        let id = cell.case.clone();
        let bench = Bench::new(&self.gpu, self.capabilities.clone(), Templates::builtin())?;
        let kernel = Kernel::find(&id).context("no kernel")?;
        let offered = bench
            .programs(kernel, id.shape)
            .map_or(0, |programs| programs.len());
        match bench.check(&id, None, problem, &mut |_| {}) {
            Ok(right) if right.len() == offered => {}
            Ok(_) => cell.status = Status::Rejected,
            Err(stopped) => cell.ended(&stopped.measurement(&id)),
        }
        Ok(())
    }
}
