//! Text that somebody else wrote, made harmless for where it is shown.

pub(super) use crate::console::plain;

/// As one word, which a line of words can hold.
pub(super) fn word(text: &str) -> String {
    let word: String = plain(text).replace(' ', "_");
    if word.is_empty() { "_".into() } else { word }
}

/// As text in Markdown, in a cell of its tables and at the start of a line: no markup,
/// no HTML, no list, no link, nobody mentioned.
pub(super) fn markdown(text: &str) -> String {
    let mut escaped = String::new();
    let text = plain(text);
    let text = text.trim_start();
    // Behind digits or nothing, with nothing or a space behind it, it makes a list.
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let is_bullet = |place: usize| {
        let next = text[place + 1..].chars().next();
        place == digits && matches!(next, None | Some(' ' | '-'))
    };
    for (place, c) in text.char_indices() {
        match c {
            // A zero-width space after it keeps GitHub from mentioning a person
            // or an issue, which an entity alone does not.
            '@' | '#' => escaped.push_str(&format!("{c}&#8203;")),
            '-' if escaped.to_ascii_lowercase().ends_with("gh") => escaped.push_str("-&#8203;"),
            ',' | ';' | ':' | '/' | '(' | '%' | '\'' => escaped.push(c),
            '.' | '-' | '+' | ')' if is_bullet(place) => {
                escaped.push_str(&format!("&#{};", u32::from(c)));
            }
            '.' | '-' | '+' | ')' | '=' => escaped.push(c),
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
            markdown("@me #1 gh-1 https://x www.y"),
            "@&#8203;me #&#8203;1 gh-&#8203;1 https&#58;//x www&#46;y"
        );
        let starts = [" - x", "+", "12. x", "3) x", "---", "1.5 W - 2", "-5.0"];
        let shown = [
            "&#45; x",
            "&#43;",
            "12&#46; x",
            "3&#41; x",
            "&#45;--",
            "1.5 W - 2",
            "-5.0",
        ];
        assert_eq!(starts.map(markdown), shown);
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
    fn a_word_has_no_spaces() {
        assert_eq!(word("a b\t"), "a_b_");
        assert_eq!(word(""), "_");
    }

    proptest! {
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
