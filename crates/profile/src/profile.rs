//! A finished profile: named stacks with how often each was seen.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameKind {
    /// The name of a process: the root of its stacks.
    Process,
    /// A function of a program or library.
    Native,
    /// What a runtime compiled, named by its perf map.
    Compiled,
    /// A function of the kernel.
    Kernel,
    /// What a thread was at, from `/proc`.
    State,
    /// Code nobody has a name for; the name is then its file's, in brackets.
    Unnamed,
}

/// One line of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Frame {
    /// Function, process or state.
    pub name: String,
    /// The file it stands in, empty where there is none.
    pub module: String,
    /// What it is.
    pub kind: FrameKind,
}

/// How the samples were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// perf, by the cycle counter.
    Cycles,
    /// perf, by the kernel's timer.
    CpuClock,
    /// By looking at `/proc`: states and waits, no functions.
    States,
}

impl Method {
    /// For a person.
    #[must_use]
    pub const fn said(self) -> &'static str {
        match self {
            Self::Cycles => "perf, cycles",
            Self::CpuClock => "perf, cpu-clock",
            Self::States => "states from /proc, not functions",
        }
    }
}

/// What a profile is about and how good it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Meta {
    /// How samples were taken.
    pub method: Method,
    /// The kernel's own functions are in it.
    pub kernel: bool,
    /// Samples a second.
    pub hertz: u32,
    /// How long it took.
    pub seconds: f64,
    /// Samples taken, those beyond the bound included.
    pub samples: u64,
    /// Records the kernel had no room for.
    pub lost: u64,
    /// Samples whose stack was one too many to keep.
    pub beyond: u64,
    /// Samples whose user stack has a leaf but no caller.
    pub broken: u64,
    /// Samples whose innermost function has a name.
    pub named: u64,
    /// Processes seen.
    pub processes: usize,
    /// Threads that were there at the start.
    pub threads: usize,
    /// What a reader should know: what was missing and how to get it.
    pub notes: Vec<String>,
}

/// A function in the table of the costliest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Function {
    /// The function.
    #[serde(flatten)]
    pub frame: Frame,
    /// Samples in it itself.
    pub own: u64,
    /// Samples in it or what it called; once a stack, however often it is in it.
    pub total: u64,
}

/// Named stacks and their counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// What it is about.
    pub meta: Meta,
    frames: Vec<Frame>,
    known: HashMap<Frame, u32>,
    stacks: BTreeMap<Vec<u32>, u64>,
}

impl Profile {
    /// Without stacks.
    #[must_use]
    pub fn new(meta: Meta) -> Self {
        Self { meta, frames: Vec::new(), known: HashMap::new(), stacks: BTreeMap::new() }
    }

    /// Adds `count` samples of a stack, its root first.
    pub fn add(&mut self, stack: impl IntoIterator<Item = Frame>, count: u64) {
        let stack: Vec<u32> = stack.into_iter().map(|frame| self.number(frame)).collect();
        *self.stacks.entry(stack).or_default() += count;
    }

    fn number(&mut self, frame: Frame) -> u32 {
        if let Some(number) = self.known.get(&frame) {
            return *number;
        }
        let number = self.frames.len() as u32;
        self.frames.push(frame.clone());
        self.known.insert(frame, number);
        number
    }

    /// Stacks with their counts, root first, in the order of their frames: the same stacks in whatever order they were added come
    /// out the same.
    #[must_use]
    pub fn stacks(&self) -> Vec<(Vec<&Frame>, u64)> {
        let mut all: Vec<(Vec<&Frame>, u64)> = self
            .stacks
            .iter()
            .map(|(stack, count)| {
                (stack.iter().map(|number| &self.frames[*number as usize]).collect(), *count)
            })
            .collect();
        all.sort();
        all
    }

    /// Samples in stacks.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.stacks.values().sum()
    }

    /// The `most` functions with the most samples of their own.
    #[must_use]
    pub fn top(&self, most: usize) -> Vec<Function> {
        let mut own: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for (stack, count) in &self.stacks {
            if let Some(leaf) = stack.last() {
                own.entry(*leaf).or_default().0 += count;
            }
            let mut seen = stack.clone();
            seen.sort_unstable();
            seen.dedup();
            for frame in seen {
                own.entry(frame).or_default().1 += count;
            }
        }
        let mut all: Vec<Function> = own
            .into_iter()
            .map(|(number, (own, total))| Function {
                frame: self.frames[number as usize].clone(),
                own,
                total,
            })
            .filter(|function| function.own > 0)
            .collect();
        all.sort_by(|a, b| (b.own, b.total, &a.frame).cmp(&(a.own, a.total, &b.frame)));
        all.truncate(most);
        all
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn meta() -> Meta {
        Meta {
            method: Method::CpuClock,
            kernel: true,
            hertz: 99,
            seconds: 1.0,
            samples: 10,
            lost: 0,
            beyond: 0,
            broken: 0,
            named: 9,
            processes: 1,
            threads: 2,
            notes: Vec::new(),
        }
    }

    pub(crate) fn frame(name: &str, kind: FrameKind) -> Frame {
        let module = if kind == FrameKind::Native { "/bin/x" } else { "" };
        Frame { name: name.to_owned(), module: module.to_owned(), kind }
    }

    /// `root|a|b`, every frame but the first native.
    pub(crate) fn sample() -> Profile {
        let mut profile = Profile::new(meta());
        for (stack, count) in
            [("web|main|hot", 6), ("web|main|cold|hot", 2), ("web|main|main", 1), ("web|<&\";>", 1)]
        {
            let frames = stack.split('|').enumerate().map(|(at, name)| {
                frame(name, if at == 0 { FrameKind::Process } else { FrameKind::Native })
            });
            profile.add(frames, count);
        }
        profile
    }

    #[test]
    fn the_costliest_come_first_and_recursion_counts_once() {
        let top = sample().top(2);
        let told: Vec<_> = top.iter().map(|f| (f.frame.name.as_str(), f.own, f.total)).collect();
        assert_eq!(told, [("hot", 8, 8), ("main", 1, 9)]);
    }

    #[test]
    fn the_order_of_adding_does_not_matter() {
        let one = sample();
        let mut other = Profile::new(meta());
        for (stack, count) in one.stacks().into_iter().rev() {
            other.add(stack.into_iter().cloned(), count);
        }
        assert_eq!(one.stacks(), other.stacks());
        assert_eq!(other.total(), 10);
    }
}
