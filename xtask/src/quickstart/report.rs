//! What the quick start prints at its end.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::files::Work;
use super::push::{Done, Results};

/// Rows of the table of the largest files.
const ROWS: usize = 10;

/// Prints the results; true if all tasks completed and every file has exactly one.
pub(crate) fn print(folder: &Path, work: &[Work], results: &Results, took: Duration) -> bool {
    let mut done: Vec<&Done> = results.values().collect();
    done.sort_by_key(|done| std::cmp::Reverse(number(done, "bytes")));
    println!("\nthe {} largest files", ROWS.min(done.len()));
    let mut table = table(&["file", "lines", "words", "bytes", "sha256"]);
    for done in done.iter().take(ROWS) {
        let file = done.finished.result["file"].as_str().unwrap_or("?");
        let file =
            Path::new(file).strip_prefix(folder).map_or(file.into(), |p| p.display().to_string());
        let sha = done.finished.result["sha256"].as_str().unwrap_or("?");
        table.add_row([
            file,
            number(done, "lines").to_string(),
            number(done, "words").to_string(),
            number(done, "bytes").to_string(),
            sha.chars().take(12).collect(),
        ]);
    }
    right_align(&mut table, 1..4);
    println!("{table}\n");
    lanes(&done);
    let completed: Vec<&&Done> =
        done.iter().filter(|done| done.finished.state == "completed").collect();
    let seen: HashSet<&str> =
        completed.iter().filter_map(|done| done.finished.result["file"].as_str()).collect();
    for done in done.iter().filter(|done| done.finished.state != "completed").take(ROWS) {
        println!("{} {}: {}", done.finished.id, done.finished.state, done.finished.error);
    }
    println!(
        "{} of {} tasks completed in {:.1} s ({:.0} a second, each a process of its own)",
        completed.len(),
        work.len(),
        took.as_secs_f64(),
        work.len() as f64 / took.as_secs_f64().max(0.001)
    );
    seen.len() == work.len()
        && work.iter().all(|w| w.path.to_str().is_some_and(|p| seen.contains(p)))
}

/// One row per priority: when its tasks ended, on average, as a place in the whole order.
fn lanes(done: &[&Done]) {
    let mut table = table(&["priority", "tasks", "bytes", "ended at place (median)"]);
    for priority in ["high", "normal", "low"] {
        let mut places: Vec<usize> = done
            .iter()
            .filter(|done| done.priority == priority)
            .map(|done| done.place + 1)
            .collect();
        places.sort_unstable();
        let bytes: u64 = done
            .iter()
            .filter(|done| done.priority == priority)
            .map(|done| number(done, "bytes"))
            .sum();
        let Some(median) = places.get(places.len() / 2) else { continue };
        table.add_row([
            priority.to_owned(),
            places.len().to_string(),
            bytes.to_string(),
            format!("{median} of {}", done.len()),
        ]);
    }
    right_align(&mut table, 1..4);
    println!("{table}\n");
}

/// Where to look next, ready to be copied.
pub(crate) fn next_steps(folder: &Path, binary: &Path) {
    println!(
        "\nIt stays up until Ctrl-C. In a second terminal:\n\n\
         \x20 cd {}\n\
         \x20 alias ganger={}\n\
         \x20 ganger ps                          # what runs\n\
         \x20 ganger logs -f clock load          # what it says\n\
         \x20 ganger task list --queue files     # what was done\n\
         \x20 ganger events -f                   # what happens\n\
         \x20 kill -9 $(pgrep -f 'sh load.sh')   # it comes back\n",
        folder.display(),
        binary.display()
    );
}

fn number(done: &Done, key: &str) -> u64 {
    done.finished.result[key].as_u64().unwrap_or(0)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    table
}

fn right_align(table: &mut Table, columns: std::ops::Range<usize>) {
    for at in columns {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
