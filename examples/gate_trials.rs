//! How often the gate is wrong, and how much it finds, on this machine.
//!
//!     cargo build --release && cargo run --release --example gate_trials
//!
//! Two experiments, made of many gates:
//! - **alarms**: equals against equals, half of the time while another process loads
//!   one processor in bursts;
//! - **power**: a kernel that does 3, 5, 7, 10 or 15 % more work in its shader, both
//!   in one process and in two.
//!
//! Every verdict is a line that is appended to a file, so that the trials can be
//! stopped and continued; whatever the file holds is counted. At the end, and with
//! `--table` alone, the rates are printed with Clopper and Pearson's bounds at 95 %.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use flopwatt::compare::{Comparison, Verdict};
use flopwatt::kernel::inputs::fresh_seed;
use flopwatt::kernel::template::BUILTIN;
use flopwatt::stats;
use serde::{Deserialize, Serialize};

/// Cases of the alarms: each kind of kernel, small enough to be tried often.
const EQUALS: [&str; 4] = [
    "matmul/f32/naive/128x128x128",
    "matmul/f32/register/256x256x256",
    "attention/f32/flash/b1h2s128d64",
    "bandwidth/f32/copy/64MiB",
];
/// The case that is slowed down.
const SLOWED: &str = "matmul/f32/naive/128x128x128";
/// By how many percent, and how often each is tried.
const SLOWDOWNS: [(u32, usize); 5] = [(3, 10), (5, 10), (7, 20), (10, 40), (15, 20)];

/// Try the gate on equals and on kernels that were slowed down.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program whose gate is tried
    #[arg(long, default_value = "target/release/flopwatt")]
    program: PathBuf,
    /// File to which every verdict is appended
    #[arg(long, default_value = "target/gate-trials.jsonl")]
    out: PathBuf,
    /// Gates of each kind of alarm; each gives four verdicts
    #[arg(long, default_value_t = 15)]
    alarms: usize,
    /// Percentage of the usual number of trials of power
    #[arg(long, default_value_t = 100)]
    power: usize,
    /// Of the slowdowns only this one, in percent
    #[arg(long)]
    percent: Option<u32>,
    /// Seconds for each case
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Adapter, as for flopwatt
    #[arg(long, default_value = "cpu")]
    adapter: String,
    /// Only print what the file holds
    #[arg(long)]
    table: bool,
    /// Load a processor in bursts until standard input ends (used by the trials)
    #[arg(long, hide = true)]
    burn: bool,
}

/// One kind of trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kind {
    /// By how many percent head does more work; 0 for equals.
    percent: u32,
    /// Whether each side ran in a process of its own.
    two_processes: bool,
    /// Whether another process loaded a processor in bursts.
    bursts: bool,
}

/// One verdict.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Trial {
    #[serde(flatten)]
    kind: Kind,
    case: String,
    /// Of the first round, before any confirmation.
    first: Verdict,
    verdict: Verdict,
    /// Ratio that was found.
    ratio: f64,
    pairs: usize,
    /// Time for the pairs of all rounds.
    pairs_s: f64,
    /// Time for the whole gate, verification and warm-up included.
    gate_s: f64,
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.burn {
        burn();
        return Ok(());
    }
    let mut trials = load(&arguments.out)?;
    if !arguments.table {
        let folder = tempfile::tempdir()?;
        while let Some(kind) = next(&arguments, &trials) {
            let new = attempt(&arguments, &kind, folder.path())?;
            append(&arguments.out, &new)?;
            trials.extend(new);
        }
    }
    print!("{}", table(&trials));
    Ok(())
}

/// The kind that lags most behind what is asked, until none does.
fn next(arguments: &Arguments, trials: &[Trial]) -> Option<Kind> {
    let both = [false, true];
    let alarms = both.iter().flat_map(|&two_processes| {
        both.map(|bursts| {
            let kind = Kind {
                percent: 0,
                two_processes,
                bursts,
            };
            (kind, EQUALS.len() * arguments.alarms)
        })
    });
    let wanted = |(percent, _): &(u32, usize)| arguments.percent.is_none_or(|p| p == *percent);
    let power = SLOWDOWNS
        .into_iter()
        .filter(wanted)
        .flat_map(|(percent, count)| {
            both.map(|two_processes| {
                let kind = Kind {
                    percent,
                    two_processes,
                    bursts: false,
                };
                (kind, count * arguments.power / 100)
            })
        });
    let done = |kind: &Kind| trials.iter().filter(|t| t.kind == *kind).count();
    let lagging = alarms.chain(power).filter_map(|(kind, wanted)| {
        let done = done(&kind);
        (done < wanted).then(|| (done as f64 / wanted as f64, kind))
    });
    let most = lagging.min_by(|a, b| f64::total_cmp(&a.0, &b.0));
    most.map(|(_, kind)| kind)
}

