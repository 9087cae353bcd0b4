//! What head is held against: a revision, which is built, a program, or a folder of
//! shader templates.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use tempfile::TempDir;

use crate::record::Git;

/// What `--base` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// A revision of this project.
    Revision(Revision),
    /// A program.
    Program(PathBuf),
    /// A folder of shader templates, for head to render.
    Templates(PathBuf),
}

/// A commit of the repository around the current folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its full hash.
    pub commit: String,
    /// The repository's top folder.
    pub(super) root: PathBuf,
}

/// In what a revision differs from head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// In nothing that is compiled.
    None,
    /// In shader templates only.
    Shaders,
    /// In code.
    Code,
}

/// Why there is nothing to hold head against.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// Neither a file nor a folder nor a revision.
    #[error(
        "\"{0}\" is neither a program, nor a folder of shader templates, nor a revision known here: {1}"
    )]
    Unknown(String, String),
    /// The repository is not flopwatt's.
    #[error(
        "{} is not flopwatt's own repository, so that no revision of it can be built: name a program, or a folder of shader templates",
        .0.display()
    )]
    ForeignRepository(PathBuf),
    /// A file that does not answer as flopwatt does.
    #[error(
        "{} is not a flopwatt program: {why}; name one, a folder of shader templates, or a revision",
        path.display()
    )]
    ForeignProgram {
        /// The file.
        path: PathBuf,
        /// What it did instead.
        why: String,
    },
    /// git failed.
    #[error("git {arguments}: {why}")]
    Git {
        /// What it was asked.
        arguments: String,
        /// What it said.
        why: String,
    },
    /// The revision does not build.
    #[error("{commit} cannot be built: cargo ended with {status}")]
    Build {
        /// The revision.
        commit: String,
        /// How cargo ended.
        status: String,
    },
    /// A file or folder of the cache cannot be used, or a program not be started.
    #[error("{what}: {cause}")]
    Io {
        /// What was to be done.
        what: String,
        /// Why it was not.
        cause: io::Error,
    },
    /// Interrupted while building.
    #[error("interrupted")]
    Interrupted,
}

pub(super) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> BaseError {
    let what = what.into();
    move |cause| BaseError::Io { what, cause }
}

impl Base {
    /// What `text` names; a file or folder comes before a revision of the same name.
    ///
    /// # Errors
    /// When it names nothing, another program, or a revision of another project.
    pub fn named(text: &str) -> Result<Self, BaseError> {
        let path = Path::new(text);
        if path.is_dir() {
            return Ok(Self::Templates(path.to_owned()));
        }
        if path.is_file() {
            let program = fs::canonicalize(path).map_err(io_error(text))?;
            return introduced(program).map(Self::Program);
        }
        let unknown = |error: BaseError| BaseError::Unknown(text.to_owned(), error.to_string());
        let here = Path::new(".");
        let root = git(here, ["rev-parse", "--show-toplevel"]).map_err(unknown)?;
        let name = format!("{text}^{{commit}}");
        let arguments = [
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &name,
        ];
        let commit = git(here, arguments).map_err(|_| {
            BaseError::Unknown(text.to_owned(), "git knows no such revision".into())
        })?;
        let root = PathBuf::from(root.trim_end());
        if !is_ours(&root) {
            return Err(BaseError::ForeignRepository(root));
        }
        Ok(Self::Revision(Revision {
            commit: commit.trim_end().to_owned(),
            root,
        }))
    }
}

/// A program that says it is flopwatt, in whatever version: what cannot be led because
/// it is too old is no mistake of whoever named it, another program is.
fn introduced(program: PathBuf) -> Result<PathBuf, BaseError> {
    let mut command = Command::new(&program);
    let output = command.arg("--version").stdin(Stdio::null()).output();
    let why = match output {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let first = said.lines().next().unwrap_or_default();
            if first.split(' ').next() == Some(env!("CARGO_PKG_NAME")) {
                return Ok(program);
            }
            format!("its --version says \"{}\"", first.escape_debug())
        }
        Err(error) => error.to_string(),
    };
    Err(BaseError::ForeignProgram { path: program, why })
}

/// Whether a repository is this project's, by the package that it builds.
fn is_ours(root: &Path) -> bool {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
    let name = format!("name = \"{}\"", env!("CARGO_PKG_NAME"));
    manifest.lines().any(|line| line.trim() == name)
}

/// What goes into the program besides the templates.
const CODE: [&str; 6] = [
    "src",
    "build.rs",
    "Cargo.toml",
    "Cargo.lock",
    ".cargo",
    "rust-toolchain.toml",
];
const SHADERS: &str = "shaders";

