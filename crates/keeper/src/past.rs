//! Answers to spawns that are no more, so that a repeated one starts nothing.

use std::collections::{HashMap, VecDeque};

use ganger_core::SpawnId;

use crate::wire::Event;

/// Answers kept: a spawn is only repeated by a daemon that has not seen its answer.
const MOST: usize = 4096;

/// The latest answers, found by id: every spawn asks.
#[derive(Debug, Default)]
pub(crate) struct Past {
    answers: HashMap<SpawnId, Event>,
    /// Oldest first.
    order: VecDeque<SpawnId>,
}

impl Past {
    pub(crate) fn answer(&self, id: SpawnId) -> Option<&Event> {
        self.answers.get(&id)
    }

    /// Keeps an answer; the oldest goes when there are too many. The first answer to an id stays.
    pub(crate) fn remember(&mut self, id: SpawnId, answer: Event) {
        if self.answers.contains_key(&id) {
            return;
        }
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.answers.insert(id, answer);
        self.order.push_back(id);
    }
}

impl Past {
    /// Oldest first.
    pub(crate) fn saved(&self) -> Vec<(SpawnId, Event)> {
        let order = self.order.iter();
        order.filter_map(|id| Some((*id, self.answers.get(id)?.clone()))).collect()
    }
}

impl FromIterator<(SpawnId, Event)> for Past {
    fn from_iter<T: IntoIterator<Item = (SpawnId, Event)>>(answers: T) -> Self {
        let mut past = Self::default();
        for (id, answer) in answers {
            past.remember(id, answer);
        }
        past
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_a_first_answer_stays() {
        let mut past = Past::default();
        let answer = |n| Event::Ping { n };
        for n in 0..=MOST as u64 {
            past.remember(SpawnId(n), answer(n));
        }
        past.remember(SpawnId(1), answer(77));
        assert_eq!(past.answer(SpawnId(0)), None);
        assert_eq!(past.answer(SpawnId(1)), Some(&answer(1)));
        assert_eq!(past.answer(SpawnId(MOST as u64)), Some(&answer(MOST as u64)));
        assert_eq!(past.answers.len(), past.order.len());
        let again: Past = past.saved().into_iter().collect();
        assert_eq!((again.order, again.answers), (past.order, past.answers));
    }
}
