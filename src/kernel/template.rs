//! WGSL templates and their rendering.
//!
//! WGSL has no generics and no unrolling, so kernels are generated: a template
//! names every accumulator it needs. Texts are rendered at run time.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

/// A template that does not render: a defect of the template or its parameters.
#[derive(Debug, thiserror::Error)]
#[error("cannot render shader template {template}: {source}")]
pub struct TemplateError {
    template: String,
    source: minijinja::Error,
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
    "attention_index.wgsl.jinja",
    "attention_scores.wgsl.jinja",
    "attention_softmax.wgsl.jinja",
    "attention_values.wgsl.jinja",
    "canary.wgsl.jinja",
    "copy.wgsl.jinja",
    "empty.wgsl.jinja",
    "matmul_index.wgsl.jinja",
    "matmul_naive.wgsl.jinja",
    "matmul_register.wgsl.jinja",
    "matmul_workgroup.wgsl.jinja",
    "peak_fma.wgsl.jinja",
);

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .expect("the default delimiters are valid");
    environment.set_syntax(syntax);
    environment.set_loader(|name| {
        let found = BUILTIN.iter().find(|(builtin, _)| *builtin == name);
        Ok(found.map(|(_, text)| (*text).to_owned()))
    });
    environment
});

/// Renders `template` with `context`.
///
/// # Errors
/// When the template is unknown, malformed or uses a value that is not given.
pub fn render(template: &str, context: Value) -> Result<String, TemplateError> {
    ENVIRONMENT
        .get_template(template)
        .and_then(|t| t.render(context))
        .map_err(|source| TemplateError {
            template: template.to_owned(),
            source,
        })
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
        let error = render("matmul_naive.wgsl.jinja", minijinja::context! {}).unwrap_err();
        assert!(error.to_string().contains("matmul_naive.wgsl.jinja"));
    }
}
