//! The only ways to standard output and standard error, and what makes words of
//! others fit for both. clippy refuses every other way: `clippy.toml`, and the lints at
//! the head of the crate.

// This is the way.
#![allow(clippy::disallowed_methods)]

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use indicatif::ProgressBar;

use crate::units::Bytes;

/// The longest text that a format shows, and the longest message, in characters: a
/// sentence of our own that lists what a run measured is shorter.
const LONGEST_TEXT: usize = 4000;
/// The longest line on standard error, in characters, and so many lines of a message:
/// an error of a shader quotes its source.
const LONGEST_LINE: usize = 1000;
const MOST_LINES: usize = 60;

/// Writes to standard output, where nothing steers a terminal or commands a build
/// server; a reader that has seen enough is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    match Stdout.write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Standard output for what is too long to be in memory, a whole number of lines at a
/// time.
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(lines);
        io::stdout().lock().write_all(printable(&text).as_bytes())?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().lock().flush()
    }
}

/// A message on standard error, in one piece: standard error is not buffered. Nobody
/// needs to listen.
pub(crate) fn say(message: String) {
    let _ = io::stderr().write_all(said(&message).as_bytes());
}

/// The message as it is said: lines behind the first are indented, so that no name with
/// a line break looks like a message.
fn said(message: &str) -> String {
    let short = shortened(message, LONGEST_TEXT);
    let mut lines = short.lines().filter(|line| !line.trim().is_empty());
    let shown = lines.by_ref().take(MOST_LINES);
    let shown: Vec<_> = shown.map(|line| shortened(line, LONGEST_LINE)).collect();
    let mut said = shown.join("\n  ");
    if lines.next().is_some() {
        said += &format!("\n  … ({})", Bytes(message.len() as u64));
    }
    printable(&said).into_owned() + "\n"
}

/// Commands to GitHub's runner on standard error, whose data was made harmless when they
/// were put together.
pub(crate) fn command_runner(commands: &str) {
    let _ = io::stderr().write_all(commands.as_bytes());
}

/// Standard output of a process that answers its parent in JSON, which no person reads.
pub(crate) fn to_parent() -> io::Stdout {
    io::stdout()
}

/// Whether somebody may be looking at standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Shows on a bar what begins.
pub(crate) fn begin(bar: &ProgressBar, name: &str) {
    bar.set_prefix(plain(name));
    bar.set_message("");
}

/// Shows on a bar what goes on.
pub(crate) fn show(bar: &ProgressBar, phase: &str) {
    bar.set_message(plain(phase));
}

/// On one line, not too long, and without characters that steer a terminal or turn the
/// direction of text.
pub(crate) fn plain(text: &str) -> String {
    shortened(text, LONGEST_TEXT).chars().map(visible).collect()
}

fn visible(c: char) -> char {
    match c {
        _ if c.is_whitespace() => ' ',
        // Of the latter, XML has none, not even escaped.
        _ if steers(c) || matches!(c, '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
        _ => c,
    }
}

/// Whether a character steers a terminal or turns the direction of text.
fn steers(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || turns
}

/// A text of `most` characters at most. Of a longer one both ends are kept, since
/// messages say at theirs what was expected, and its size is told.
pub(crate) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most || text.chars().nth(most).is_none() {
        return Cow::Borrowed(text);
    }
    let place = |found: Option<(usize, char)>| found.map_or(0, |(place, _)| place);
    let head = place(text.char_indices().nth(most * 6 / 10));
    let tail = place(text.char_indices().nth_back(most * 3 / 10));
    let size = Bytes(text.len() as u64);
    Cow::Owned(format!("{}… ({size}) …{}", &text[..head], &text[tail..]))
}

