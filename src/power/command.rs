//! `command:`: any program that prints watts or joules, such as the reader of a
//! wall meter, a PDU or a baseboard controller.
//!
//! The rule: one value a line, `123.4` or `123.4 W` for power (also mW, kW),
//! `5678 J` (also mJ, kJ) for the state of an energy counter; blank lines and
//! lines that begin with `#` are passed over. A program that goes on printing is
//! left running; one that ends after printing is run again for each further
//! value. Nothing runs in a shell.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::group::Group;
use super::latest::{Latest, Value};
use super::sensor::Averaging;
use super::{
    Coverage, Metric, Missing, PowerError, PowerSource, PowerSpec, RawReading, SourceIdentity,
    Unavailable,
};
use crate::json_file::range;
use crate::units::{Joules, Watts};

/// How long the first value may take: a baseboard controller needs seconds.
const FIRST_VALUE: Duration = Duration::from_secs(10);
/// A value older than this says nothing of the present.
const STALE: Duration = Duration::from_secs(10);
/// No program prints so many blank lines and comments in a row before a value. One that
/// does keeps a processor busy for nothing.
const MOST_OTHERS: usize = 10_000;
/// A program that prints one value is run again after this long. Starting a
/// process costs about a millisecond of CPU: 1 % of a core, and meters are slower.
const RUN_AGAIN: Duration = Duration::from_millis(100);

/// Starts the program and waits for its first value.
///
/// # Errors
/// When it cannot be started, ends without a value, prints something else or
/// stays silent.
pub fn open(words: &[String]) -> Result<CommandSource, Unavailable> {
    let name = PowerSpec::Command(words.to_vec()).to_string();
    let refused = |error| Unavailable::Command {
        command: words.join(" "),
        error,
    };
    let program = Program {
        words: words.to_vec(),
        latest: Latest::default(),
        group: Arc::new(Group::new().map_err(refused)?),
        child: Arc::default(),
        stop: Arc::default(),
    };
    let first = program.start().map_err(refused)?;
    let mut source = CommandSource {
        identity: SourceIdentity {
            name,
            device: words[0].clone(),
            covers: Coverage::Command,
            power: Metric::Missing(Missing::NotOffered),
            energy: Metric::Missing(Missing::NotOffered),
            averaging: Averaging::UNKNOWN,
            pci_address: None,
        },
        program: program.clone(),
    };
    let follow = move || program.follow(first);
    thread::Builder::new().spawn(follow).map_err(refused)?;
    let reading = source.wait_for_first()?;
    let field = |offered| match offered {
        true => Metric::Field("printed by the command".into()),
        false => Metric::Missing(Missing::NotOffered),
    };
    source.identity.power = field(reading.power.is_some());
    source.identity.energy = field(reading.energy.is_some());
    Ok(source)
}

/// A program as a power source. It is killed when the source goes, with all that it has
/// started.
pub struct CommandSource {
    identity: SourceIdentity,
    program: Program,
}

