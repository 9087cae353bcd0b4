//! The content hash: by which a report is known, and a later change noticed.
//!
//! It is the SHA-256 of the report as JSON in a canonical form, without the member
//! that states it. The form is that of Python's
//! `json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`
//! in UTF-8, so that anybody can compute it: members sorted by their names, no
//! spaces, in strings nothing escaped that need not be, whole numbers as they are
//! and others with the fewest digits that read back as the same number, with an
//! exponent below 10⁻⁴ and from 10¹⁶ on. The canonical form of RFC 8785 would not
//! do: it has no whole numbers above 2⁵³, and seeds are.

use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

/// The member of a report that holds the hash.
const MEMBER: &str = "content_sha256";

/// What a report says its content is, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The hash that the report states; reports before schema 1.4 state none.
    pub stated: Option<String>,
    /// The hash of what it holds.
    pub found: String,
}

impl Content {
    /// That of a report.
    pub(super) fn of(report: &Value) -> Self {
        let stated = report.get(MEMBER).and_then(Value::as_str);
        let mut canonical = String::new();
        write(report, true, &mut canonical);
        Self {
            stated: stated.map(str::to_owned),
            found: hex(&Sha256::digest(canonical)),
        }
    }

    /// Whether the report was changed after it was written.
    pub fn is_altered(&self) -> bool {
        self.stated.as_ref().is_some_and(|hash| *hash != self.found)
    }
}

/// Appends the canonical form of a value; of the outermost object, without the hash.
fn write(value: &Value, outermost: bool, text: &mut String) {
    match value {
        Value::Number(number) => text.push_str(&canonical_number(number)),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, false, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let hashed = members
                .iter()
                .filter(|(name, _)| !outermost || *name != MEMBER);
            let mut members: Vec<_> = hashed.collect();
            // In the order of code points, which is that of UTF-8 bytes.
            members.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(&Value::from(name.as_str()), false, text);
                text.push(':');
                write(member, false, text);
            }
            text.push('}');
        }
        // Strings are escaped as Python does.
        Value::Null | Value::Bool(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

fn canonical_number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if !number.is_u64() && !number.is_i64() => canonical_float(float),
        _ => number.to_string(),
    }
}

/// As Python's `repr` has it.
fn canonical_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = value.to_string();
        return match plain.contains('.') {
            true => plain,
            false => plain + ".0",
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn canonical(value: &Value) -> String {
        let mut text = String::new();
        write(value, true, &mut text);
        text
    }

    /// Right: `repr` of each in Python 3.11.
    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (4.2e-7, "4.2e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.2345678901234567e17, "1.2345678901234566e+17"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(canonical_float(value), text);
        }
    }

    #[test]
    fn only_the_outermost_hash_is_left_out_and_names_are_sorted() {
        let value = json!({
            "b": [1, u64::MAX, -3, 1e-9, true, null],
            "content_sha256": "abc",
            "Ä": "ü\n\"\\\u{1}\u{7f}/",
            "a": {"content_sha256": "kept", "": 0},
        });
        assert_eq!(
            canonical(&value),
            "{\"a\":{\"\":0,\"content_sha256\":\"kept\"},\
             \"b\":[1,18446744073709551615,-3,1e-09,true,null],\
             \"Ä\":\"ü\\n\\\"\\\\\\u0001\u{7f}/\"}"
        );
    }

    /// Python 3.11 on the same text:
    ///
    /// ```python
    /// report = json.loads(text)
    /// report.pop("content_sha256", None)
    /// form = json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    /// hashlib.sha256(form.encode()).hexdigest()
    /// ```
    #[test]
    fn the_hash_is_what_python_computes() {
        let text = r#"{"z": {"seed": 18446744073709551615, "s": [0.00003, 1e22, 12.0, -0.0]},
            "content_sha256": "c0ffee", "adapter": "Testcard \u00e4 \ud83d\ude00 \u0007/", "n": null}"#;
        let content = Content::of(&serde_json::from_str(text).unwrap());
        assert_eq!(
            content.found,
            "0216434079bf6c7ab87acbe7dc57039406290002369fbb0b27e9f2e70e22bb85"
        );
        assert_eq!(content.stated.as_deref(), Some("c0ffee"));
        assert!(content.is_altered());
    }
}
