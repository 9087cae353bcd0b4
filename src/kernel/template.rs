//! WGSL templates and their rendering.
//!
//! WGSL has no generics and no unrolling, so kernels are generated: a template
//! names every accumulator it needs. Texts are rendered at run time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::{fs, io, thread};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, ValueOrKwargs};
use minijinja::{
    Environment, Error, ErrorKind, State, UndefinedBehavior, Value, filters, functions,
};
use sha2::{Digest, Sha256};

use super::shader::ShaderError;
use crate::json_file::{self, Origin};
use crate::units::Bytes;

/// A template that does not render, or renders no shader.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The template is missing, malformed, or uses a value that is not given.
    #[error("cannot render shader template {template}: {message}")]
    Render {
        /// File name.
        template: String,
        /// What is wrong and in which line.
        message: String,
    },
    /// What it renders is not WGSL.
    #[error("shader template {template} renders no valid WGSL: {source}")]
    Wgsl {
        /// File name.
        template: &'static str,
        /// What is wrong and where.
        source: ShaderError,
    },
}

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        /// The templates compiled into the program, by file name.
        pub const BUILTIN: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../shaders/", $name)))),+
        ];
    };
}

templates!(
    "attention_flash.wgsl.jinja",
    "attention_flash_cooperative.wgsl.jinja",
    "attention_index.wgsl.jinja",
    "attention_reduce.wgsl.jinja",
    "attention_scores.wgsl.jinja",
    "attention_softmax.wgsl.jinja",
    "attention_split.wgsl.jinja",
    "attention_subgroup.wgsl.jinja",
    "attention_values.wgsl.jinja",
    "bandwidth_read.wgsl.jinja",
    "bandwidth_stream.wgsl.jinja",
    "bandwidth_workgroup.wgsl.jinja",
    "canary.wgsl.jinja",
    "cooperative.wgsl.jinja",
    "empty.wgsl.jinja",
    "matmul_cooperative.wgsl.jinja",
    "matmul_index.wgsl.jinja",
    "matmul_naive.wgsl.jinja",
    "matmul_pack.wgsl.jinja",
    "matmul_register.wgsl.jinja",
    "matmul_subgroup.wgsl.jinja",
    "matmul_workgroup.wgsl.jinja",
    "peak_chains.wgsl.jinja",
    "peak_cooperative.wgsl.jinja",
);

/// Files larger than this are no templates: the longest built-in one is a ninth of it.
const LARGEST_FILE: Bytes = Bytes(64 << 10);
/// A longer shader is none: those of the built-in templates are far below.
const LONGEST_OUTPUT: usize = 4 << 20;
/// Steps that rendering may take, less than a second: the built-in templates take some
/// 100,000 at most.
const FUEL: u64 = 2_000_000;
/// Enough for whatever fits in a file: what a template nests, minijinja visits by recursion.
const STACK: usize = 256 << 20;

static BUILTIN_TEMPLATES: LazyLock<Arc<Templates>> = LazyLock::new(|| {
    let own = |&(name, text): &(&str, &str)| (name.to_owned(), text.to_owned());
    Arc::new(Templates::new(BUILTIN.iter().map(own).collect(), None))
});

/// A set of templates: the built-in ones, or those of a folder.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    hash: String,
    folder: Option<PathBuf>,
}

/// A folder that cannot be used for templates.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Something cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// No template is there.
    #[error("{} holds no *.wgsl.jinja: start from a copy of flopwatt's shaders/", .0.display())]
    Empty(PathBuf),
    /// A file that is no template by its size.
    #[error("{} is larger than {LARGEST_FILE}: not a shader template", .0.display())]
    TooLarge(PathBuf),
}

