//! Edges between crates go down only: an edge of `cargo metadata` must be in the drawing of
//! `docs/design/001-house.md`, or reachable by edges of the drawing. The drawing itself is what is read, so page and test
//! can't disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

use crate::root;

/// Only ever a dev-dependency.
const TEST_ONLY: &str = "testkit";

type Graph = BTreeMap<String, BTreeSet<String>>;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// `ganger-x` and `ganger` (the command) by their folder's name; `None` for anybody else's crate.
fn house_name(package: &str) -> Option<String> {
    match package {
        "ganger" => Some("cli".to_owned()),
        "xtask" => Some("xtask".to_owned()),
        other => other.strip_prefix("ganger-").map(str::to_owned),
    }
}

fn packages() -> Vec<Package> {
    let out = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice::<Metadata>(&out.stdout).unwrap().packages
}

/// Reads `a, b → c, d` pairs of the first code block that has arrows; columns are two or more spaces apart.
fn drawing(page: &str) -> Graph {
    let block = page
        .split("```")
        .skip(1)
        .step_by(2)
        .find(|block| block.contains('→'))
        .expect("the page has a drawing with arrows");
    let mut graph = Graph::new();
    for column in block.lines().flat_map(|line| line.split("   ")).map(str::trim) {
        let column = column.split('(').next().unwrap_or(column);
        let Some((from, to)) = column.split_once('→') else { continue };
        for from in from.split(',').map(str::trim) {
            let names = to.split(',').map(|name| name.trim().to_owned());
            graph.entry(from.to_owned()).or_default().extend(names);
        }
    }
    graph
}

fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::from(["core".to_owned()]);
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        for next in graph.get(&name).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    seen.remove(from);
    seen
}

#[test]
fn the_drawing_is_read() {
    let graph = drawing("x\n```\na → b, c     b → d\nt → c (only here)\n```\n");
    assert_eq!(reachable(&graph, "a"), ["b", "c", "core", "d"].map(str::to_owned).into());
    assert_eq!(reachable(&graph, "t"), ["c", "core"].map(str::to_owned).into());
}

#[test]
fn edges_go_down_only() {
    let page = std::fs::read_to_string(root().join("docs/design/001-house.md")).unwrap();
    let graph = drawing(&page);
    let mut wrong = Vec::new();
    let mut edges = 0;
    for package in packages() {
        let name = house_name(&package.name).unwrap_or_else(|| {
            panic!("package `{}` is neither ganger, ganger-* nor xtask", package.name)
        });
        let allowed = reachable(&graph, &name);
        for dependency in &package.dependencies {
            let Some(to) = house_name(&dependency.name) else { continue };
            edges += 1;
            let dev = dependency.kind.as_deref() == Some("dev");
            if to == TEST_ONLY && !dev {
                wrong.push(format!("{name} → {to}: only as a dev-dependency"));
            } else if !dev && !allowed.contains(&to) {
                wrong.push(format!("{name} → {to}: not drawn, nor reached by what is drawn"));
            }
        }
    }
    assert!(edges > 20, "only {edges} edges were read: the test reads the wrong thing");
    assert!(
        wrong.is_empty(),
        "edges that docs/design/001-house.md doesn't allow:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_crate_has_the_workspace_lints() {
    let folders =
        std::fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let wrong: Vec<String> = folders
        .filter(|folder| !folder.ends_with("sys"))
        .filter(|folder| {
            let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
            !manifest.contains("[lints]\nworkspace = true")
        })
        .map(|folder| folder.display().to_string())
        .collect();
    assert!(wrong.is_empty(), "add `[lints]\\nworkspace = true` to the manifests of {wrong:?}");
}
