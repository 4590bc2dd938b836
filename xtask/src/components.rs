//! The Wasm components: built for their own target, and laid where `spin.toml` looks for them.

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::process;
use crate::steps::Step;
use crate::workspace::Workspace;

pub(crate) const TARGET: &str = "wasm32-wasip2";

/// A package that is a component, and the file name that it gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Component {
    pub(crate) package: &'static str,
    name: &'static str,
}

/// What `spin.toml` names.
pub(crate) const SERVED: &[Component] = &[
    Component {
        package: "brink-gateway",
        name: "gateway",
    },
    Component {
        package: "brink-admin",
        name: "admin",
    },
    Component {
        package: "brink-chat",
        name: "chat",
    },
];

/// What is served, and the guests that misbehave for the host's tests.
pub(crate) const WITH_TEST_GUESTS: &[Component] = &[
    SERVED[0],
    SERVED[1],
    SERVED[2],
    Component {
        package: "brink-test-guest",
        name: "test-guest",
    },
];

/// Builds components and copies them to `target/components/`.
pub(crate) struct Components<'a> {
    components: &'static [Component],
    workspace: &'a Workspace,
}

impl<'a> Components<'a> {
    pub(crate) fn new(components: &'static [Component], workspace: &'a Workspace) -> Self {
        Self {
            components,
            workspace,
        }
    }
}

impl Step for Components<'_> {
    fn title(&self) -> String {
        let names: Vec<_> = self
            .components
            .iter()
            .map(|component| component.name)
            .collect();
        format!("Components {}", names.join(", "))
    }

    fn run(&self) -> Result<(), Error> {
        let dir = self.workspace.components_dir();
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        for component in self.components {
            build(component.package, self.workspace)?;
            let built = self.workspace.built_component(component.package);
            copy_if_changed(&built, &dir.join(format!("{}.wasm", component.name)))?;
        }
        Ok(())
    }
}

/// One cargo run for each component: in a common one, cargo would unite the features of their dependencies,
/// and the gateway would differ between `up` and `test`. The crate type is said here, since the gateway's
/// manifest must not: cargo would build a component beside the gateway's rules for everything that depends on them.
/// It also keeps cargo from building a library at the same time, for which it gives up optimising across crates.
fn build(package: &str, workspace: &Workspace) -> Result<(), Error> {
    process::run(workspace.cargo().args([
        "rustc",
        "--package",
        package,
        "--lib",
        "--crate-type",
        "cdylib",
        "--target",
        TARGET,
        "--profile",
        "component",
    ]))
}

/// Leaves an equal file alone, so that its modification time means something to whoever watches it, and
/// replaces any other at once, so that a running host never reads half a component.
fn copy_if_changed(from: &Path, to: &Path) -> Result<(), Error> {
    let built = fs::read(from).map_err(Error::io("read", from))?;
    if fs::read(to).is_ok_and(|present| present == built) {
        return Ok(());
    }
    let unfinished = to.with_extension("wasm.part");
    fs::write(&unfinished, built).map_err(Error::io("write", &unfinished))?;
    fs::rename(&unfinished, to).map_err(Error::io("move into place", to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn equal_component_is_left_alone_and_a_changed_one_is_replaced() {
        let scratch = Scratch::new("components");
        let (from, to) = (
            scratch.path().join("built.wasm"),
            scratch.path().join("gateway.wasm"),
        );
        let modified = || fs::metadata(&to).unwrap().modified().unwrap();
        fs::write(&from, "one").unwrap();
        copy_if_changed(&from, &to).unwrap();
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        fs::File::options()
            .append(true)
            .open(&to)
            .unwrap()
            .set_modified(epoch)
            .unwrap();

        copy_if_changed(&from, &to).unwrap();
        assert_eq!(modified(), epoch);

        fs::write(&from, "two").unwrap();
        copy_if_changed(&from, &to).unwrap();
        assert_ne!(modified(), epoch);
        assert_eq!(fs::read(&to).unwrap(), b"two");
    }
}
