//! Who gets a connection, and what becomes of one that was not taken.

use super::{Action, Cluster, Refused, State, Waiting, WorkerId, messages};

impl<C: Clone> Cluster<C> {
    /// Offers what waits, as far as there are workers for it.
    pub(super) fn spread(&mut self, key: &str, actions: &mut Vec<Action<C>>) {
        let Some(listener) = self.listeners.get_mut(key) else { return };
        // Nothing to choose from: the usual case while a worker is awaited.
        let open = matches!(listener.state, State::Open(_)) && !listener.shared;
        let mut waiting = std::mem::take(&mut listener.waiting);
        if open && !listener.members.is_empty() {
            let mut kept = std::collections::VecDeque::new();
            let mut all_busy = false;
            while let Some(one) = waiting.pop_front() {
                // Who was refused before may have nobody left, however busy they all are.
                let choice = match all_busy && one.refused_by.is_empty() {
                    true => Choice::AllBusy,
                    false => self.choose(key, &one),
                };
                all_busy |= matches!(choice, Choice::AllBusy);
                match choice {
                    Choice::Worker(worker) => self.give(worker, key, one, actions),
                    Choice::Later | Choice::AllBusy => kept.push_back(one),
                    Choice::Nobody => {
                        let connection = one.connection;
                        actions.push(Action::Back { key: key.to_owned(), connection });
                    }
                }
            }
            waiting = kept;
        }
        let listener = self.listeners.get_mut(key).expect("it was there above");
        listener.waiting = waiting;
        let max = self.settings.waiting_max;
        if !listener.paused && listener.waiting.len() >= max {
            listener.paused = true;
            actions.push(Action::Pause { key: key.to_owned() });
        } else if listener.paused && listener.waiting.len() <= max / 2 {
            listener.paused = false;
            actions.push(Action::Resume { key: key.to_owned() });
        }
    }

    /// A credit came back, or connections: each listener may go on.
    pub(super) fn spread_all(&mut self, actions: &mut Vec<Action<C>>) {
        let waits = self.listeners.iter().filter(|(_, one)| !one.waiting.is_empty());
        let keys: Vec<String> = waits.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.spread(&key, actions);
        }
    }

    /// The answer to an offer.
    pub(super) fn answered(
        &mut self,
        worker: WorkerId,
        ack: u64,
        accepted: bool,
    ) -> Result<Vec<Action<C>>, Refused> {
        let state = self.workers.get_mut(&worker);
        let assumed = state.as_ref().is_some_and(|state| state.assumed);
        let Some((key, mut one)) = state.and_then(|state| state.offers.remove(&ack)) else {
            if ack < self.settings.first_seq {
                return Ok(Vec::new());
            }
            let why = format!("worker {worker} answered {ack}, which it was not asked");
            return Err(Refused::Cluster(why));
        };
        let mut actions = Vec::new();
        if accepted {
            actions.push(Action::Taken { worker, key, connection: one.connection });
        } else {
            one.refused_by.push(worker);
            if assumed && let Some(listener) = self.listeners.get_mut(&key) {
                listener.members.remove(&worker);
            }
            self.give_back(key, one, &mut actions);
        }
        self.spread_all(&mut actions);
        Ok(actions)
    }

    /// Back to the front of its line: it was accepted before all that wait.
    pub(super) fn give_back(&mut self, key: String, one: Waiting<C>, actions: &mut Vec<Action<C>>) {
        match self.listeners.get_mut(&key) {
            Some(listener) => listener.waiting.push_front(one),
            None => actions.push(Action::Back { key, connection: one.connection }),
        }
    }

    fn give(&mut self, to: WorkerId, key: &str, one: Waiting<C>, actions: &mut Vec<Action<C>>) {
        let offer = self.seq;
        self.seq += 1;
        let Some(listener) = self.listeners.get(key) else { return };
        let body = messages::connection(&listener.head, self.settings.plain, offer);
        let connection = one.connection.clone();
        let worker = self.workers.get_mut(&to).expect("chosen among those that are there");
        worker.last = offer;
        worker.offers.insert(offer, (key.to_owned(), one));
        actions.push(Action::SendConnection { worker: to, offer, body, connection });
    }

    fn choose(&self, key: &str, one: &Waiting<C>) -> Choice {
        let Some(listener) = self.listeners.get(key) else { return Choice::Nobody };
        let members = listener.members.iter().filter_map(|id| Some((*id, self.workers.get(id)?)));
        let (mut willing, mut free) = (false, false);
        let mut best = None;
        for (id, worker) in members {
            let has_room = worker.serving && worker.offers.len() < self.settings.window;
            free |= has_room;
            if one.refused_by.contains(&id) {
                continue;
            }
            willing = true;
            let rank = (worker.offers.len(), worker.last, id);
            if has_room && best.is_none_or(|other| rank < other) {
                best = Some(rank);
            }
        }
        match best {
            Some((_, _, id)) => Choice::Worker(id),
            None if !willing => Choice::Nobody,
            None if !free => Choice::AllBusy,
            None => Choice::Later,
        }
    }
}

enum Choice {
    Worker(WorkerId),
    /// Those that would take it are busy; others have room for other connections.
    Later,
    /// Every worker refused it.
    Nobody,
    /// No worker has room.
    AllBusy,
}
