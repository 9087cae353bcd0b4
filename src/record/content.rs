//! The hash of a report's file: by which it is known, and a later change noticed.
//!
//! It is the SHA-256 of the file's bytes without the 64 digits of the hash itself.
//! No canonical form is needed, which every language would have to write numbers
//! alike for, and no byte can change unnoticed.

use sha2::{Digest, Sha256};

use super::Report;

/// What a report's file says its hash is, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The hash that the report states; reports before schema 1.5 state none.
    pub stated: Option<String>,
    /// The hash of its file.
    pub found: String,
}

impl Content {
    /// That of a report that was read from `text`.
    pub(super) fn of(text: &str, report: &Report) -> Self {
        let stated = report.file_sha256.clone();
        Self {
            found: hash(text.splitn(2, stated.as_deref().unwrap_or_default())),
            stated,
        }
    }

    /// Whether the report was changed after it was written.
    pub fn is_altered(&self) -> bool {
        self.stated.as_ref().is_some_and(|hash| *hash != self.found)
    }

    /// What a person has to know of `report`, whose content this is, before they rely on
    /// it, as the rest of a sentence that begins with its file; nothing where it is as it
    /// was written, or so old that it never had a hash.
    pub fn doubt(&self, report: &Report) -> Option<&'static str> {
        match self.stated {
            // Which no longer holds for schema 1.4: its hash was another, of the content.
            None if ["1.0", "1.1", "1.2", "1.3"].contains(&report.schema_version.as_str()) => None,
            None => Some(
                "states no file_sha256, the hash of schema 1.5 and later: whether it was changed \
                 after it was written cannot be told",
            ),
            Some(_) if self.is_altered() => Some(
                "was changed after it was written: its content does not have the hash that it \
                 states",
            ),
            Some(_) => None,
        }
    }
}

/// The text of a report's file, in which the hash is still empty.
///
/// # Errors
/// When it cannot be JSON: its maps have strings as keys, so that it can.
pub fn unsealed(report: &Report) -> serde_json::Result<String> {
    let report = Report {
        file_sha256: Some(String::new()),
        ..report.clone()
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// The same text with its hash.
pub fn seal(text: &str) -> String {
    // Only the member itself has quotes that are not escaped.
    let hash = hash([text]);
    let member = |hash: &str| format!("\"file_sha256\": \"{hash}\"");
    text.replacen(&member(""), &member(&hash), 1)
}

fn hash<'t>(pieces: impl IntoIterator<Item = &'t str>) -> String {
    let mut hasher = Sha256::new();
    pieces.into_iter().for_each(|piece| hasher.update(piece));
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{from_json, tests::report};

    fn content(text: &str) -> Content {
        Content::of(text, &from_json(text, "a".as_ref()).unwrap())
    }

    /// Numbers that formats of others write in several ways are no matter.
    fn sealed() -> String {
        let text = unsealed(&report()).unwrap();
        let odd = "\"schema_version\": \"1.5\", \"odd\": [-0.0, 36893488147419103233, 5E-50],";
        seal(&text.replacen("\"schema_version\": \"1.5\",", odd, 1))
    }

    #[test]
    fn what_was_written_is_not_altered() {
        let content = content(&sealed());
        assert_eq!(content.stated.as_ref(), Some(&content.found));
        assert_eq!(content.doubt(&report()), None);
    }

    /// Right: SHA-256 of the text without the digits, by `sha256sum`.
    #[test]
    fn the_hash_is_that_of_the_bytes_without_its_digits() {
        let text = "{\"a\": -0.0,\n\"file_sha256\": \"\"}\n";
        let hash = "3cddd787824e22b0711d98c878ed97dc4b7caa872eb3c77b69cae2304a123474";
        assert_eq!(
            seal(text),
            format!("{{\"a\": -0.0,\n\"file_sha256\": \"{hash}\"}}\n")
        );
    }

    /// The digits are left out where they are the hash, and nowhere else.
    #[test]
    fn a_second_copy_of_the_digits_is_noticed() {
        let text = sealed();
        let digits = content(&text).stated.unwrap();
        let before = text.replacen("\"odd\"", &format!("\"odd{digits}\""), 1);
        let end = text.rfind('}').unwrap();
        let after = format!("{}, \"odder\": \"{digits}\"}}\n", &text[..end]);
        for changed in [before, after] {
            assert!(content(&changed).is_altered(), "{changed}");
        }
    }

    /// Of every byte one bit: the text is no report any more, has another hash, or
    /// states none.
    #[test]
    fn every_flipped_byte_is_noticed() {
        let text = sealed();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << (at % 8);
            let read = String::from_utf8(bytes).ok().and_then(|changed| {
                let report = from_json(&changed, "a".as_ref()).ok()?;
                Some(Content::of(&changed, &report).doubt(&report).is_some())
            });
            assert_ne!(read, Some(false), "byte {at}");
        }
    }
}
