//! Random workers, connections and deaths beside a book of where each connection is.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// A worker starts and listens on a port.
    Join(u16),
    /// A worker asks for another port.
    Query(usize, u16),
    Offer(usize),
    /// An outstanding offer is answered.
    Answer(usize, bool),
    CloseByWorker(usize, usize),
    Disconnect(usize),
    Leave(usize),
    Die(usize),
    Lost(usize),
    CloseListener(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (80u16..83).prop_map(Step::Join),
        2 => (any::<usize>(), 80u16..83).prop_map(|(w, p)| Step::Query(w, p)),
        12 => any::<usize>().prop_map(Step::Offer),
        9 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(o, yes)| Step::Answer(o, yes)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(w, l)| Step::CloseByWorker(w, l)),
        1 => any::<usize>().prop_map(Step::Disconnect),
        1 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::Die),
        1 => any::<usize>().prop_map(Step::Lost),
        1 => any::<usize>().prop_map(Step::CloseListener),
    ]
}

/// Where a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Waiting(String),
    Offered(WorkerId, u64, String),
    Taken(WorkerId),
    Back,
}

/// A second, simpler book, kept from what the cluster says and from what was done to it.
struct Model {
    cluster: Cluster<u32>,
    settings: Settings,
    next_worker: WorkerId,
    workers: BTreeSet<WorkerId>,
    leaving: BTreeSet<WorkerId>,
    /// Open listeners and their members.
    listeners: BTreeMap<String, BTreeSet<WorkerId>>,
    places: BTreeMap<u32, Place>,
    refused: BTreeMap<u32, BTreeSet<WorkerId>>,
    paused: BTreeSet<String>,
}

fn nth<T: Clone>(all: impl IntoIterator<Item = T>, n: usize) -> Option<T> {
    let all: Vec<T> = all.into_iter().collect();
    (!all.is_empty()).then(|| all[n % all.len()].clone())
}

impl Model {
    fn outstanding(&self) -> Vec<(u32, WorkerId, u64)> {
        let offered = |(connection, place): (&u32, &Place)| match place {
            Place::Offered(worker, offer, _) => Some((*connection, *worker, *offer)),
            _ => None,
        };
        self.places.iter().filter_map(offered).collect()
    }

    fn take(&mut self, actions: Vec<Action<u32>>) {
        for action in actions {
            match action {
                Action::Tell(Notice::Open { key, .. }) => {
                    self.listeners.insert(key.clone(), BTreeSet::new());
                    let port = key.split(':').nth(1).unwrap().parse().unwrap();
                    let address = SocketAddr::from(([127, 0, 0, 1], port));
                    let more = self.cluster.opened(&key, Ok(Some(address)));
                    self.take(more);
                }
                Action::Send { worker, body } => {
                    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    if let Some(key) = body.get("key") {
                        let members = self.listeners.get_mut(key.as_str().unwrap()).unwrap();
                        assert!(members.insert(worker), "{worker} was let in twice");
                    }
                }
                Action::SendConnection { worker, offer, connection, body } => {
                    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    let key = body["key"].as_str().unwrap().to_owned();
                    assert_eq!(body["seq"], offer);
                    assert!(
                        self.listeners[&key].contains(&worker),
                        "{worker} does not listen on {key}"
                    );
                    assert!(!self.refused.get(&connection).is_some_and(|by| by.contains(&worker)));
                    let old =
                        self.places.insert(connection, Place::Offered(worker, offer, key.clone()));
                    assert_eq!(old, Some(Place::Waiting(key)), "connection {connection}");
                    let burden = self.outstanding().iter().filter(|(_, w, _)| *w == worker).count();
                    assert!(burden <= self.settings.window);
                }
                Action::Taken { worker, connection, .. } => {
                    let old = self.places.insert(connection, Place::Taken(worker));
                    assert!(matches!(old, Some(Place::Offered(by, ..)) if by == worker));
                }
                Action::Back { connection, .. } => {
                    let old = self.places.insert(connection, Place::Back);
                    assert!(
                        matches!(old, Some(Place::Waiting(_))),
                        "{connection} came back from {old:?}"
                    );
                }
                Action::Pause { key } => assert!(self.paused.insert(key)),
                Action::Resume { key } => assert!(self.paused.remove(&key)),
                Action::Tell(Notice::Idle { key }) => {
                    assert!(self.listeners[&key].is_empty(), "{key} is not idle")
                }
                Action::Tell(Notice::Online { .. })
                | Action::Tell(Notice::Listening { .. })
                | Action::Tell(Notice::Leaving { .. }) => {}
                Action::SendListener { .. } => unreachable!("nothing is shared here"),
            }
        }
    }

    fn no_member(&mut self, worker: WorkerId) {
        self.listeners.values_mut().for_each(|members| {
            members.remove(&worker);
        });
    }

