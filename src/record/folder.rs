//! Names of report folders.

use jiff::tz::TimeZone;

use super::Report;

/// `<UTC time>-<host>-<adapter>-<short id>`, of characters that every file
/// system and shell takes as they are.
pub fn folder_name(report: &Report) -> String {
    let time = report.started.to_zoned(TimeZone::UTC);
    let id = report.run_id.simple().to_string();
    format!(
        "{}-{}-{}-{}",
        time.strftime("%Y%m%dT%H%M%SZ"),
        slug(&report.host.name),
        slug(&report.adapter.name),
        // The end of a UUIDv7 is random, the beginning is the time again.
        &id[id.len() - 8..]
    )
}

/// Letters, digits and single hyphens, at most 40 characters.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(40);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "unnamed".into()
    } else {
        slug.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_cannot_leave_the_folder() {
        assert_eq!(
            slug("llvmpipe (LLVM 15.0.6, 256 bits)"),
            "llvmpipe-llvm-15-0-6-256-bits"
        );
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("寒武纪"), "unnamed");
        assert_eq!(slug(&"x/".repeat(100)).len(), 39);
    }
}
