//! `up --formation web=2,worker=0`: foreman's and overmind's word for how many of each.

use std::str::FromStr;

use ganger_daemon::config::Config;

use crate::error::{CliError, Kind};

/// foreman's name for all that are not named.
const ALL: &str = "all";

/// One `NAME=N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    name: String,
    count: u32,
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let count = pair.and_then(|(name, count)| Some((name, count.parse().ok()?)));
        let (name, count) = count.ok_or("expected NAME=N, as in web=2")?;
        Ok(Self { name: name.to_owned(), count })
    }
}

/// Puts the numbers in place of the file's.
pub(super) fn apply(counts: &[Count], config: &mut Config) -> Result<(), CliError> {
    if let Some(all) = counts.iter().rev().find(|one| one.name == ALL) {
        for service in config.services.values_mut() {
            service.replicas = all.count;
        }
    }
    for one in counts.iter().filter(|one| one.name != ALL) {
        match config.services.get_mut(&one.name) {
            Some(service) => service.replicas = one.count,
            None => {
                let known: Vec<&str> = config.services.keys().map(String::as_str).collect();
                let message = format!("--formation: there is no service `{}`", one.name);
                return Err(CliError::new(Kind::Usage, message)
                    .help(format!("there are: {}", known.join(", "))));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_place_of_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Procfile");
        std::fs::write(&path, "web: true\nworker: true\nclock: true\n").unwrap();
        let mut config = ganger_daemon::config::load(&path).unwrap().config;
        let counts =
            |text: &str| text.split(',').map(|one| one.parse().unwrap()).collect::<Vec<Count>>();
        apply(&counts("web=3,all=0,worker=2"), &mut config).unwrap();
        let replicas: Vec<u32> = config.services.values().map(|service| service.replicas).collect();
        assert_eq!(replicas, [0, 3, 2]);
        let error = apply(&counts("wab=1"), &mut config).unwrap_err();
        assert_eq!(error.code(), 2);
        for text in ["web", "=2", "web=-1", "web=x"] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
    }
}
