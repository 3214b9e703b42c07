//! What is remembered of a principal: its windows, and what it usually does.

use std::collections::{HashMap, HashSet};
use std::fmt;

use ganger_audit::{Principal, Text};

use crate::rule::Rule;
use crate::settings::{Settings, Threshold};
use crate::signal::{Kind, Signal};
use crate::window::Window;

/// Programs of one principal. Whoever runs more different ones can't be told a new one from an old.
const PROGRAMS_MAX: usize = 256;
/// Programs that one principal asks from; likewise.
const SOURCES_MAX: usize = 32;
/// Days on which a principal was seen before an hour can be unusual for it: a whole week.
const DAYS: u32 = 7;
/// Denials shortly before that make a new program more than news.
const TRIED: usize = 3;
const DAY_S: u64 = 86_400;

/// A principal as the rules know it: by its name, or by its user id where it has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who(String);

impl From<&Principal> for Who {
    fn from(principal: &Principal) -> Self {
        if principal.name.is_empty() {
            Self(format!("uid {}", principal.uid))
        } else {
            Self(principal.name.clone())
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Of one principal.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Kills and what was left are counted for each program, the rest for the principal.
    windows: HashMap<(Kind, Option<Text>), Window>,
    runs: u64,
    programs: HashSet<Text>,
    sources: HashSet<Text>,
    /// A bit for each hour of the day (UTC) at which it was seen.
    hours: u32,
    days: u32,
    day: u64,
    /// Record that was the last: the quietest is forgotten first.
    pub(crate) last: u64,
}

impl Memory {
    /// A hit in a window; the records in it once there are enough.
    pub(crate) fn hit(
        &mut self,
        kind: Kind,
        program: Option<&Text>,
        at: (u64, u64),
        settings: &Settings,
    ) -> Option<Vec<u64>> {
        let known = program.filter(|program| self.programs.contains(*program));
        let program = kind.is_of_program().then(|| known.cloned()).flatten();
        let window = self.windows.entry((kind, program)).or_default();
        window.hit(at.0, at.1, threshold(kind, settings))
    }

    /// Windows are of one boot.
    pub(crate) fn forget_windows(&mut self) {
        self.windows.clear();
    }

    /// A run begins: is the program new for somebody who has a history?
    pub(crate) fn runs(
        &mut self,
        program: &Text,
        mono: u64,
        settings: &Settings,
    ) -> Option<NewProgram> {
        let learned = self.runs >= settings.learn;
        self.runs += 1;
        if self.programs.contains(program) || self.programs.len() >= PROGRAMS_MAX {
            return None;
        }
        self.programs.insert(program.clone());
        let denials = self.windows.get(&(Kind::Denials, None));
        let denials = denials.map_or(0, |window| window.count(mono, settings.denials));
        learned.then_some(NewProgram { after_denials: denials >= TRIED })
    }

    /// It asks for something: is that unusual for it? `ms` since 1970.
    pub(crate) fn asks(
        &mut self,
        principal: &Principal,
        ms: u64,
        settings: &Settings,
    ) -> Vec<Signal> {
        let learned = self.runs >= settings.learn;
        let (day, hour) = (ms / 1_000 / DAY_S, ms / 1_000 % DAY_S / 3_600);
        let around = [(hour + 23) % 24, hour, (hour + 1) % 24];
        let usual = around.iter().any(|hour| self.hours >> hour & 1 == 1);
        let mut signals = Vec::new();
        if learned && self.days >= DAYS && !usual {
            let message = format!("asked at {hour:02} o'clock (UTC), for the first time");
            signals.push(Signal::now(Rule::UnusualUse, message));
        }
        self.hours |= 1 << hour;
        if self.day != day {
            self.day = day;
            self.days += 1;
        }
        if let Some(exe) = &principal.exe
            && self.sources.len() < SOURCES_MAX
            && self.sources.insert(exe.clone())
            && learned
            && self.sources.len() > 1
        {
            let message = format!("asked from {exe}, for the first time");
            signals.push(Signal::now(Rule::UnusualUse, message));
        }
        signals
    }
}

/// A program that this principal never ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewProgram {
    /// It was denied several things just before: it looked for what works.
    pub(crate) after_denials: bool,
}

fn threshold(kind: Kind, settings: &Settings) -> Threshold {
    match kind {
        Kind::Denials => settings.denials,
        Kind::Probes => settings.probes,
        Kind::AllowedProbes => {
            let count = settings.probes.count.saturating_mul(10);
            Threshold { count: count.min(crate::settings::COUNT_MAX), ..settings.probes }
        }
        Kind::Paths => settings.paths,
        Kind::Kills | Kind::Left => settings.kills,
        Kind::Limited => settings.limited,
    }
}
