//! One page that opens offline: words, charts, tables and where all of it comes
//! from.

mod fleet;
mod page;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Output, State, UndefinedBehavior, Value, context, escape_formatter};
use sha2::{Digest, Sha256};

pub use self::fleet::page as fleet_page;
use self::page::{Section, Together};
use super::untrusted::markup;
use super::{Document, Renderer, Run, chart};

/// The page, of one report or of several, which then stand side by side above
/// their sections.
#[derive(Clone, Copy, Debug)]
pub struct Html;

const TEMPLATE: &str = "report.html";
/// What templates share.
const SHARED: [(&str, &str); 3] = [
    ("head.html", include_str!("head.html")),
    ("parts.html", include_str!("parts.html")),
    ("foot.html", include_str!("foot.html")),
];
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("sort.js");

impl Renderer for Html {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let text = page(runs).expect("the template is part of the program and tested");
        Document::only("report.html", text)
    }
}

fn page(runs: &[Run]) -> Result<String, minijinja::Error> {
    let sections = Section::all(runs);
    let title = match &sections[..] {
        [one] => format!("flopwatt: {}", one.label),
        several => format!("flopwatt: {} reports", several.len()),
    };
    environment(TEMPLATE, include_str!("report.html"))?
        .get_template(TEMPLATE)?
        .render(context! {
            title,
            together => Serde(Together::of(runs)),
            reports => Serde(sections),
            ..surroundings()
        })
}

/// Where a template finds what it needs. By its name it is HTML, in which everything
/// is escaped.
fn environment(
    name: &'static str,
    template: &'static str,
) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .build()
        .expect("the default delimiters are valid");
    environment.set_syntax(syntax);
    environment.set_formatter(untrusted);
    for (name, template) in SHARED.into_iter().chain([(name, template)]) {
        environment.add_template(name, template)?;
    }
    Ok(environment)
}

/// What surrounds the content of every page.
fn surroundings() -> Value {
    let style = format!("{}{STYLE}", chart::STYLE);
    context! {
        version => env!("CARGO_PKG_VERSION"),
        style_hash => hash(&style),
        script_hash => hash(SCRIPT),
        style,
        script => SCRIPT,
    }
}

/// Strings are those of reports: they get on one line and lose their control
/// characters, which escaping alone leaves.
fn untrusted(out: &mut Output, state: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    match value.as_str() {
        Some(text) if !value.is_safe() => Ok(out.write_str(&markup(text))?),
        _ => escape_formatter(out, state, value),
    }
}

/// By which a content security policy knows an inline style or script.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests;
