//! `priority`: who starts before whom.

use super::program::Made;

/// Makes each program wait for those of the next smaller priority. Those that don't start by themselves hold nobody up.
pub(super) fn by_priority(made: &mut [Made]) {
    let mut levels: Vec<(i64, i64)> =
        made.iter().filter(|one| one.starts).map(|one| one.priority).collect();
    levels.sort_unstable();
    levels.dedup();
    let names_at = |made: &[Made], level: (i64, i64)| -> Vec<String> {
        let at = made.iter().filter(|one| one.starts && one.priority == level);
        at.flat_map(|one| &one.services).map(|service| service.name.clone()).collect()
    };
    let names: Vec<Vec<String>> = levels.iter().map(|level| names_at(made, *level)).collect();
    for one in made {
        let before = levels.partition_point(|level| *level < one.priority);
        let Some(first) = before.checked_sub(1).and_then(|index| names.get(index)) else {
            continue;
        };
        for service in &mut one.services {
            service.after.clone_from(first);
        }
    }
}
