//! Marks on the time axis: what happened to an object, between its samples.

use ganger_core::{End, Usage};
use serde::{Deserialize, Serialize};

/// Bytes of a mark's record; longer texts are cut.
const TEXT_MAX: usize = 1_024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When: milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The object's name.
    pub name: String,
    /// Its slot; none: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mark")]
pub enum What {
    /// The program was started again.
    Restart {
        /// Why.
        reason: String,
    },
    /// A new version or configuration took over (reload).
    Deploy {
        /// Of what to what.
        reason: String,
    },
    /// The kernel or a limit ended something for its memory.
    Oom {
        /// Largest resident set in bytes, where known.
        peak: Option<u64>,
    },
    /// The number of instances changed.
    Scale {
        /// Before.
        from: u32,
        /// After.
        to: u32,
    },
    /// A process, and all it reaped, ended: what the run cost.
    Exit {
        /// How.
        end: End,
        /// How long it ran, in milliseconds, where its start is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ran_ms: Option<u64>,
        /// What it used.
        cost: Usage,
    },
}

impl Mark {
    pub(crate) fn payload(&self) -> Vec<u8> {
        let mut mark = self.clone();
        cut(&mut mark.name, crate::key::NAME_MAX);
        if let What::Restart { reason } | What::Deploy { reason } = &mut mark.what {
            cut(reason, TEXT_MAX);
        }
        // Strings and numbers: there is nothing in it that has no JSON.
        serde_json::to_vec(&mark).unwrap_or_default()
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_and_are_bounded() {
        let exit = Mark {
            at_ms: 1_700_000_000_123,
            name: "web".into(),
            slot: Some(1),
            what: What::Exit {
                end: End::Exited { code: 3 },
                ran_ms: Some(17),
                cost: Usage { user_us: 9, peak_rss: 1 << 20, ..Usage::default() },
            },
        };
        assert_eq!(Mark::read(&exit.payload()), Some(exit));
        let what = What::Restart { reason: "ä".repeat(9_000) };
        let long = Mark { at_ms: 0, name: "w".repeat(999), slot: None, what };
        let read = Mark::read(&long.payload()).unwrap();
        assert_eq!(read.name.len(), 255);
        assert!(matches!(read.what, What::Restart { reason } if reason.len() == TEXT_MAX));
        assert_eq!(Mark::read(b"{}"), None);
    }
}