/// Runs one gate; a verdict a case.
fn attempt(arguments: &Arguments, kind: &Kind, folder: &Path) -> anyhow::Result<Vec<Trial>> {
    let cases: &[&str] = if kind.percent == 0 {
        &EQUALS
    } else {
        &[SLOWED]
    };
    let seed = fresh_seed();
    let mut command = Command::new(&arguments.program);
    command.args(["gate", "--json", "--adapter", &arguments.adapter]);
    command.args(["--seed", &seed.to_string()]);
    command.args([
        "--budget",
        &format!("{}s", arguments.seconds * cases.len() as u32),
    ]);
    cases.iter().for_each(|case| {
        command.args(["--cases", case]);
    });
    if kind.two_processes {
        command.arg("--base").arg(&arguments.program);
    } else {
        command.arg("--base").arg(templates(folder, 0)?);
    }
    if kind.percent > 0 {
        command
            .arg("--shaders")
            .arg(templates(folder, kind.percent)?);
    }
    let load = kind.bursts.then(start_burning).transpose()?;
    let begin = Instant::now();
    let output = command.stderr(Stdio::inherit()).output();
    let gate_s = begin.elapsed().as_secs_f64();
    if let Some(load) = load {
        stop_burning(load)?;
    }
    let output = output.with_context(|| format!("cannot run {}", arguments.program.display()))?;
    let ended = output.status.code();
    ensure!(
        matches!(ended, Some(0 | 1)),
        "the gate ended with {}",
        output.status
    );
    let comparison: Comparison = serde_json::from_slice(&output.stdout)?;
    let trials = comparison.cases.iter().map(|case| {
        let first = case.rounds.first();
        let first = first.with_context(|| format!("{} was not timed: {:?}", case.name, case.notes));
        Ok(Trial {
            kind: kind.clone(),
            case: case.name.clone(),
            first: first?.verdict,
            verdict: case.verdict,
            ratio: case.ratio.map_or(f64::NAN, |ratio| ratio.median),
            pairs: case.pairs(),
            pairs_s: case.rounds.iter().map(|round| round.took_s.0).sum(),
            gate_s,
            seed,
        })
    });
    trials.collect()
}

/// The built-in templates, in which the simplest product does `percent` per cent more
/// steps. What they add up is multiplied by a zero that no compiler knows to be one.
fn templates(folder: &Path, percent: u32) -> anyhow::Result<PathBuf> {
    let folder = folder.join(percent.to_string());
    fs::create_dir_all(&folder)?;
    for (name, text) in BUILTIN {
        let mut text = (*text).to_owned();
        if *name == "matmul_naive.wgsl.jinja" && percent > 0 {
            let result = "    c[index_c(";
            ensure!(text.contains(result), "{name} is not what it was");
            let extra = format!(
                "    var spare = Acc();
    for (var step = 0u; step < (steps() * {percent}u + 50u) / 100u; step++) {{
        spare = multiply_add(fetch_a(id.z, row, step), fetch_b(id.z, step, col), spare);
    }}
    acc += spare * Acc(params.m >> 31u);
{result}"
            );
            text = text.replace(result, &extra);
        }
        fs::write(folder.join(name), text)?;
    }
    Ok(folder)
}

/// Starts this program once more, to load a processor.
fn start_burning() -> anyhow::Result<Child> {
    let program = std::env::current_exe()?;
    let child = Command::new(program)
        .arg("--burn")
        .stdin(Stdio::piped())
        .spawn()?;
    Ok(child)
}

fn stop_burning(mut load: Child) -> anyhow::Result<()> {
    drop(load.stdin.take());
    load.wait()?;
    Ok(())
}

