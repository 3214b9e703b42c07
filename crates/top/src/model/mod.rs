//! What is shown and what keys do to it: pure. Time comes in with each update; nothing is awaited.
//!
//! ```text
//! browse ─/─▶ filter ─Enter, Esc─▶ browse          browse ─?─▶ help ─any key─▶ browse
//! browse ─r x s + - p─▶ confirm ─y─▶ the action is asked for, browse
//!                               └any other key─▶ browse, nothing is done
//! ```

mod keys;
mod log;
mod rows;
#[cfg(test)]
pub(crate) mod tests;
mod trace;

use ganger_api::{Costs, Instance, LogLine, Queue};

pub(crate) use log::Log;
pub(crate) use rows::{Choice, Row, RowId, Sort};
pub(crate) use trace::Trace;

/// One answer of the daemon.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Data {
    pub(crate) instances: Vec<Instance>,
    /// `None`: the daemon has no store now.
    pub(crate) queues: Option<Vec<Queue>>,
    /// `None`: nothing watches what processes cost.
    pub(crate) costs: Option<Costs>,
}

/// Something new.
#[derive(Debug)]
pub(crate) enum Update {
    /// The daemon answered.
    Fresh(Box<Data>),
    /// It didn't, and why.
    Away(String),
    /// The stream of the log that is shown has begun.
    LogBegins,
    /// A line of it.
    Line(LogLine),
    /// It broke off, and why.
    LogBroke(String),
    /// What became of an action.
    Done(Result<String, String>),
}

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To end.
    Quit,
    /// To draw everything anew.
    Redraw,
    /// An action, confirmed.
    Act(Action),
}

/// What is done to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) verb: Verb,
    /// `web`, `web#2`, or a queue.
    pub(crate) target: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
    Scale { from: u32, to: u32 },
    Pause,
    Resume,
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let target = &self.target;
        match self.verb {
            Verb::Start => write!(f, "start {target}"),
            Verb::Stop => write!(f, "stop {target}"),
            Verb::Restart => write!(f, "restart {target}"),
            Verb::Scale { from, to } => write!(f, "scale {target} from {from} to {to}"),
            Verb::Pause => write!(f, "pause queue {target}"),
            Verb::Resume => write!(f, "resume queue {target}"),
        }
    }
}

/// Where keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pane {
    #[default]
    Processes,
    Queues,
    Log,
}

/// What a key means now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    #[default]
    Browse,
    Filter,
    Confirm(Action),
    Help,
}

/// A word about what was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) text: String,
    pub(crate) bad: bool,
    until_ms: u64,
}

/// So long a word stays.
const NOTICE_MS: u64 = 8_000;
/// Lines that page keys go; what the screen shows is known to the view only.
const PAGE: isize = 10;

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Milliseconds since 1970, as of the last update.
    pub(crate) now_ms: u64,
    pub(crate) data: Option<Data>,
    /// When that came.
    pub(crate) fresh_ms: u64,
    /// Since when the daemon is away, and why.
    pub(crate) away: Option<(u64, String)>,
    pub(crate) trace: Trace,
    pub(crate) choice: Choice,
    pub(crate) rows: Vec<Row>,
    pub(crate) selected: Option<RowId>,
    /// First line shown; the view keeps the selected one in sight.
    pub(crate) offset: usize,
    pub(crate) queue: usize,
    pub(crate) queue_offset: usize,
    pub(crate) pane: Pane,
    pub(crate) mode: Mode,
    pub(crate) notice: Option<Notice>,
    pub(crate) log: Log,
}

impl Model {
    /// Time passes.
    pub(crate) fn at(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.notice.take_if(|notice| notice.until_ms <= now_ms);
    }

    /// Takes what is new.
    pub(crate) fn update(&mut self, update: Update) {
        match update {
            Update::Fresh(data) => self.fresh(*data),
            Update::Away(why) => {
                let since = self.away.take().map_or(self.now_ms, |(since, _)| since);
                self.away = Some((since, why));
            }
            Update::LogBegins => self.log.begin(),
            Update::Line(line) => self.log.push(line),
            Update::LogBroke(why) => self.log.broken = Some(why),
            Update::Done(Ok(text)) => self.say(text, false),
            Update::Done(Err(text)) => self.say(text, true),
        }
    }

    fn fresh(&mut self, data: Data) {
        if let Some((since, _)) = self.away.take() {
            let away = std::time::Duration::from_millis(self.now_ms.saturating_sub(since));
            self.say(format!("the daemon is back after {}", crate::text::age(away)), false);
        }
        if let Some(costs) = &data.costs {
            self.trace.costs(costs);
        }
        self.trace.keep(&data.instances);
        self.trace.queues(data.queues.as_deref().unwrap_or_default(), self.now_ms);
        (self.data, self.fresh_ms) = (Some(data), self.now_ms);
        self.arrange();
    }

    fn say(&mut self, text: String, bad: bool) {
        self.notice = Some(Notice { text, bad, until_ms: self.now_ms + NOTICE_MS });
    }

    /// Makes the lines anew; who was selected stays so, or his neighbour takes his place.
    fn arrange(&mut self) {
        let before = self.selected_at();
        let data = self.data.as_ref();
        let instances = data.map_or(&[][..], |data| &data.instances);
        self.rows = rows::rows(instances, data.and_then(|data| data.costs.as_ref()), &self.choice);
        if self.selected_at().is_none() {
            let last = self.rows.len().saturating_sub(1);
            let below = self.selected.as_ref().and_then(|id| {
                // An instance that is folded away is its service.
                let head = RowId::Name(id.name().to_owned());
                self.rows.iter().position(|row| row.id == head)
            });
            let at = below.or(before).unwrap_or(0).min(last);
            self.selected = self.rows.get(at).map(|row| row.id.clone());
        }
        self.queue = self.queue.min(self.queues().len().saturating_sub(1));
        if self.pane == Pane::Queues && self.queues().is_empty() {
            self.pane = Pane::Processes;
        }
        self.follow();
    }

    /// The log pane shows who is selected.
    fn follow(&mut self) {
        if self.log.of.is_none() || self.pane == Pane::Log {
            return;
        }
        match self.selected.clone() {
            Some(id) => self.log.show(id),
            None => self.log.close(),
        }
    }

    pub(crate) fn queues(&self) -> &[Queue] {
        self.data.as_ref().and_then(|data| data.queues.as_deref()).unwrap_or_default()
    }

    /// The selected line's place.
    pub(crate) fn selected_at(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.rows.iter().position(|row| row.id == *selected)
    }

    pub(crate) fn selected_row(&self) -> Option<&Row> {
        self.rows.get(self.selected_at()?)
    }

    /// What verbs point at: the only instance of a service is the service.
    fn target(&self) -> Option<String> {
        Some(self.selected_row()?.id.to_string())
    }

    /// Whose log is to be read.
    pub(crate) fn log_target(&self) -> Option<String> {
        self.log.of.as_ref().map(RowId::to_string)
    }
}
