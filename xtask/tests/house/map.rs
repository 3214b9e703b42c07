//! Pages that name paths of the repository name only paths that exist.

use crate::root;

/// Pages whose back-quoted paths and links are checked.
const PAGES: [&str; 2] = ["ARCHITECTURE.md", "README.md"];
/// A back-quoted text that starts with one of these and has no space is a path of ours.
const FOLDERS: [&str; 9] =
    ["crates/", "xtask", "sdk/", "examples/", "docs/", "bench/", "fuzz/", "web/", ".ci/"];

/// `path` and [text](path) of a page, in order.
fn named_paths(page: &str) -> Vec<String> {
    let quoted = page.split('`').skip(1).step_by(2).filter(|text| {
        !text.contains([' ', '\n', '*', '…'])
            && FOLDERS.iter().any(|folder| {
                text.strip_prefix(folder).is_some_and(|rest| {
                    folder.ends_with('/') || rest.is_empty() || rest.starts_with('/')
                })
            })
    });
    let linked = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let linked = linked.filter(|link| !link.contains("://") && !link.starts_with('#'));
    quoted.chain(linked).map(str::to_owned).collect()
}

#[test]
fn paths_are_found_in_text() {
    let page = "See `crates/core` and `xtask/tests`, [this](docs/a.md), [that](https://x.y) and `cargo xtask`.";
    assert_eq!(named_paths(page), ["crates/core", "xtask/tests", "docs/a.md"]);
}

#[test]
fn every_named_path_exists() {
    let mut missing = Vec::new();
    let mut named = 0;
    for name in PAGES {
        let page = std::fs::read_to_string(root().join(name)).unwrap();
        // Code blocks are commands and drawings.
        let prose: String = page.split("```").step_by(2).collect();
        for path in named_paths(&prose) {
            named += 1;
            if !root().join(&path).exists() {
                missing.push(format!("{name} names {path}"));
            }
        }
    }
    assert!(named > 20, "only {named} paths were read: the test reads the wrong thing");
    assert!(missing.is_empty(), "no such path:\n{}", missing.join("\n"));
}
