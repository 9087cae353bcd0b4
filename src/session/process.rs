//! The parent's side of a worker: start, speak, watch, kill.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::protocol::{Event, OLDEST_PROTOCOL, PROTOCOL, Request};
use super::watchdog::DEFAULT_LIMIT;
use crate::power::PowerSetup;
use crate::record::{self, SCHEMA_VERSION};
use crate::units::Seconds;

/// How often an interruption is looked for while waiting.
pub(super) const GLANCE: Duration = Duration::from_millis(50);
/// Lines of the worker's standard error that are kept for a message.
const KEPT_LINES: usize = 5;
/// … and bytes of each.
const KEPT_BYTES: u64 = 1000;
/// A longer line is no event: an hour of readings is a tenth of it.
const LONGEST_EVENT: u64 = 64 << 20;
/// A process that was killed and is still there after this long is stuck in the
/// system's part of the driver; nobody waits for it any longer.
const LAST_BREATH: Duration = Duration::from_secs(10);
/// … and for the end of what it said, which a child of its own may keep open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often either is looked for.
const BLINK: Duration = Duration::from_millis(5);

/// Why a worker did not answer.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It could not be started.
    #[error("cannot start a worker process: {0}")]
    Start(#[source] std::io::Error),
    /// It speaks another protocol.
    #[error("the worker speaks protocol {0}, this program {OLDEST_PROTOCOL} to {PROTOCOL}")]
    Protocol(u32),
    /// It keeps its records otherwise.
    #[error("the worker's records have schema version {0}, this program's {SCHEMA_VERSION}")]
    Schema(String),
    /// It ended by itself.
    #[error("the worker ended ({status}){}", said(.stderr))]
    Died {
        /// How.
        status: String,
        /// The last it said.
        stderr: String,
    },
    /// It was silent for too long and was killed.
    #[error("no sign of life for {:.0} s while {phase}: the worker was killed{}", .limit.0, said(.stderr))]
    Hung {
        /// What it had announced.
        phase: String,
        /// The longest silence that this allows.
        limit: Seconds,
        /// The last it said.
        stderr: String,
        /// The process, where it lives on although it was killed.
        survivor: Option<Child>,
    },
    /// It refused.
    #[error("{0}")]
    Refused(String),
    /// The person at the keyboard, or a signal, ended the wait.
    #[error("interrupted")]
    Interrupted,
}

impl WorkerError {
    /// The worker answered, but not what it was asked.
    pub fn out_of_turn(event: &Event) -> Self {
        Self::Refused(format!("the worker answered out of turn: {event:?}"))
    }
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() {
        String::new()
    } else {
        format!("; it said: {stderr}")
    }
}

/// Workers that were killed and have not ended: a driver that hangs in the system's
/// part holds them, and the device may still be at work on what they gave it.
#[derive(Debug, Default)]
pub(super) struct Survivors {
    processes: Vec<Child>,
}

impl Survivors {
    /// Takes in the process that `error` tells of, if it lives on.
    pub fn add(&mut self, error: &mut WorkerError) {
        if let WorkerError::Hung { survivor, .. } = error {
            self.processes.extend(survivor.take());
        }
    }

    /// Whether any has still not ended.
    pub fn any_is_left(&mut self) -> bool {
        self.processes
            .retain_mut(|process| matches!(process.try_wait(), Ok(None)));
        !self.processes.is_empty()
    }
}

/// A running worker. Killed when dropped.
pub struct Process<'a> {
    /// Until it has been ended.
    child: Option<Child>,
    stdin: Option<ChildStdin>,
    events: Receiver<Event>,
    stderr: Option<Tail>,
    interrupted: &'a AtomicBool,
    power: Option<PowerSetup>,
}