impl Templates {
    /// The templates compiled into the program.
    pub fn builtin() -> &'static Self {
        &BUILTIN_TEMPLATES
    }

    /// The templates of `folder`, or the built-in ones without.
    ///
    /// # Errors
    /// As [`Templates::from_folder`].
    pub fn of(folder: Option<&Path>) -> Result<Arc<Self>, FolderError> {
        match folder {
            Some(folder) => Self::from_folder(folder).map(Arc::new),
            None => Ok(Arc::clone(&BUILTIN_TEMPLATES)),
        }
    }

    /// The templates of `folder`, and no others: a kernel whose template is not
    /// there fails by that name.
    ///
    /// # Errors
    /// When the folder or a template in it cannot be read, or there is none.
    pub fn from_folder(folder: &Path) -> Result<Self, FolderError> {
        let unread = |path: &Path| {
            let path = path.to_owned();
            move |cause| FolderError::Read { path, cause }
        };
        let mut texts = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(unread(folder))? {
            let path = entry.map_err(unread(folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|name| name.ends_with(".wgsl.jinja")) else {
                continue;
            };
            let text = json_file::read(&path, LARGEST_FILE, Origin::Found);
            let Some(text) = text.map_err(unread(&path))? else {
                return Err(FolderError::TooLarge(path));
            };
            texts.insert(name.to_owned(), text);
        }
        if texts.is_empty() {
            return Err(FolderError::Empty(folder.to_owned()));
        }
        Ok(Self::new(texts, Some(folder.to_owned())))
    }

    fn new(texts: BTreeMap<String, String>, folder: Option<PathBuf>) -> Self {
        let mut hash = Sha256::new();
        for (name, text) in &texts {
            for part in [name, text] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        // Not all that minijinja has, of which much makes long texts of short ones.
        let mut environment = Environment::empty();
        environment.add_filter("format", format);
        environment.add_filter("join", join);
        environment.add_filter("lower", filters::lower);
        environment.add_filter("max", filters::max);
        environment.add_filter("min", filters::min);
        environment.add_test("defined", minijinja::tests::is_defined);
        environment.add_function("range", functions::range);
        environment.set_fuel(Some(FUEL));
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .expect("the default delimiters are valid");
        environment.set_syntax(syntax);
        environment.set_loader(move |name| Ok(texts.get(name).cloned()));
        Self {
            environment,
            hash: hex(&hash.finalize()),
            folder,
        }
    }

    /// SHA-256 over all names and texts.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The folder that they are from; `None` for the built-in ones.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Renders `template` with `context`.
    ///
    /// # Errors
    /// When the template is unknown, malformed, uses a value that is not given, or
    /// takes too many steps or renders too much for a shader.
    pub fn render(&self, template: &str, context: Value) -> Result<String, TemplateError> {
        let render = || {
            let mut shader = Shader(Vec::new());
            let template = self.environment.get_template(template);
            template
                .and_then(|template| template.render_captured_to(context, &mut shader).map(drop))
                .map_err(|error| one_line(&error))?;
            String::from_utf8(shader.0).map_err(|error| error.to_string())
        };
        let rendered = thread::scope(|scope| {
            let thread = thread::Builder::new().stack_size(STACK);
            let thread = thread.spawn_scoped(scope, render);
            let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
            thread
                .join()
                .unwrap_or_else(|_| Err("minijinja failed".to_owned()))
        });
        rendered.map_err(|message| TemplateError::Render {
            template: template.to_owned(),
            message,
        })
    }
}

/// What a template has rendered so far.
struct Shader(Vec<u8>);

impl io::Write for Shader {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.0.len() + text.len() > LONGEST_OUTPUT {
            return Err(io::Error::other("it renders too much for a shader"));
        }
        self.0.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// minijinja's filter, for widths that a shader may need.
fn format(state: &mut State, spec: &Value, values: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let text = spec.to_string();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    if text.contains('*') || numbers.any(|number| number.len() > 3) {
        let why = "a width in a format is a number of at most three digits";
        return Err(Error::new(ErrorKind::InvalidOperation, why));
    }
    filters::format(state, spec, values)
}

/// minijinja's filter, up to the length of a shader.
fn join(items: &Value, between: &str) -> Result<String, Error> {
    let mut text = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        if index > 0 {
            text.push_str(between);
        }
        text.push_str(&item.to_string());
        if text.len() > LONGEST_OUTPUT {
            let why = "it joins to a text that is too long for a shader";
            return Err(Error::new(ErrorKind::InvalidOperation, why));
        }
    }
    Ok(text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// minijinja's message with its line, and what caused it.
fn one_line(error: &minijinja::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_in_the_shader_folder_is_built_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/shaders");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let builtin: Vec<&str> = BUILTIN.iter().map(|(name, _)| *name).collect();
        assert_eq!(files, builtin);
    }

    #[test]
    fn a_missing_value_is_an_error_that_names_the_template() {
        let templates = Templates::builtin();
        let error = templates.render("matmul_naive.wgsl.jinja", minijinja::context! {});
        let error = error.unwrap_err().to_string();
        assert!(error.contains("matmul_naive.wgsl.jinja"), "{error}");
    }

    #[test]
    fn a_folder_replaces_the_built_in_templates_and_has_a_hash_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let from = || Templates::from_folder(folder.path());
        assert!(from().unwrap_err().to_string().contains("holds no"));
        for (name, text) in BUILTIN {
            fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(from().unwrap().hash(), Templates::builtin().hash());
        fs::write(folder.path().join("empty.wgsl.jinja"), "changed").unwrap();
        assert_ne!(from().unwrap().hash(), Templates::builtin().hash());
        let rendered = from()
            .unwrap()
            .render("empty.wgsl.jinja", minijinja::context! {});
        assert_eq!(rendered.unwrap(), "changed");
        fs::remove_file(folder.path().join("canary.wgsl.jinja")).unwrap();
        let missing = from()
            .unwrap()
            .render("canary.wgsl.jinja", minijinja::context! {});
        let missing = missing.unwrap_err().to_string();
        assert!(missing.contains("canary.wgsl.jinja"), "{missing}");
    }

    fn rendered(text: &str) -> Result<String, String> {
        let texts = BTreeMap::from([("a".to_owned(), text.to_owned())]);
        let rendered = Templates::new(texts, None).render("a", minijinja::context! {});
        rendered.map_err(|error| error.to_string())
    }

    #[test]
    fn no_template_takes_all_time_or_memory() {
        let nested = "{% for i in range(100000) %}".repeat(2);
        let ended = "{% endfor %}".repeat(2);
        for (text, said) in [
            (format!("{nested}{ended}"), "out of fuel"),
            (
                format!("{nested}{}{ended}", "x".repeat(1000)),
                "too much for a shader",
            ),
            ("{{ '%1000000000d'|format(1) }}".into(), "three digits"),
            ("{{ '%.1000000000f'|format(1) }}".into(), "three digits"),
            ("{{ '%*d'|format(1000000000, 1) }}".into(), "three digits"),
            ("{{ 'a'|replace('a', 'aa') }}".into(), "unknown filter"),
            ("{{ 'a' * 1000000000 }}".into(), "too large"),
            (
                "{{ range(100000)|join('a' * 1000) }}".into(),
                "too long for a shader",
            ),
            ("{% include 'a' %}".into(), "recursion limit"),
        ] {
            let error = rendered(&text).expect_err(&text);
            assert!(error.contains(said), "{text:.60}: {error:.300}");
        }
    }

    /// As many of each as a file has room for.
    #[test]
    fn no_template_overflows_the_stack() {
        let many = |piece: &str| piece.repeat(LARGEST_FILE.0 as usize / piece.len());
        for text in [
            format!("{{{{ {}1 }}}}", many("-")),
            format!("{{{{ {}1 }}}}", many("not ")),
            format!("{{{{ 1{} }}}}", many("|min")),
            format!("{{{{ a{} }}}}", many(".a")),
            format!("{{{{ 1{} }}}}", many("+1")),
            format!("{{{{ 1{} }}}}", many("**1")),
            format!("{{{{ {} }}}}", many("(")),
            format!("{{{{ {} }}}}", many("[")),
            format!("{{{{ 1{} }}}}", many(" if 1 else 1")),
            many("{% if 1 %}"),
            many("{% for i in [1] %}"),
        ] {
            // Whatever comes of it, it is an answer.
            let _ = rendered(&text);
        }
    }
}
