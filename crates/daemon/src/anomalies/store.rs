//! Where detectors outlive the daemon: one file, replaced whole. What can't be read begins anew: within hours it is known again.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::crew::Crew;

/// In the state folder.
const FILE: &str = "anomalies.json";

pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// Blocks.
pub(super) fn read(path: &Path) -> Option<Crew> {
    let bytes = fs::read(path).ok()?;
    let read = serde_json::from_slice::<Crew>(&bytes);
    read.inspect_err(|error| tracing::warn!(%error, "detectors begin anew")).ok().map(Crew::renewed)
}

/// Blocks. Not fsynced: it is what a power loss would make old anyway.
pub(super) fn write(path: &Path, crew: &Crew) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = BufWriter::new(File::create(&fresh)?);
    serde_json::to_writer(&mut file, crew)?;
    file.flush()?;
    fs::rename(fresh, path)
}

/// JSON's keys are texts: a map with other keys is a list of pairs.
pub(super) mod pairs {
    use std::collections::BTreeMap;

    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, K, V, D>(from: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: DeserializeOwned + Ord,
        V: DeserializeOwned,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}
