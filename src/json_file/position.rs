//! Where in a JSON text a value stands, and which value stands at a place: what
//! an error message needs beside serde's own words.

/// The path of the value being read at byte `offset`, such as
/// `accelerators[3].figures.fp32.value`.
pub(crate) fn path_at(text: &str, offset: usize) -> String {
    let mut scanner = Scanner::new(text);
    while scanner.next_start().is_some_and(|start| start < offset) {
        scanner.next_token();
    }
    scanner.path()
}

/// The byte at which the value with that path starts.
pub(crate) fn offset_of(text: &str, path: &str) -> Option<usize> {
    let mut scanner = Scanner::new(text);
    loop {
        let start = scanner.next_token()?;
        if scanner.at_value && scanner.path() == path {
            return Some(start);
        }
    }
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
        if let Some(Frame::Array(index)) = self.open.last_mut() {
            index.get_or_insert(0);
        }
    }

    fn open_container(&mut self, frame: Frame<'t>) {
        self.start_value();
        self.open.push(frame);
    }

    fn next_item(&mut self) {
        self.after_colon = false;
        match self.open.last_mut() {
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
        match self.open.last_mut() {
            Some(Frame::Object(key)) if !self.after_colon => {
                *key = self.text.get(start + 1..end);
            }
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
        let place = |path| offset_of(TEXT, path).map(|offset| line_and_column(TEXT, offset));
        assert_eq!(place("list[0].deep.value"), Some((3, 35)));
        assert_eq!(place("list[1].id"), Some((4, 12)));
        assert_eq!(place("end"), Some((6, 10)));
        assert_eq!(place("list"), Some((2, 11)));
        assert_eq!(place("list[1]"), Some((4, 5)));
        assert_eq!(place("list[2].id"), None);
        assert_eq!(place("id"), None);
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
            let _ = offset_of(&text, "x");
            let _ = line_and_column(&text, offset);
        }

        #[test]
        fn nor_does_text_that_looks_like_json(
            text in "[\\[\\]{}\":,\\\\ a1é\n]{0,40}", offset in 0_usize..60,
        ) {
            let _ = path_at(&text, offset);
            let _ = offset_of(&text, "x");
        }
    }
}
