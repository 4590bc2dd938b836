//! The checks of the browser client, which are Node.js's own.

use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::process;
use crate::workspace::Workspace;

/// The oldest release whose test runner and fetch the client's tests work with.
const OLDEST_NODE: u32 = 20;

/// Why the client cannot be checked here. Nobody has to install Node.js to work on the rest.
pub(crate) fn cannot_run() -> Option<String> {
    let npm = process::succeeds(Command::new("npm").arg("--version"));
    let node = process::read(Command::new("node").arg("--version")).ok();
    unusable(npm, node.as_deref())
}

/// `node` is what `node --version` prints.
fn unusable(npm: bool, node: Option<&str>) -> Option<String> {
    let major = node.map(|version| (version.trim(), major(version)));
    match (npm, major) {
        (true, Some((_, Some(major)))) if major >= OLDEST_NODE => None,
        (true, Some((version, _))) => Some(format!(
            "Node.js is {version}; the browser client needs {OLDEST_NODE} or newer"
        )),
        (_, None) => Some(format!("no Node.js {OLDEST_NODE} or newer on the PATH")),
        (false, _) => Some("no npm on the PATH".to_owned()),
    }
}

fn major(version: &str) -> Option<u32> {
    version
        .trim()
        .strip_prefix('v')?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// Installs exactly what the lock file names, then checks types, behaviour, size and the committed chat page.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Error> {
    let folder = workspace.root().join("clients/web");
    npm(
        &folder,
        &["ci", "--no-audit", "--no-fund", "--prefer-offline"],
    )?;
    npm(&folder, &["run", "typecheck"])?;
    npm(&folder, &["test"])
}

fn npm(folder: &Path, arguments: &[&str]) -> Result<(), Error> {
    process::run(Command::new("npm").current_dir(folder).args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let check = |npm: bool, node: Option<&str>, expected: Option<&str>| {
            assert_eq!(unusable(npm, node).as_deref(), expected, "{npm} {node:?}");
        };
        check(true, Some("v20.20.2\n"), None);
        check(true, Some("v22.0.0"), None);
        let old = "Node.js is v18.19.1; the browser client needs 20 or newer";
        check(true, Some("v18.19.1\n"), Some(old));
        let strange = "Node.js is strange; the browser client needs 20 or newer";
        check(true, Some("strange"), Some(strange));
        check(true, None, Some("no Node.js 20 or newer on the PATH"));
        check(false, None, Some("no Node.js 20 or newer on the PATH"));
        check(false, Some("v20.0.0"), Some("no npm on the PATH"));
    }
}
