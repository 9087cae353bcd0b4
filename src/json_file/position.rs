//! Where in a JSON text a value stands, and which value stands at a place: what
//! an error message needs beside serde's own words.

use std::collections::{HashMap, HashSet};

/// Containers that are open at once, beyond which a path is not told any further:
/// serde reads none that are deeper, but skips them.
const DEEPEST: usize = 200;

/// The path of the value being read at byte `offset`, such as
/// `accelerators[3].figures.fp32.value`.
pub(crate) fn path_at(text: &str, offset: usize) -> String {
    let mut scanner = Scanner::new(text);
    while scanner.next_start().is_some_and(|start| start < offset) {
        scanner.next_token();
    }
    scanner.path()
}

/// Line and column, counted from one, of the values with these paths, as far as there
/// are any.
pub(crate) fn places_of<'p>(
    text: &str,
    paths: impl IntoIterator<Item = &'p str>,
) -> HashMap<&'p str, (usize, usize)> {
    let mut wanted: HashSet<&str> = paths.into_iter().collect();
    let mut places = HashMap::new();
    let mut scanner = Scanner::new(text);
    let (mut counted, mut place) = (0, (1, 1));
    while !wanted.is_empty()
        && let Some(start) = scanner.next_token()
    {
        if !scanner.at_value {
            continue;
        }
        if let Some(path) = wanted.take(scanner.path().as_str()) {
            // From the last place on, since there may be as many as values.
            let (lines, column) = line_and_column(&text[counted..], start - counted);
            place = match lines {
                1 => (place.0, place.1 + column - 1),
                _ => (place.0 + lines - 1, column),
            };
            counted = start;
            places.insert(path, place);
        }
    }
    places
}

/// The byte offset of a line and column as serde_json counts them: from one,
/// columns in bytes.
pub(crate) fn offset_from(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    before + column
}

/// The line and column, counted from one, of a byte offset.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    (line, before.len() - line_start + 1)
}

/// A container that is open where the scanner stands.
enum Frame<'t> {
    /// An object, with the key whose value is being read.
    Object(Option<&'t str>),
    /// An array, with the index being read once there is one.
    Array(Option<usize>),
}