impl Revision {
    /// In what the revision differs from head, which was built from `head`: a commit,
    /// or the files as they lie there. Where that is not known, it differs in code.
    ///
    /// # Errors
    /// When git fails.
    pub fn difference(&self, head: Option<&Git>) -> Result<Difference, BaseError> {
        let Some(head) = head else {
            return Ok(Difference::Code);
        };
        let known = git(&self.root, ["cat-file", "-e", &head.commit]).is_ok();
        if !known {
            return Ok(Difference::Code);
        }
        let differs = |paths: &[&str]| -> Result<bool, BaseError> {
            let mut arguments = vec!["diff", "--name-only", &self.commit];
            if !head.dirty {
                arguments.push(&head.commit);
            }
            arguments.push("--");
            arguments.extend(paths);
            let mut changed = git(&self.root, arguments)?;
            if head.dirty {
                let mut untracked = vec!["ls-files", "--others", "--exclude-standard", "--"];
                untracked.extend(paths);
                changed += &git(&self.root, untracked)?;
            }
            Ok(!changed.trim().is_empty())
        };
        Ok(if differs(&CODE)? {
            Difference::Code
        } else if differs(&[SHADERS])? {
            Difference::Shaders
        } else {
            Difference::None
        })
    }

    /// The revision's templates, in a folder that is there as long as what is
    /// returned.
    ///
    /// # Errors
    /// When git fails or the folder cannot be written.
    pub fn templates(&self) -> Result<TempDir, BaseError> {
        let folder = tempfile::tempdir().map_err(io_error("a folder for templates"))?;
        let list = ["ls-tree", "--name-only", "-z", &self.commit, "shaders/"];
        for path in git(&self.root, list)?.split_terminator('\0') {
            let Some(name) = Path::new(path).file_name() else {
                continue;
            };
            let text = git(&self.root, ["show", &format!("{}:{path}", self.commit)])?;
            let file = folder.path().join(name);
            fs::write(&file, text).map_err(io_error(file.display().to_string()))?;
        }
        Ok(folder)
    }
}

/// What git prints.
pub(super) fn git<S: AsRef<OsStr>>(
    folder: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> Result<String, BaseError> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments);
    let words = command.get_args().skip(2).map(OsStr::to_string_lossy);
    let words = words.collect::<Vec<_>>().join(" ");
    let failed = |why: String| BaseError::Git {
        arguments: words.clone(),
        why,
    };
    let output = command.output().map_err(io_error("git"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(why));
    }
    String::from_utf8(output.stdout).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with two commits that differ in `changed`, and the first of them.
    fn repository(changed: &[&str]) -> (TempDir, Revision, Git) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let run = |arguments: &[&str]| git(root, arguments.iter().copied()).unwrap();
        let commit = |what: &str| {
            run(&["add", "-A"]);
            let author = ["-c", "user.name=a", "-c", "user.email=a@b"];
            let commit = ["commit", "--quiet", "--no-gpg-sign", "--message", what];
            run(&[&author[..], &commit[..]].concat());
            run(&["rev-parse", "HEAD"]).trim_end().to_owned()
        };
        run(&["init", "--quiet"]);
        for path in [
            "src/lib.rs",
            "shaders/a.wgsl.jinja",
            "README.md",
            "Cargo.toml",
        ] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "before").unwrap();
        }
        let base = commit("base");
        for path in changed {
            fs::write(root.join(path), "after").unwrap();
        }
        fs::write(root.join("notes"), "always something").unwrap();
        let head = commit("head");
        let root = root.to_owned();
        let revision = Revision { commit: base, root };
        let head = Git {
            commit: head,
            dirty: false,
        };
        (folder, revision, head)
    }

    #[test]
    fn what_differs_decides_what_is_built() {
        for (changed, expected) in [
            (&["README.md"][..], Difference::None),
            (&["shaders/a.wgsl.jinja", "README.md"], Difference::Shaders),
            (&["shaders/a.wgsl.jinja", "src/lib.rs"], Difference::Code),
            (&["Cargo.toml"], Difference::Code),
        ] {
            let (_folder, base, head) = repository(changed);
            let difference = base.difference(Some(&head)).unwrap();
            assert_eq!(difference, expected, "{changed:?}");
            let unknown = base.difference(None).unwrap();
            assert_eq!(unknown, Difference::Code);
        }
    }

    #[test]
    fn files_that_are_not_committed_count_for_a_program_that_was_built_from_them() {
        let (folder, base, head) = repository(&["README.md"]);
        fs::write(folder.path().join("src/new.rs"), "new").unwrap();
        assert_eq!(base.difference(Some(&head)).unwrap(), Difference::None);
        let dirty = Git {
            dirty: true,
            ..head
        };
        assert_eq!(base.difference(Some(&dirty)).unwrap(), Difference::Code);
    }

    #[test]
    fn templates_are_those_of_the_revision() {
        let (_folder, base, _) = repository(&["shaders/a.wgsl.jinja"]);
        let templates = base.templates().unwrap();
        let text = fs::read_to_string(templates.path().join("a.wgsl.jinja")).unwrap();
        assert_eq!(text, "before");
    }

    #[test]
    fn files_and_folders_come_before_revisions() {
        let folder = tempfile::tempdir().unwrap();
        let templates = folder.path().to_str().unwrap();
        let named = Base::named(templates).unwrap();
        assert_eq!(named, Base::Templates(folder.path().to_owned()));
        let program = folder.path().join("program");
        fs::write(&program, "no program").unwrap();
        let error = Base::named(program.to_str().unwrap()).unwrap_err();
        assert!(
            matches!(&error, BaseError::ForeignProgram { path, .. } if path.ends_with("program")),
            "{error}"
        );
        let error = Base::named("no-such-thing").unwrap_err().to_string();
        assert!(error.contains("neither a program"), "{error}");
    }
}
