//! The container that a program runs in, as far as it can be seen from inside.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The container that measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// What runs it: `apptainer`, `singularity`, `kubernetes`, `podman`, `docker`,
    /// `containerd` or `lxc`.
    pub engine: String,
    /// Its image; null where the engine does not tell it, as Docker and Kubernetes
    /// do not.
    pub image: Option<String>,
}

/// Part of a control group's path, and the engine that names its groups so.
const CONTROL_GROUPS: [(&str, &str); 6] = [
    ("kubepods", "kubernetes"),
    ("docker", "docker"),
    ("libpod", "podman"),
    ("containerd", "containerd"),
    ("lxc.payload", "lxc"),
    ("/lxc/", "lxc"),
];

impl Container {
    /// The one that this program runs in; `None` where nothing tells of one.
    pub fn this() -> Option<Self> {
        Self::seen(Path::new("/"), &|name| std::env::var(name).ok())
    }

    /// What files below `root` and the environment tell. An environment says more
    /// than a file, since what starts containers starts others inside.
    fn seen(root: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let of = |engine: &str, image| {
            let engine = engine.to_owned();
            Some(Self { engine, image })
        };
        if let Some(image) = set("APPTAINER_CONTAINER") {
            return of("apptainer", Some(image));
        }
        if let Some(image) = set("SINGULARITY_CONTAINER") {
            return of("singularity", Some(image));
        }
        // Podman leaves it empty where the container has no privileges.
        let podman = fs::read_to_string(root.join("run/.containerenv")).ok();
        let image = podman.as_deref().and_then(podman_image);
        if set("KUBERNETES_SERVICE_HOST").is_some() {
            return of("kubernetes", image);
        }
        if podman.is_some() {
            return of("podman", image);
        }
        if root.join(".dockerenv").exists() {
            return of("docker", None);
        }
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
        let mut known = CONTROL_GROUPS.iter();
        let (_, engine) = known.find(|(part, _)| groups.contains(part))?;
        of(engine, None)
    }
}

/// The image in Podman's file of `key="value"` lines.
fn podman_image(text: &str) -> Option<String> {
    let image = text.lines().find_map(|line| line.strip_prefix("image="))?;
    let image = image.trim().trim_matches('"');
    (!image.is_empty()).then(|| image.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Option<Container> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Container::seen(root.path(), &|name| {
            let mut set = variables.iter().filter(|(set, _)| *set == name);
            set.next().map(|(_, value)| (*value).to_owned())
        })
    }

    fn container(engine: &str, image: Option<&str>) -> Option<Container> {
        Some(Container {
            engine: engine.into(),
            image: image.map(Into::into),
        })
    }

    #[test]
    fn a_machine_of_its_own_is_no_container() {
        assert_eq!(seen(&[], &[]), None);
        let groups = ("proc/self/cgroup", "0::/user.slice/user-1000.slice\n");
        assert_eq!(seen(&[groups], &[]), None);
    }

    #[test]
    fn apptainer_tells_its_image() {
        let image = ("APPTAINER_CONTAINER", "/images/flopwatt.sif");
        let older = ("SINGULARITY_CONTAINER", "/images/flopwatt.sif");
        let known = Some("/images/flopwatt.sif");
        assert_eq!(seen(&[], &[image, older]), container("apptainer", known));
        assert_eq!(seen(&[], &[older]), container("singularity", known));
        let docker = (".dockerenv", "");
        assert_eq!(seen(&[docker], &[image]), container("apptainer", known));
    }

    #[test]
    fn podman_tells_it_where_it_may() {
        let text = "engine=\"podman-4.3.1\"\nname=\"a\"\nimage=\"docker.io/library/debian:12\"\n";
        let known = Some("docker.io/library/debian:12");
        let file = ("run/.containerenv", text);
        assert_eq!(seen(&[file], &[]), container("podman", known));
        assert_eq!(
            seen(&[("run/.containerenv", "")], &[]),
            container("podman", None)
        );
        let pod = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        assert_eq!(seen(&[file], &[pod]), container("kubernetes", known));
    }

    #[test]
    fn others_are_known_by_their_traces() {
        assert_eq!(seen(&[(".dockerenv", "")], &[]), container("docker", None));
        for (path, engine) in [
            ("/kubepods/besteffort/pod1/2", "kubernetes"),
            ("/docker/0123", "docker"),
            ("/machine.slice/libpod-0123.scope", "podman"),
            ("/lxc.payload.web", "lxc"),
        ] {
            let groups = format!("12:cpu:{path}\n0::{path}\n");
            let found = seen(&[("proc/self/cgroup", &groups)], &[]);
            assert_eq!(found, container(engine, None), "{path}");
        }
    }
}
