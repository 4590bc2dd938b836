//! What the tree and the components must look like.

use std::path::{Path, PathBuf};

use brink_host::guest::component_imports;

use crate::support::workspace;

/// Interfaces that Spin 4.1 serves and our components may use; exact versions for Spin's and WASI
/// 0.3's, any patch release of WASI 0.2.
fn is_served_by_spin(import: &str) -> bool {
    const EXACT: [&str; 9] = [
        "wasi:http/types@0.3.0",
        "wasi:http/client@0.3.0",
        "wasi:clocks/types@0.3.0",
        "wasi:clocks/monotonic-clock@0.3.0",
        "spin:key-value/key-value@3.0.0",
        "spin:variables/variables@3.0.0",
        "wasi:keyvalue/store@0.2.0-draft2",
        "wasi:keyvalue/atomics@0.2.0-draft2",
        "wasi:config/store@0.2.0-draft-2024-09-27",
    ];
    let older = [
        "wasi:io/",
        "wasi:cli/",
        "wasi:clocks/",
        "wasi:random/",
        "wasi:filesystem/",
    ];
    let (_, version) = import.rsplit_once('@').unwrap_or(("", ""));
    EXACT.contains(&import)
        || (version.starts_with("0.2.") && older.iter().any(|prefix| import.starts_with(prefix)))
}

#[test]
fn components_import_only_what_spin_serves() {
    let default = workspace().join("target/components");
    let folder = std::env::var_os("BRINK_COMPONENTS").map_or(default, PathBuf::from);
    for (file, has_store) in [
        ("gateway.wasm", true),
        ("admin.wasm", true),
        ("chat.wasm", false),
    ] {
        let wasm = std::fs::read(folder.join(file)).expect("build it with: cargo xtask components");
        let imports = component_imports(&wasm).unwrap();
        let imports_any = |prefix: &str| imports.iter().any(|import| import.starts_with(prefix));
        assert_eq!(
            imports_any("spin:key-value"),
            has_store,
            "{file}: {imports:?}"
        );
        // What has no store asks nobody at all.
        let asks = [
            "wasi:http/client",
            "wasi:keyvalue",
            "spin:variables",
            "wasi:filesystem",
        ];
        assert!(
            has_store || !asks.into_iter().any(imports_any),
            "{file}: {imports:?}"
        );
        for import in imports {
            assert!(
                is_served_by_spin(&import),
                "{file}: {import} is not served by Spin 4.1"
            );
        }
    }
}

/// Rust files below a folder of the host.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn layers_are_kept() {
    let root = workspace().join("host/src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let rules: [(&str, &[&str]); 4] = [
        ("ort::", &["inference"]),
        ("wasmtime", &["guest"]),
        ("moka::", &["results", "guest/keyvalue"]),
        ("opentelemetry", &["telemetry"]),
    ];
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let place = file.strip_prefix(&root).unwrap();
        for (name, allowed) in rules {
            let code = |line: &str| !line.trim_start().starts_with("//");
            let used = text.lines().filter(|line| code(line)).any(|line| {
                line.match_indices(name).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                })
            });
            let may = allowed.iter().any(|folder| place.starts_with(folder));
            assert!(
                !used || may,
                "{} names {name}; only {allowed:?} may",
                place.display()
            );
        }
    }
}