    fn unoffer(&mut self, worker: WorkerId, only: Option<u64>) {
        for place in self.places.values_mut() {
            if let Place::Offered(by, offer, key) = place
                && *by == worker
                && only.is_none_or(|only| only == *offer)
            {
                *place = Place::Waiting(key.clone());
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Join(port) => {
                let worker = self.next_worker;
                self.next_worker += 1;
                self.workers.insert(worker);
                self.cluster.join(worker);
                let actions = self.cluster.on_message(worker, &query(0, port, 0)).unwrap();
                self.take(actions);
            }
            Step::Query(n, port) => {
                let Some(worker) = nth(self.workers.clone(), n) else { return };
                let actions = self.cluster.on_message(worker, &query(1, port, 0)).unwrap();
                assert!(!self.leaving.contains(&worker) || actions.is_empty());
                self.take(actions);
            }
            Step::Offer(n) => {
                let Some(key) = nth(self.listeners.keys().cloned(), n) else { return };
                let connection = u32::try_from(self.places.len()).unwrap();
                self.places.insert(connection, Place::Waiting(key.clone()));
                let actions = self.cluster.offer(&key, connection);
                self.take(actions);
            }
            Step::Answer(n, accepted) => {
                let Some((connection, worker, offer)) = nth(self.outstanding(), n) else { return };
                if !accepted {
                    self.refused.entry(connection).or_default().insert(worker);
                    self.back_in_line(worker, offer);
                }
                let actions = self.cluster.on_message(worker, &answer(offer, accepted)).unwrap();
                self.take(actions);
            }
            Step::Lost(n) => {
                let Some((connection, worker, offer)) = nth(self.outstanding(), n) else { return };
                self.refused.entry(connection).or_default().insert(worker);
                self.back_in_line(worker, offer);
                let actions = self.cluster.lost(worker, offer);
                self.take(actions);
            }
            Step::CloseByWorker(n, which) => {
                let Some(worker) = nth(self.workers.clone(), n) else { return };
                let Some(key) = nth(self.listeners.keys().cloned(), which) else { return };
                self.listeners.get_mut(&key).unwrap().remove(&worker);
                let actions = self.cluster.on_message(worker, &close(&key)).unwrap();
                self.take(actions);
            }
            Step::Disconnect(n) => {
                let Some(worker) = nth(self.workers.clone(), n) else { return };
                self.leaving.insert(worker);
                self.no_member(worker);
                let actions = self.cluster.disconnect(worker);
                self.take(actions);
            }
            Step::Leave(n) => {
                let Some(worker) = nth(self.workers.clone(), n) else { return };
                self.leaving.insert(worker);
                self.no_member(worker);
                let leaving = br#"{"act":"exitedAfterDisconnect","seq":3}"#;
                let actions = self.cluster.on_message(worker, leaving).unwrap();
                self.take(actions);
            }
            Step::Die(n) => {
                let Some(worker) = nth(self.workers.clone(), n) else { return };
                self.workers.remove(&worker);
                self.no_member(worker);
                self.unoffer(worker, None);
                let actions = self.cluster.gone(worker);
                self.take(actions);
            }
            Step::CloseListener(n) => {
                let Some(key) = nth(self.listeners.keys().cloned(), n) else { return };
                let actions = self.cluster.close(&key);
                self.take(actions);
                self.listeners.remove(&key);
                self.paused.remove(&key);
            }
        }
    }

    fn back_in_line(&mut self, worker: WorkerId, offer: u64) {
        self.unoffer(worker, Some(offer));
    }

    /// The cluster's numbers are the book's, and nobody waits in vain.
    fn check(&self) {
        let waiting = self.places.values().filter(|place| matches!(place, Place::Waiting(_)));
        assert_eq!(self.cluster.undecided(), (waiting.count(), self.outstanding().len()));
        for (connection, place) in &self.places {
            let Place::Waiting(key) = place else { continue };
            let members = &self.listeners[key];
            let refused = self.refused.get(connection).cloned().unwrap_or_default();
            let willing: Vec<_> = members.difference(&refused).collect();
            assert!(
                members.is_empty() || !willing.is_empty(),
                "all refused {connection}, yet it waits"
            );
            for worker in willing {
                let burden = self.outstanding().iter().filter(|(_, w, _)| w == worker).count();
                assert_eq!(
                    burden, self.settings.window,
                    "{connection} waits although {worker} has room"
                );
            }
        }
        for key in &self.paused {
            let waits = self.places.values().filter(|place| **place == Place::Waiting(key.clone()));
            assert!(waits.count() > self.settings.waiting_max / 2, "{key} is paused for nothing");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_connection_is_lost_or_waits_in_vain(
        steps in prop::collection::vec(step(), 0..80),
        window in 1usize..4,
    ) {
        let settings = Settings { window, waiting_max: 6, ..Settings::default() };
        let mut model = Model {
            cluster: Cluster::new(settings),
            settings,
            next_worker: 1,
            workers: BTreeSet::new(),
            leaving: BTreeSet::new(),
            listeners: BTreeMap::new(),
            places: BTreeMap::new(),
            refused: BTreeMap::new(),
            paused: BTreeSet::new(),
        };
        for step in &steps {
            model.step(step);
            model.check();
        }
    }
}