impl<'a> Process<'a> {
    /// Starts `command` as a worker and has it carry out `open`.
    ///
    /// # Errors
    /// When it does not start, or refuses.
    pub fn start(
        mut command: Command,
        open: &Request,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, WorkerError> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        shield_from_interrupt(&mut command);
        let mut child = command.spawn().map_err(WorkerError::Start)?;
        let mut process = Self {
            stdin: child.stdin.take(),
            events: listen(child.stdout.take()).map_err(WorkerError::Start)?,
            stderr: match child.stderr.take() {
                Some(stderr) => Some(Tail::of(stderr).map_err(WorkerError::Start)?),
                None => None,
            },
            child: Some(child),
            interrupted,
            power: None,
        };
        match process.wait(&mut |_| {})? {
            Event::Hello {
                protocol, schema, ..
            } => {
                if !(OLDEST_PROTOCOL..=PROTOCOL).contains(&protocol) {
                    return Err(WorkerError::Protocol(protocol));
                }
                if !record::is_readable(&schema) {
                    return Err(WorkerError::Schema(schema));
                }
            }
            other => return Err(WorkerError::out_of_turn(&other)),
        }
        match process.ask(open, &mut |_| {})? {
            Event::Opened { power } => {
                process.power = Some(power);
                Ok(process)
            }
            other => Err(WorkerError::out_of_turn(&other)),
        }
    }

