//! Many reports as one, in the formats that people and programs read.

mod parts;
mod table;
mod words;

pub use super::html::fleet_page as html;
pub use table::table;

pub(super) use parts::{Cell, Part, of_page};
pub(super) use words::summary;

use super::Document;
use crate::fleet::Fleet;

/// The record itself, indented.
pub fn json(fleet: &Fleet) -> Document {
    let json = serde_json::to_string_pretty(fleet);
    Document {
        file: "fleet.json".to_owned(),
        text: json.expect("its maps have strings as keys") + "\n",
    }
}

/// Four cards of a hostile name, the last half as fast as the others, and a file that is
/// as hostile.
#[cfg(test)]
pub(super) fn example() -> Fleet {
    use crate::fleet::{Ledger, LeftOut, Why};
    use crate::record::Content;
    use crate::render::fixture;

    let mut ledger = Ledger::default();
    for card in 0..4_u128 {
        let mut report = match card {
            3 => fixture::slower(&fixture::report().adapter.name),
            _ => fixture::powered(),
        };
        report.run_id = uuid::Uuid::from_u128(report.run_id.as_u128() + card);
        report.host.name = format!("node{card:02}<b>");
        report.datasheet = None;
        let content = Content {
            stated: None,
            found: String::new(),
        };
        let file = format!("{card}.json");
        ledger.add(Ledger::judge(file.as_ref(), &report, &content));
    }
    let message = "<i>.json is not a flopwatt report: \u{1b}[31m".to_owned();
    let broken = LeftOut::new("<i>.json".as_ref(), Why::NotAReport, message);
    ledger.add(Err(broken));
    Fleet::of(&ledger.close(), true).expect("there are reports")
}
