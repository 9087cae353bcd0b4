//! Text that somebody else wrote, made harmless for where it is shown.

use std::borrow::Cow;

/// On one line and without characters that steer a terminal or turn the
/// direction of text.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(visible).collect()
}

fn visible(c: char) -> char {
    match c {
        _ if c.is_whitespace() => ' ',
        _ if steers(c) => '\u{fffd}',
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

/// As one word, which a line of words can hold.
pub(super) fn word(text: &str) -> String {
    let word: String = plain(text).replace(' ', "_");
    if word.is_empty() { "_".into() } else { word }
}

/// As text in Markdown and in a cell of its tables: no markup, no HTML, no
/// link, nobody mentioned.
pub(super) fn markdown(text: &str) -> String {
    let mut escaped = String::new();
    for c in plain(text).chars() {
        match c {
            // A zero-width space after it keeps GitHub from mentioning a person
            // or an issue, which an entity alone does not.
            '@' | '#' => escaped.push_str(&format!("{c}&#8203;")),
            ',' | '.' | ';' | ':' | '-' | '+' | '/' | '(' | ')' | '%' | '\'' | '=' => {
                escaped.push(c);
            }
            _ if c.is_ascii_punctuation() => escaped.push_str(&format!("&#{};", u32::from(c))),
            _ => escaped.push(c),
        }
    }
    escaped
        .replace("://", "&#58;//")
        .replace("www.", "www&#46;")
}

/// As text in XML and HTML, between tags and in quoted attributes.
pub(super) fn markup(text: &str) -> String {
    let mut escaped = String::new();
    for c in plain(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML has no such characters, not even escaped.
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// An address that a page may link to; whoever made the report might have put
/// anything there.
pub(super) fn link(url: &str) -> Option<&str> {
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    is_web.then_some(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_is_text() {
        assert_eq!(
            markdown("<script>|x\n`a` [b](c) *d*"),
            "&#60;script&#62;&#124;x &#96;a&#96; &#91;b&#93;(c) &#42;d&#42;"
        );
        assert_eq!(
            markdown("@me #1 https://x www.y"),
            "@&#8203;me #&#8203;1 https&#58;//x www&#46;y"
        );
    }

    #[test]
    fn only_web_pages_are_linked() {
        assert_eq!(link("https://a.b/c"), Some("https://a.b/c"));
        for other in [
            "javascript:alert(1)",
            "data:text/html,x",
            " https://a",
            "",
            "file:///a",
        ] {
            assert_eq!(link(other), None);
        }
    }

    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(
            plain("a\u{1b}[31m\r\nb\u{202e}c"),
            "a\u{fffd}[31m  b\u{fffd}c"
        );
        assert_eq!(word("a b\t"), "a_b_");
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
        fn no_text_brings_markup_into_html(text in "[\\PC\\s<>&\"']{0,40}") {
            let escaped = markup(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'', '\n']));
            for entity in escaped.split('&').skip(1) {
                prop_assert!(["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|e| entity.starts_with(e)));
            }
        }

        #[test]
        fn no_text_brings_markup_into_markdown(text in "[\\PC\\s<>|`*_~!\\[\\]\\\\]{0,40}") {
            let escaped = markdown(&text);
            prop_assert!(!escaped.contains(['<', '>', '|', '`', '[', ']', '*', '_', '\\', '\n']));
            prop_assert!(!escaped.contains("://"));
        }
    }
}