/// A whole text as standard output and standard error can show it, on as many
/// lines. What steers a terminal, and what GitHub's runner takes from the output of
/// a job as a command, is written as `\u001b`, so that JSON stays the same data.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| !steers(c) || matches!(c, '\n' | '\t');
    let commands = |line: &str| line.trim_start().starts_with("::") || line.contains("##[");
    if text.chars().all(harmless) && !text.lines().any(commands) {
        return Cow::Borrowed(text);
    }
    let mut printable = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut line = line.replace("##[", "##\\u005b");
        if commands(&line) {
            line = line.replacen("::", "\\u003a:", 1);
        }
        for c in line.chars() {
            match harmless(c) {
                true => printable.push(c),
                false => printable += &format!("\\u{:04x}", u32::from(c)),
            }
        }
    }
    Cow::Owned(printable)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(
            plain("a\u{1b}[31m\r\nb\u{202e}c\u{ffff}"),
            "a\u{fffd}[31m  b\u{fffd}c\u{fffd}"
        );
    }

    /// 1200 letters of two bytes are 2400 bytes, 2.34 KiB. Of 1000, the first 600 stay
    /// and the last 301.
    #[test]
    fn long_texts_keep_both_ends_and_tell_their_size() {
        assert_eq!(shortened(&"é".repeat(1000), 1000), "é".repeat(1000));
        let text = shortened(&"é".repeat(1200), 1000).into_owned();
        let ends = ["é".repeat(600), "é".repeat(301)];
        assert_eq!(text, ends.join("… (2.3 KiB) …"));
        assert_eq!(shortened(&text, 1000), text, "once is enough");
        assert!(plain(&"é".repeat(1 << 20)).chars().count() <= LONGEST_TEXT);
    }

    #[test]
    fn a_message_cannot_be_taken_for_several() {
        let message = "error: no \"a\r\nerror: b\n\n::error::c\" ##[group]\u{1b}[2J";
        assert_eq!(
            said(message),
            "error: no \"a\n  error: b\n  \\u003a:error::c\" ##\\u005bgroup]\\u001b[2J\n"
        );
        let lines = said(&"line\n".repeat(1000));
        assert_eq!(lines.lines().count(), MOST_LINES + 1);
        assert!(lines.ends_with("\n  … (4.9 KiB)\n"), "{lines}");
        let unknown = said(&format!("tier `{}`, expected quick", "x".repeat(20 << 20)));
        assert!(unknown.starts_with("tier `x") && unknown.len() < 1100);
        assert!(unknown.ends_with("x`, expected quick\n"), "{unknown}");
    }

    #[test]
    fn a_whole_text_keeps_its_lines_and_its_json() {
        let shown = printable("a\tb\nc\u{1b}[1m\u{9b}2J\u{61c}\n");
        assert_eq!(shown, "a\tb\nc\\u001b[1m\\u009b2J\\u061c\n");
        let usual = "{\n  \"a\": [\"µ::b\"]\n}\n";
        assert!(matches!(printable(usual), Cow::Borrowed(text) if text == usual));
    }

    /// Runner commands as its source has them: `::` at the start of a line, blanks
    /// aside, and the older `##[` anywhere.
    #[test]
    fn no_line_commands_githubs_runner() {
        let shown = printable("a\n  ::error::b\nc ##[group]d\ne::f[1]\n");
        assert_eq!(
            shown,
            "a\n  \\u003a:error::b\nc ##\\u005bgroup]d\ne::f[1]\n"
        );
    }

    proptest! {
        #[test]
        fn json_stays_the_same_data(text in "[\\PC\\p{Cc}\u{9b}\u{202e}#\\[:]{0,40}") {
            let json = serde_json::to_string_pretty(&[&text]).unwrap();
            let shown = printable(&json);
            prop_assert!(!shown.chars().any(|c| steers(c) && c != '\n'));
            let back: Vec<String> = serde_json::from_str(&shown).unwrap();
            prop_assert_eq!(back, [text]);
        }

        #[test]
        fn no_message_steers_or_commands(text in "[\\PC\\p{Cc}\u{9b}\u{202e}#\\[:\n]{0,60}") {
            let said = said(&text);
            prop_assert!(!said.chars().any(|c| steers(c) && !matches!(c, '\n' | '\t')));
            let commands = |line: &str| line.trim_start().starts_with("::");
            prop_assert!(!said.contains("##[") && !said.lines().any(commands));
            prop_assert!(said.lines().skip(1).all(|line| line.starts_with("  ")));
        }
    }
}
