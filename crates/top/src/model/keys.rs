//! What keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Action, Ask, Mode, Model, PAGE, Pane, RowId, Verb};

/// Bytes of a filter: more is nothing that anybody looks for.
const FILTER_MAX: usize = 64;

impl Model {
    /// A key was pressed.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Option<Ask> {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if ctrl => return Some(Ask::Quit),
            KeyCode::Char('l') if ctrl => return Some(Ask::Redraw),
            // A screen without job control: what else a control key means is not known here.
            KeyCode::Char(_) if ctrl => return None,
            _ => {}
        }
        match std::mem::take(&mut self.mode) {
            Mode::Browse => return self.browse(key.code),
            Mode::Help => {}
            Mode::Filter => self.filter(key.code),
            Mode::Confirm(action) => {
                if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                    self.say(format!("{action} …"), false);
                    return Some(Ask::Act(action));
                }
                self.say(format!("not done: {action}"), false);
            }
        }
        None
    }

    fn filter(&mut self, key: KeyCode) {
        let filter = &mut self.choice.filter;
        match key {
            KeyCode::Enter => return,
            KeyCode::Esc => filter.clear(),
            KeyCode::Backspace => drop(filter.pop()),
            KeyCode::Char(c) if filter.len() < FILTER_MAX && !c.is_control() => {
                filter.extend(c.to_lowercase());
            }
            _ => {}
        }
        if key != KeyCode::Esc {
            self.mode = Mode::Filter;
        }
        self.arrange();
    }

    fn browse(&mut self, key: KeyCode) -> Option<Ask> {
        match key {
            KeyCode::Char('q') => return Some(Ask::Quit),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Esc => self.escape(),
            KeyCode::Tab => self.pane = self.pane_after(true),
            KeyCode::BackTab => self.pane = self.pane_after(false),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-PAGE),
            KeyCode::PageDown => self.go(PAGE),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN / 2),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX / 2),
            KeyCode::Char('f') => self.log.back = 0,
            KeyCode::Enter | KeyCode::Char('l') => self.toggle_log(),
            KeyCode::Left => self.fold(Some(true)),
            KeyCode::Right => self.fold(Some(false)),
            KeyCode::Char(' ') => self.fold(None),
            KeyCode::Char('o') => {
                self.choice.sort = self.choice.sort.next();
                self.arrange();
            }
            KeyCode::Char('O') => {
                self.choice.reversed = !self.choice.reversed;
                self.arrange();
            }
            KeyCode::Char(c) => self.ask(c),
            _ => {}
        }
        None
    }

    fn escape(&mut self) {
        if self.pane != Pane::Processes {
            self.pane = Pane::Processes;
        } else if !self.choice.filter.is_empty() {
            self.choice.filter.clear();
            self.arrange();
        } else {
            self.log.close();
        }
    }

    /// The pane after this one, of those there are.
    fn pane_after(&self, forth: bool) -> Pane {
        let queues = !self.queues().is_empty();
        let log = self.log.of.is_some();
        let all = [(Pane::Processes, true), (Pane::Queues, queues), (Pane::Log, log)];
        let there: Vec<Pane> =
            all.into_iter().filter(|(_, is)| *is).map(|(pane, _)| pane).collect();
        let at = there.iter().position(|pane| *pane == self.pane).unwrap_or(0);
        let step = if forth { 1 } else { there.len() - 1 };
        there[(at + step) % there.len()]
    }

    fn go(&mut self, lines: isize) {
        let within =
            |at: usize, len: usize| at.saturating_add_signed(lines).min(len.saturating_sub(1));
        match self.pane {
            Pane::Processes => {
                let at = within(self.selected_at().unwrap_or(0), self.rows.len());
                self.selected = self.rows.get(at).map(|row| row.id.clone());
                self.follow();
            }
            Pane::Queues => self.queue = within(self.queue, self.queues().len()),
            Pane::Log => self.log.scroll(-lines),
        }
    }

    fn toggle_log(&mut self) {
        if self.log.of.is_some() {
            self.log.close();
            if self.pane == Pane::Log {
                self.pane = Pane::Processes;
            }
        } else if let Some(id) = self.selected.clone() {
            self.log.show(id);
        }
    }

    /// Folds the selected service, unfolds it, or the other way than it is.
    fn fold(&mut self, fold: Option<bool>) {
        let Some(name) = self.selected.as_ref().map(|id| id.name().to_owned()) else { return };
        let folded = &mut self.choice.folded;
        if fold.unwrap_or(!folded.contains(&name)) {
            folded.insert(name);
        } else {
            folded.remove(&name);
        }
        self.arrange();
    }

    /// Asks before anything is done.
    fn ask(&mut self, key: char) {
        let action = match (self.pane, key) {
            (Pane::Queues, 'p') => self.queues().get(self.queue).map(|queue| {
                let verb = if queue.paused { Verb::Resume } else { Verb::Pause };
                Action { verb, target: queue.name.clone() }
            }),
            (Pane::Queues, _) => None,
            (_, 'r') => self.on_selected(Verb::Restart),
            (_, 'x') => self.on_selected(Verb::Stop),
            (_, 's') => self.on_selected(Verb::Start),
            (_, '+') => self.scale(1),
            (_, '-') => self.scale(-1),
            _ => None,
        };
        self.mode = action.map_or(Mode::Browse, Mode::Confirm);
    }

    fn on_selected(&self, verb: Verb) -> Option<Action> {
        Some(Action { verb, target: self.target()? })
    }

    /// One more process, or one fewer: of the whole service or pool, whichever line of it is selected.
    fn scale(&mut self, by: i32) -> Option<Action> {
        let name = self.selected.as_ref()?.name().to_owned();
        let instances = self.data.as_ref().map_or(&[][..], |data| &data.instances);
        let there = instances.iter().filter(|one| one.name == name).count();
        let from = u32::try_from(there).ok()?;
        let Some(to) = from.checked_add_signed(by) else {
            self.say(format!("{} has no processes", RowId::Name(name)), true);
            return None;
        };
        Some(Action { verb: Verb::Scale { from, to }, target: name })
    }
}