/// Computes and rests in turn, each for 0.2 s to 2 s.
fn burn() {
    std::thread::spawn(|| {
        let mut nothing = [0];
        // Ends when the parent does, too.
        while std::io::stdin()
            .read(&mut nothing)
            .is_ok_and(|read| read > 0)
        {}
        std::process::exit(0);
    });
    loop {
        let random = |seed: u64| Duration::from_millis(200 + seed % 1800);
        let end = Instant::now() + random(fresh_seed());
        while Instant::now() < end {
            std::hint::black_box((0..1000u64).fold(0, u64::wrapping_add));
        }
        std::thread::sleep(random(fresh_seed()));
    }
}

fn load(path: &Path) -> anyhow::Result<Vec<Trial>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path)?;
    let trial = |(number, line): (usize, &str)| {
        let place = || format!("{}:{}", path.display(), number + 1);
        serde_json::from_str(line).with_context(place)
    };
    text.lines().enumerate().map(trial).collect()
}

fn append(path: &Path, trials: &[Trial]) -> anyhow::Result<()> {
    let mut lines = String::new();
    for trial in trials {
        lines += &serde_json::to_string(trial)?;
        lines.push('\n');
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(lines.as_bytes())?;
    Ok(())
}

/// Rates with their bounds, and times.
fn table(trials: &[Trial]) -> String {
    let mut text = String::from("False alarms: equals against equals\n");
    for (bursts, load) in [(false, "quiet"), (true, "bursts")] {
        for (two_processes, mode) in [(false, "one process"), (true, "two processes")] {
            let of = |t: &&Trial| {
                t.kind
                    == Kind {
                        percent: 0,
                        two_processes,
                        bursts,
                    }
            };
            let group: Vec<&Trial> = trials.iter().filter(of).collect();
            text += &alarms(&format!("{load}, {mode}"), &group);
        }
    }
    let equals: Vec<&Trial> = trials.iter().filter(|t| t.kind.percent == 0).collect();
    text += &alarms("all", &equals);
    text += "\nPower: a kernel that does more work\n";
    for (two_processes, mode) in [(false, "one process"), (true, "two processes")] {
        for (percent, _) in SLOWDOWNS {
            let of =
                |t: &&Trial| (t.kind.percent, t.kind.two_processes) == (percent, two_processes);
            let group: Vec<&Trial> = trials.iter().filter(of).collect();
            text += &power(&format!("{percent:>2} %, {mode}"), &group);
        }
    }
    text
}

fn alarms(name: &str, group: &[&Trial]) -> String {
    let count = |what: &dyn Fn(&Trial) -> bool| group.iter().filter(|t| what(t)).count();
    let rates = [
        ("SLOWER first", count(&|t| t.first == Verdict::Slower)),
        ("SLOWER confirmed", count(&|t| t.verdict == Verdict::Slower)),
        ("FASTER", count(&|t| t.verdict == Verdict::Faster)),
        ("AMBIGUOUS", count(&|t| t.verdict == Verdict::Ambiguous)),
        ("SAME", count(&|t| t.verdict == Verdict::Same)),
    ];
    let rates = rates.map(|(what, hits)| format!("  {what} {}", rate(hits, group.len())));
    format!(
        "  {name}: {} verdicts\n  {}\n",
        group.len(),
        rates.join("\n  ")
    )
}

fn power(name: &str, group: &[&Trial]) -> String {
    let found: Vec<&&Trial> = group
        .iter()
        .filter(|t| t.verdict == Verdict::Slower)
        .collect();
    let median = |of: &dyn Fn(&Trial) -> f64, trials: &[&&Trial]| {
        let values: Vec<f64> = trials.iter().map(|trial| of(trial)).collect();
        stats::median(&values).map_or("-".to_owned(), |median| format!("{median:.3}"))
    };
    let every: Vec<&&Trial> = group.iter().collect();
    format!(
        "  {name}: SLOWER {}; median ratio {}; found after {} s of pairs, {} s in all (medians)\n",
        rate(found.len(), group.len()),
        median(&|t| t.ratio, &every),
        median(&|t| t.pairs_s, &found),
        median(&|t| t.gate_s, &found),
    )
}

fn rate(hits: usize, trials: usize) -> String {
    let bounds = stats::clopper_pearson(hits as u64, trials as u64, 0.95);
    let bounds =
        bounds.map(|[low, high]| format!(" [{:.1} %, {:.1} %]", 100.0 * low, 100.0 * high));
    format!("{hits}/{trials}{}", bounds.unwrap_or_default())
}