    /// Ends this worker and puts a fresh one in its place, which carries out `open`.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn restart(&mut self, command: Command, open: &Request) -> Result<(), WorkerError> {
        self.end();
        *self = Self::start(command, open, self.interrupted)?;
        Ok(())
    }

    /// The source of power that the worker reads, or why there is none.
    pub fn power(&self) -> Option<&PowerSetup> {
        self.power.as_ref()
    }

    /// Sends a request and waits for its answer; `on_phase` hears what the worker
    /// announces meanwhile.
    ///
    /// # Errors
    /// When the worker dies, hangs or refuses, or the wait is interrupted.
    pub fn ask(
        &mut self,
        request: &Request,
        on_phase: &mut dyn FnMut(&str),
    ) -> Result<Event, WorkerError> {
        let sent = serde_json::to_string(request).map(|line| line + "\n");
        let written = self.stdin.as_mut().zip(sent.ok());
        let written = written.map(|(stdin, line)| stdin.write_all(line.as_bytes()));
        match written {
            Some(Ok(())) => self.wait(on_phase),
            _ => Err(self.died()),
        }
    }

    fn wait(&mut self, on_phase: &mut dyn FnMut(&str)) -> Result<Event, WorkerError> {
        let mut phase = "starting".to_owned();
        let mut limit = DEFAULT_LIMIT;
        let mut heard = Instant::now();
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(WorkerError::Interrupted);
            }
            match self.events.recv_timeout(GLANCE) {
                Ok(Event::Phase {
                    phase: now,
                    limit_s,
                }) => {
                    on_phase(&now);
                    (phase, limit, heard) = (now, limit_s, Instant::now());
                }
                Ok(Event::Error { message }) => return Err(WorkerError::Refused(message)),
                Ok(event) => return Ok(event),
                Err(RecvTimeoutError::Disconnected) => return Err(self.died()),
                Err(RecvTimeoutError::Timeout) if heard.elapsed().as_secs_f64() > limit.0 => {
                    let (_, stderr, survivor) = self.end();
                    return Err(WorkerError::Hung {
                        phase,
                        limit,
                        stderr,
                        survivor,
                    });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn died(&mut self) -> WorkerError {
        let (status, stderr, _) = self.end();
        WorkerError::Died {
            status: status.map_or_else(|| "for an unknown reason".into(), |s| s.to_string()),
            stderr,
        }
    }

    /// Kills the worker if it still runs; its status and last words, and the process
    /// itself where it lives on.
    fn end(&mut self) -> (Option<ExitStatus>, String, Option<Child>) {
        self.stdin = None;
        let mut survivor = self.child.take();
        let mut status = None;
        if let Some(child) = &mut survivor {
            // Killing a process that has just ended fails, and needs not succeed.
            status = child.try_wait().ok().flatten();
            if status.is_none() {
                let _ = child.kill();
            }
            let killed = Instant::now();
            while status.is_none() && killed.elapsed() < LAST_BREATH {
                thread::sleep(BLINK);
                status = child.try_wait().ok().flatten();
            }
        }
        let tail = self.stderr.take().map(Tail::text);
        let survivor = survivor.filter(|_| status.is_none());
        (status, tail.unwrap_or_default(), survivor)
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ctrl-C goes to the whole process group of a terminal; a worker is ended by
/// its parent instead.
#[cfg(unix)]
pub(crate) fn shield_from_interrupt(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

#[cfg(windows)]
pub(crate) fn shield_from_interrupt(command: &mut Command) {
    use std::os::windows::process::CommandExt;
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
    command.creation_flags(CREATE_NEW_PROCESS_GROUP);
}

/// The next line, without what is beyond so many bytes; nothing at the end.
fn next_line(input: &mut impl BufRead, longest: u64) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.by_ref().take(longest).read_until(b'\n', &mut line)?;
    if line.len() as u64 == longest && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok((!line.is_empty()).then_some(line))
}

/// Events from a process's standard output. Drivers may print there too; what is no
/// event is passed over.
///
/// # Errors
/// When no thread can be had to listen.
pub(super) fn listen<Event: DeserializeOwned + Send + 'static>(
    stdout: Option<impl Read + Send + 'static>,
) -> io::Result<Receiver<Event>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = stdout {
        thread::Builder::new().spawn(move || {
            let mut stdout = BufReader::new(stdout);
            while let Ok(Some(line)) = next_line(&mut stdout, LONGEST_EVENT) {
                if let Ok(event) = serde_json::from_slice(&line)
                    && sender.send(event).is_err()
                {
                    break;
                }
            }
        })?;
    }
    Ok(receiver)
}

/// The last lines of what a process says.
struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Tail {
    /// Reads to the end and keeps the last lines.
    fn of(stderr: impl Read + Send + 'static) -> io::Result<Self> {
        let lines = Arc::<Mutex<VecDeque<String>>>::default();
        let kept = Arc::clone(&lines);
        let reader = thread::Builder::new().spawn(move || {
            let mut stderr = BufReader::new(stderr);
            while let Ok(Some(line)) = next_line(&mut stderr, KEPT_BYTES) {
                let line = String::from_utf8_lossy(&line);
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == KEPT_LINES {
                    kept.pop_front();
                }
                kept.push_back(line.trim().to_owned());
            }
        })?;
        Ok(Self { lines, reader })
    }

    /// The last lines of a process that has ended, on one line.
    fn text(self) -> String {
        let ended = Instant::now();
        while !self.reader.is_finished() && ended.elapsed() < LAST_WORDS {
            thread::sleep(BLINK);
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        Vec::from(lines.clone()).join(" | ")
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn start(script: &str) -> Result<(), WorkerError> {
        let open = crate::session::run::tests::open();
        Process::start(shell(script), &open, &AtomicBool::new(false)).map(|_| ())
    }

    const HELLO: &str =
        r#"echo '{"event":"hello","protocol":5,"version":"x","schema":"1.0"}'; read line; "#;

    #[test]
    fn a_worker_that_answers_is_accepted_whatever_its_driver_prints() {
        let script = format!(
            "echo MESA warning; {HELLO} echo '{{\"event\":\"opened\",\"power\":{{\"wanted\":\"none\",\"source\":null,\"sensor\":null,\"reason\":null}}}}'; read end"
        );
        start(&script).unwrap();
    }

    #[test]
    fn a_worker_that_crashes_is_reported_with_its_last_words() {
        let script = format!("{HELLO} echo 'driver: bad things' >&2; kill -SEGV $$");
        let error = start(&script).unwrap_err().to_string();
        assert!(error.contains("signal: 11"), "{error}");
        assert!(error.contains("driver: bad things"), "{error}");
    }

    /// Without an end, without a line's end, not UTF-8.
    #[test]
    fn what_a_driver_prints_costs_neither_memory_nor_the_adapter() {
        let flood = "head -c 100000000 /dev/zero | tr '\\0' x";
        let script = format!(
            "printf '\\377\\n'; {flood}; echo; {HELLO} {flood} >&2; {{ {flood}; echo; echo last words; }} >&2; \
             kill -SEGV $$"
        );
        let error = start(&script).unwrap_err().to_string();
        assert!(error.contains("signal: 11"), "{error:.300}");
        assert!(error.ends_with(" | last words"), "{error:.300}");
        assert!(error.len() < 3 * KEPT_BYTES as usize, "{}", error.len());
    }

    #[test]
    fn a_line_is_cut_and_the_next_is_whole() {
        let mut text = &b"abcdef\nabc\n\xff\nab"[..];
        let mut next = || next_line(&mut text, 4).unwrap();
        assert_eq!(next().unwrap(), b"abcd");
        assert_eq!(next().unwrap(), b"abc\n");
        assert_eq!(next().unwrap(), b"\xff\n");
        assert_eq!(next().unwrap(), b"ab");
        assert_eq!(next(), None);
    }

    /// What a worker has started, such as a meter, may outlive it and keep its
    /// standard error open: nobody waits for that.
    #[test]
    fn a_crash_is_told_although_a_child_of_the_worker_lives_on() {
        let script = format!("{HELLO} sleep 300 >/dev/null & echo child $! >&2; kill -SEGV $$");
        let error = start(&script).unwrap_err().to_string();
        let child = error.split("child ").nth(1).expect("its last words");
        let killed = shell(&format!("kill {child}")).status().unwrap();
        assert!(killed.success(), "the child had ended: {error}");
    }

    #[test]
    fn a_worker_that_is_silent_beyond_its_own_limit_is_killed() {
        let phase = r#"echo '{"event":"phase","phase":"verifying","limit_s":0.1}'; "#;
        let script = format!("{HELLO} {phase} exec sleep 60");
        let error = start(&script).unwrap_err();
        assert!(matches!(&error, WorkerError::Hung { phase, .. } if phase == "verifying"));
    }

    /// None outlives SIGKILL here: one that nobody has killed stands for it.
    #[test]
    fn a_worker_that_lives_on_is_known_until_it_ends() {
        let mut hung = WorkerError::Hung {
            phase: "verifying".into(),
            limit: Seconds(0.1),
            stderr: String::new(),
            survivor: Some(shell("exec sleep 60").spawn().unwrap()),
        };
        let mut survivors = Survivors::default();
        assert!(!survivors.any_is_left());
        survivors.add(&mut hung);
        survivors.add(&mut WorkerError::Interrupted);
        assert!(survivors.any_is_left() && survivors.any_is_left());
        survivors.processes[0].kill().unwrap();
        survivors.processes[0].wait().unwrap();
        assert!(!survivors.any_is_left());
    }

    #[test]
    fn a_worker_that_dies_of_being_killed_does_not_live_on() {
        let phase = r#"echo '{"event":"phase","phase":"verifying","limit_s":0.1}'; "#;
        let error = start(&format!("{HELLO} {phase} exec sleep 60")).unwrap_err();
        assert!(matches!(error, WorkerError::Hung { survivor: None, .. }));
    }

    #[test]
    fn another_protocol_and_an_interruption_end_the_wait() {
        let script = r#"echo '{"event":"hello","protocol":99,"version":"x"}'"#;
        assert!(matches!(start(script), Err(WorkerError::Protocol(99))));
        let script = r#"echo '{"event":"hello","protocol":4,"version":"x"}'"#;
        assert!(matches!(start(script), Err(WorkerError::Protocol(4))));
        let script = r#"echo '{"event":"hello","protocol":5,"version":"x","schema":"2.0"}'"#;
        assert!(matches!(start(script), Err(WorkerError::Schema(schema)) if schema == "2.0"));
        let open = crate::session::run::tests::open();
        let interrupted = AtomicBool::new(true);
        let waited = Process::start(shell("exec sleep 60"), &open, &interrupted);
        assert!(matches!(waited.err(), Some(WorkerError::Interrupted)));
    }
}