impl CommandSource {
    fn wait_for_first(&self) -> Result<RawReading, PowerError> {
        let begin = Instant::now();
        loop {
            if let Some(reading) = self.program.latest.get()? {
                return Ok(reading);
            }
            if begin.elapsed() > FIRST_VALUE {
                return Err(PowerError::CommandSilent(FIRST_VALUE.as_secs()));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl PowerSource for CommandSource {
    fn identity(&self) -> &SourceIdentity {
        &self.identity
    }

    fn read(&mut self) -> Result<RawReading, PowerError> {
        let reading = self.program.latest.get()?;
        let reading = reading.filter(|reading| reading.at.elapsed() < STALE);
        reading.ok_or(PowerError::CommandSilent(STALE.as_secs()))
    }
}

impl Drop for CommandSource {
    fn drop(&mut self) {
        self.program.stop.store(true, Ordering::Relaxed);
        self.program.kill();
    }
}

/// The program, shared with the thread that listens to it.
#[derive(Clone)]
struct Program {
    words: Vec<String>,
    latest: Latest,
    group: Arc<Group>,
    child: Arc<Mutex<Option<Child>>>,
    stop: Arc<AtomicBool>,
}

/// What the program prints to.
type Output = BufReader<std::process::ChildStdout>;

impl Program {
    fn start(&self) -> std::io::Result<Output> {
        let mut command = Command::new(&self.words[0]);
        command
            .args(&self.words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = self.group.spawn(&mut command)?;
        let output = child.stdout.take();
        *self.child() = Some(child);
        if self.stop.load(Ordering::Relaxed) {
            self.kill();
        }
        output
            .map(BufReader::new)
            .ok_or_else(|| std::io::Error::other("it has no standard output"))
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self) {
        self.group.kill();
        if let Some(child) = self.child().as_mut() {
            // One that has ended by itself cannot be killed, which is as good.
            let _ = child.kill();
        }
    }

    /// Takes over what the program prints, and runs it again when it ends.
    fn follow(&self, mut output: Output) {
        loop {
            let began = Instant::now();
            let printed = self.listen(output);
            if printed.is_err() {
                self.kill();
            }
            let status = self.reap();
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Some(why) = end_of(printed, status) {
                return self.latest.end(why);
            }
            thread::sleep(RUN_AGAIN.saturating_sub(began.elapsed()));
            output = match self.start() {
                Ok(output) => output,
                Err(error) => {
                    return self.latest.end(PowerError::CommandEnded(error.to_string()));
                }
            };
        }
    }

    /// Takes over values until the program ends; how many there were.
    fn listen(&self, mut output: Output) -> Result<usize, PowerError> {
        let (mut values, mut others) = (0, 0);
        while let Some(line) = next_line(&mut output)? {
            match value(&line)? {
                Some(value) => {
                    self.latest.set(value);
                    values += 1;
                    others = 0;
                }
                None if others == MOST_OTHERS => return Err(PowerError::CommandFloods(others)),
                None => others += 1,
            }
        }
        Ok(values)
    }

    /// Waits for the program's end, so that no zombie is left. It stays where
    /// [`Self::kill`] finds it: one may close its output and yet go on.
    fn reap(&self) -> Option<ExitStatus> {
        loop {
            let status = self.child().as_mut()?.try_wait();
            match status {
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                Ok(ended) => return ended,
                Err(_) => return None,
            }
        }
    }
}

/// Why a program that has ended is not run again; nothing where it is.
fn end_of(printed: Result<usize, PowerError>, status: Option<ExitStatus>) -> Option<PowerError> {
    match (printed, status) {
        (Err(why), _) => Some(why),
        (_, Some(status)) if !status.success() => {
            Some(PowerError::CommandEnded(status.to_string()))
        }
        (Ok(0), _) => Some(PowerError::CommandEnded("it printed no value".into())),
        _ => None,
    }
}

/// The next line; nothing at the end. What is longer than any value is unclear, and
/// not collected: it may have no end.
fn next_line(output: &mut impl BufRead) -> Result<Option<String>, PowerError> {
    const LONGEST: u64 = 1000;
    let mut line = Vec::new();
    let read = output.by_ref().take(LONGEST).read_until(b'\n', &mut line);
    read.map_err(|error| PowerError::CommandEnded(error.to_string()))?;
    let text = String::from_utf8_lossy(&line);
    if line.len() as u64 == LONGEST {
        let start: String = text.chars().take(40).collect();
        return Err(PowerError::CommandUnclear(format!("{start}…")));
    }
    Ok((!line.is_empty()).then(|| text.into_owned()))
}

/// The value on a line; nothing on a blank line or a comment.
fn value(line: &str) -> Result<Option<Value>, PowerError> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let unclear = || PowerError::CommandUnclear(line.into());
    let end = line.find(|c: char| c.is_alphabetic() && !matches!(c, 'e' | 'E'));
    let (number, unit) = line.split_at(end.unwrap_or(line.len()));
    let number: f64 = number.trim().parse().map_err(|_| unclear())?;
    let value = match unit.trim() {
        "" | "W" => Value::Power(Watts(number)),
        "mW" => Value::Power(Watts(number / 1e3)),
        "kW" => Value::Power(Watts(number * 1e3)),
        "J" => Value::Energy(Joules(number)),
        "mJ" => Value::Energy(Joules(number / 1e3)),
        "kJ" => Value::Energy(Joules(number * 1e3)),
        _ => return Err(unclear()),
    };
    let fault = match value {
        Value::Power(Watts(watts)) => range::fault("power_w", watts),
        Value::Energy(Joules(joules)) => range::fault("counter_j", joules),
    };
    match fault {
        Some(_) => Err(unclear()),
        None => Ok(Some(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_no_value_is_as_long() {
        let mut output = "1 W\n# \u{e9}\n2 W".as_bytes();
        let mut lines = std::iter::from_fn(|| next_line(&mut output).unwrap());
        assert_eq!(lines.next().as_deref(), Some("1 W\n"));
        assert_eq!(lines.next().as_deref(), Some("# é\n"));
        assert_eq!(lines.next().as_deref(), Some("2 W"));
        assert_eq!(lines.next(), None);
        let endless = next_line(&mut BufReader::new(std::io::repeat(b'1')));
        let error = endless.unwrap_err().to_string();
        assert!(
            error.contains(&"1".repeat(40)) && error.len() < 400,
            "{error}"
        );
    }

    #[test]
    fn values_are_read_with_their_units() {
        let watts = |w| Ok(Some(Value::Power(Watts(w))));
        let joules = |j| Ok(Some(Value::Energy(Joules(j))));
        assert_eq!(value("123.4"), watts(123.4));
        assert_eq!(value(" 123.4 W "), watts(123.4));
        assert_eq!(value("1.5e3mW"), watts(1.5));
        assert_eq!(value("0.25 kW"), watts(250.0));
        assert_eq!(value("5678 J"), joules(5678.0));
        assert_eq!(value("5678 mJ"), joules(5.678));
        assert_eq!(value("2 kJ"), joules(2000.0));
        assert_eq!(value(""), Ok(None));
        assert_eq!(value("# watts"), Ok(None));
        for line in ["W", "12 V", "power: 12", "nan", "inf W", "1 2", "12 w"] {
            assert!(value(line).is_err(), "{line}");
        }
        // A report with these would have figures that are none.
        for line in ["-1", "1e308 kW", "1e-310", "1e200", "-2 J", "1e308 J"] {
            let error = value(line).unwrap_err().to_string();
            assert!(
                error.contains(line) && error.contains("from 0 to 1e9 W"),
                "{error}"
            );
        }
    }

    #[cfg(unix)]
    fn shell(script: &str) -> Result<CommandSource, Unavailable> {
        open(&["sh".into(), "-c".into(), script.into()])
    }

    /// Reads until `wanted` or an error comes, for some seconds at most.
    #[cfg(unix)]
    fn read_until(
        source: &mut CommandSource,
        wanted: impl Fn(&RawReading) -> bool,
    ) -> Result<RawReading, PowerError> {
        for _ in 0..1000 {
            let reading = source.read()?;
            if wanted(&reading) {
                return Ok(reading);
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the value never came");
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_goes_on_is_followed_and_killed_in_the_end() {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let pid_file = folder.path().join("pid");
        let script = format!(
            "echo $$ > {}; echo 10 W; sleep 0.05; echo 20 W; exec sleep 1000",
            pid_file.display()
        );
        let mut source = shell(&script).expect("it prints watts");
        assert!(source.identity().power.is_offered());
        assert!(!source.identity().energy.is_offered());
        let twenty = |r: &RawReading| r.power == Some(Watts(20.0));
        read_until(&mut source, twenty).expect("the second value");
        let pid = std::fs::read_to_string(&pid_file).expect("it wrote its number");
        let alive = || {
            let kill = format!("kill -0 {}", pid.trim());
            let mut shell = Command::new("sh");
            let asked = shell.args(["-c", &kill]).stderr(Stdio::null()).status();
            asked.expect("a shell").success()
        };
        assert!(alive());
        drop(source);
        let gone = (0..1000).any(|_| {
            thread::sleep(Duration::from_millis(10));
            !alive()
        });
        assert!(gone);
    }

    /// What it has started would otherwise outlive it, and so would a program that prints
    /// something else and goes on.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_program_has_started_ends_with_it() {
        for (first, is_watts) in [("10 W", true), ("5 MW", false)] {
            let folder = tempfile::TempDir::new().expect("a temporary folder");
            let file = folder.path().join("pids");
            let script = format!(
                "sleep 1000 & echo $$ $! > {}; echo {first}; wait",
                file.display()
            );
            let source = shell(&script);
            assert_eq!(source.is_ok(), is_watts, "{first}");
            let pids = std::fs::read_to_string(&file).expect("it wrote its numbers");
            drop(source);
            let alive = |pid: &str| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
                stat.is_ok_and(|stat| !stat.contains(") Z "))
            };
            let gone = (0..1000).any(|_| {
                thread::sleep(Duration::from_millis(10));
                !pids.split_whitespace().any(alive)
            });
            assert!(gone, "{first}: {pids}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_ends_is_run_again() {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let file = folder.path().join("count");
        let script = format!("echo x >> {0}; wc -l < {0} | sed 's/$/ J/'", file.display());
        let mut source = shell(&script).expect("it prints joules");
        let third = |r: &RawReading| r.energy.is_some_and(|joules| joules.0 >= 3.0);
        read_until(&mut source, third).expect("the third run");
    }

    #[cfg(unix)]
    #[test]
    fn programs_that_fail_say_how() {
        let refused = |script: &str| shell(script).err().expect(script).to_string();
        assert!(refused("exit 3").contains("exit status: 3"));
        assert!(refused("true").contains("printed no value"));
        assert!(refused("while echo '#'; do :; done").contains("10000 lines in a row"));
        assert!(refused("echo warm").contains("\"warm\""));
        let missing = open(&["/nonexistent/meter".into()]).err();
        assert!(matches!(missing, Some(Unavailable::Command { .. })));
        let mut source = shell("echo 5 W; sleep 0.1; exit 4").expect("it prints watts");
        let error = read_until(&mut source, |_| false).expect_err("it ended");
        assert!(error.to_string().contains("exit status: 4"), "{error}");
        assert!(!error.ends_the_run());
    }
}