/// Walks over the tokens of a text that may not be valid JSON.
struct Scanner<'t> {
    text: &'t str,
    at: usize,
    open: Vec<Frame<'t>>,
    /// How many more are open than are told.
    deeper: usize,
    /// The last token starts a value.
    at_value: bool,
    /// The last punctuation was the colon after a key.
    after_colon: bool,
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            open: Vec::new(),
            deeper: 0,
            at_value: false,
            after_colon: false,
        }
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.open {
            match frame {
                Frame::Object(Some(key)) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                Frame::Array(Some(index)) => path.push_str(&format!("[{index}]")),
                Frame::Object(None) | Frame::Array(None) => {}
            }
        }
        path
    }

    /// Where the next token starts.
    fn next_start(&self) -> Option<usize> {
        let rest = &self.text.as_bytes()[self.at..];
        let blanks = rest.iter().position(|b| !b.is_ascii_whitespace())?;
        Some(self.at + blanks)
    }

    /// Reads one token and returns where it starts.
    fn next_token(&mut self) -> Option<usize> {
        let start = self.next_start()?;
        self.at = start + 1;
        self.at_value = false;
        match self.text.as_bytes()[start] {
            b'{' => self.open_container(Frame::Object(None)),
            b'[' => self.open_container(Frame::Array(None)),
            b'}' | b']' if self.deeper > 0 => self.deeper -= 1,
            b'}' | b']' => {
                self.open.pop();
            }
            b':' => self.after_colon = true,
            b',' => self.next_item(),
            b'"' => self.string(start),
            _ => {
                self.start_value();
                self.at = self.end_of_scalar(start);
            }
        }
        Some(start)
    }

    fn start_value(&mut self) {
        self.at_value = true;
        self.after_colon = false;
        if let Some(Frame::Array(index)) = self.innermost() {
            index.get_or_insert(0);
        }
    }

    fn open_container(&mut self, frame: Frame<'t>) {
        self.start_value();
        match self.open.len() < DEEPEST {
            true => self.open.push(frame),
            false => self.deeper += 1,
        }
    }

    /// The innermost container, unless it is too deep to be told.
    fn innermost(&mut self) -> Option<&mut Frame<'t>> {
        self.open.last_mut().filter(|_| self.deeper == 0)
    }

    fn next_item(&mut self) {
        self.after_colon = false;
        match self.innermost() {
            Some(Frame::Object(key)) => *key = None,
            Some(Frame::Array(Some(index))) => *index += 1,
            Some(Frame::Array(None)) | None => {}
        }
    }

    fn string(&mut self, start: usize) {
        let bytes = self.text.as_bytes();
        let mut end = start + 1;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let end = end.min(bytes.len());
        self.at = (end + 1).min(bytes.len());
        let (text, is_key) = (self.text, !self.after_colon);
        match self.innermost() {
            Some(Frame::Object(key)) if is_key => *key = text.get(start + 1..end),
            _ => self.start_value(),
        }
    }

    fn end_of_scalar(&self, start: usize) -> usize {
        let rest = &self.text.as_bytes()[start..];
        rest.iter()
            .position(|b| b.is_ascii_whitespace() || b",]}".contains(b))
            .map_or(self.text.len(), |length| start + length.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n  \"list\": [\n    {\"id\": \"a\", \"deep\": {\"value\": -5}},\n    {\"id\": \"b:,{\\\"\", \"deep\": {}}\n  ],\n  \"end\": true\n}\n";

    #[test]
    fn a_path_is_found_where_its_value_starts() {
        let place = |path| places_of(TEXT, [path]).get(path).copied();
        assert_eq!(place("list[0].deep.value"), Some((3, 35)));
        assert_eq!(place("list[1].id"), Some((4, 12)));
        assert_eq!(place("end"), Some((6, 10)));
        assert_eq!(place("list"), Some((2, 11)));
        assert_eq!(place("list[1]"), Some((4, 5)));
        assert_eq!(place("list[2].id"), None);
        assert_eq!(place("id"), None);
        let all = places_of(TEXT, ["end", "list[0].deep", "list[0].deep.value", "no"]);
        assert_eq!([all["list[0].deep"], all["end"]], [(3, 25), (6, 10)]);
        assert_eq!((all["list[0].deep.value"], all.len()), ((3, 35), 3));
    }

    /// A value is found in one pass, whatever the number of values that are wanted.
    #[test]
    fn no_depth_and_no_number_of_values_takes_long() {
        let deep = "[".repeat(10_000_000);
        assert!(path_at(&deep, deep.len()).len() <= 3 * DEEPEST);
        let closed = format!("{{\"a\":{}{},\"b\":[1]}}", "[".repeat(300), "]".repeat(300));
        assert_eq!(path_at(&closed, closed.len() - 2), "b[0]");
        let paths: Vec<String> = (0..100_000).map(|index| format!("[{index}]")).collect();
        let text = format!("[{}]", vec!["1"; paths.len()].join(",\n"));
        let places = places_of(&text, paths.iter().map(String::as_str));
        assert_eq!(places["[99999]"], (100_000, 1));
    }

    #[test]
    fn a_place_tells_the_path_of_its_value() {
        let at = |line, column| path_at(TEXT, offset_from(TEXT, line, column));
        assert_eq!(at(3, 35), "list[0].deep.value");
        assert_eq!(at(6, 13), "end");
        assert_eq!(at(4, 19), "list[1].id");
    }

    #[test]
    fn line_and_column_undo_the_offset() {
        for (line, column) in [(1, 1), (3, 8), (4, 1)] {
            let offset = offset_from(TEXT, line, column);
            assert_eq!(line_and_column(TEXT, offset - 1), (line, column));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_scanner_panic(text in ".{0,60}", offset in 0_usize..80) {
            let _ = path_at(&text, offset);
            let _ = places_of(&text, ["x"]);
            let _ = line_and_column(&text, offset);
        }

        #[test]
        fn nor_does_text_that_looks_like_json(
            text in "[\\[\\]{}\":,\\\\ a1é\n]{0,40}", offset in 0_usize..60,
        ) {
            let _ = path_at(&text, offset);
            let _ = places_of(&text, ["x"]);
        }
    }
}
