//! What a primary knows without being told by its workers: listeners and members that a former one had, who may get connections now.
//!
//! Workers outlive a primary that was killed, and ask for nothing again. The next one reopens the listeners, and lets its workers in
//! where they were. One of which nothing is known counts as a member of all (`assumed`) until it refuses a connection of one.

use std::net::SocketAddr;

use super::{Action, Cluster, Listener, State, WorkerId};

impl<C: Clone> Cluster<C> {
    /// A listener that is open already: a former primary's, by the key it had there, or one of a program that asks for none. Nothing
    /// happens if there is one.
    pub fn reopen(&mut self, key: &str, udp: bool, address: Option<SocketAddr>) {
        let listener = Listener::new(base_of(key).to_owned(), key, udp, self.settings);
        let listener = Listener { state: State::Open(address), ..listener };
        self.listeners.entry(key.to_owned()).or_insert(listener);
    }

    /// A worker listens on this, without having asked this primary.
    pub fn let_in(&mut self, worker: WorkerId, key: &str) -> Vec<Action<C>> {
        let there = self.workers.get(&worker).is_some_and(|worker| !worker.leaving);
        let mut actions = Vec::new();
        if let Some(listener) = self.listeners.get_mut(key).filter(|_| there) {
            listener.members.insert(worker);
            self.spread(key, &mut actions);
        }
        actions
    }

    /// A worker may listen on anything: it is let in everywhere, until it refuses.
    pub fn assume(&mut self, worker: WorkerId) -> Vec<Action<C>> {
        if let Some(state) = self.workers.get_mut(&worker) {
            state.assumed = true;
        }
        let keys: Vec<String> = self.listeners.keys().cloned().collect();
        keys.iter().flat_map(|key| self.let_in(worker, key)).collect()
    }

    /// Says whether connections may be offered to a worker; what it was offered stays with it.
    pub fn serve(&mut self, worker: WorkerId, serving: bool) -> Vec<Action<C>> {
        let mut actions = Vec::new();
        if let Some(state) = self.workers.get_mut(&worker) {
            state.serving = serving;
            self.spread_all(&mut actions);
        }
        actions
    }

    /// A worker that knows no cluster protocol has the connection.
    pub fn taken(&mut self, worker: WorkerId, offer: u64) -> Vec<Action<C>> {
        self.answered(worker, offer, true).unwrap_or_default()
    }

    /// A connection that is accepted now is offered to a worker at once: one has room, and nothing waits.
    #[must_use]
    pub fn has_room(&self, key: &str) -> bool {
        let Some(listener) = self.listeners.get(key) else { return false };
        let window = self.settings.window;
        let free = |id: &WorkerId| {
            self.workers.get(id).is_some_and(|one| one.serving && one.offers.len() < window)
        };
        listener.waiting.is_empty() && listener.members.iter().any(free)
    }

    /// What a worker listens on.
    pub fn keys_of(&self, worker: WorkerId) -> impl Iterator<Item = &str> {
        let member = move |one: &Listener<C>| one.members.contains(&worker);
        self.listeners.iter().filter(move |(_, one)| member(one)).map(|(key, _)| key.as_str())
    }

    /// Nobody listens on it, though all workers that may get connections listen on something: the program has moved on.
    #[must_use]
    pub fn is_abandoned(&self, key: &str) -> bool {
        let Some(listener) = self.listeners.get(key) else { return false };
        let mut able = self.workers.iter().filter(|(_, one)| !one.leaving).peekable();
        let open = matches!(listener.state, State::Open(_));
        open && listener.members.is_empty()
            && able.peek().is_some()
            && able.all(|(id, one)| one.serving && self.keys_of(*id).next().is_some())
    }

    /// Connections that a worker was offered and has not answered.
    #[must_use]
    pub fn offered(&self, worker: WorkerId) -> usize {
        self.workers.get(&worker).map_or(0, |worker| worker.offers.len())
    }
}

/// The key without what tells two listeners of one address apart.
fn base_of(key: &str) -> &str {
    // A path may have a `#` too, but stands before the last colon.
    match key.rsplit_once('#') {
        Some((base, n)) if !n.contains(':') && n.parse::<u32>().is_ok() => base,
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Notice, Settings};
    use super::*;

    const KEY: &str = "127.0.0.1:80:4:null";

    fn rejoined(settings: Settings) -> Cluster<u32> {
        let mut cluster = Cluster::new(settings);
        cluster.reopen(KEY, false, Some(SocketAddr::from(([127, 0, 0, 1], 80))));
        [1, 2].into_iter().for_each(|worker| cluster.join(worker));
        cluster
    }

    fn offers(actions: &[Action<u32>]) -> Vec<(WorkerId, u64, u32)> {
        let offer = |action: &Action<u32>| match action {
            Action::SendConnection { worker, offer, connection, .. } => {
                Some((*worker, *offer, *connection))
            }
            _ => None,
        };
        actions.iter().filter_map(offer).collect()
    }

    fn answer(cluster: &mut Cluster<u32>, worker: u32, ack: u64, yes: bool) -> Vec<Action<u32>> {
        let body = format!(r#"{{"cmd":"NODE_CLUSTER","ack":{ack},"accepted":{yes}}}"#);
        cluster.on_message(worker, body.as_bytes()).unwrap()
    }

    #[test]
    fn workers_of_a_former_primary_get_connections_where_they_listen() {
        let mut cluster = rejoined(Settings { first_seq: 100, ..Settings::default() });
        assert!(!cluster.has_room(KEY));
        assert_eq!(cluster.let_in(2, KEY), []);
        assert!(cluster.has_room(KEY));
        assert_eq!(offers(&cluster.offer(KEY, 7)), [(2, 100, 7)]);
        // What it answers to the former one concerns nobody here; of ours it can't say anything twice.
        assert_eq!(answer(&mut cluster, 2, 99, false), []);
        assert!(matches!(answer(&mut cluster, 2, 100, true)[..], [Action::Taken { .. }]));
        assert!(cluster.on_message(2, br#"{"ack":100,"accepted":true}"#).is_err());
        assert_eq!(cluster.keys_of(2).collect::<Vec<_>>(), [KEY]);
        assert_eq!(cluster.keys_of(1).count(), 0);
    }

    #[test]
    fn one_of_which_nothing_is_known_is_asked_once() {
        let mut cluster = rejoined(Settings::default());
        cluster.assume(1);
        cluster.let_in(2, KEY);
        let first = offers(&cluster.offer(KEY, 7));
        let &[(1, offer, 7)] = &first[..] else { panic!("{first:?}") };
        let next = answer(&mut cluster, 1, offer, false);
        assert_eq!(offers(&next).first().map(|(worker, ..)| *worker), Some(2));
        assert!(offers(&cluster.offer(KEY, 8)).iter().all(|(worker, ..)| *worker == 2));
        // It listens at last: not for the second time.
        let query = br#"{"act":"queryServer","seq":1,"address":"127.0.0.1","port":80,"addressType":4,"fd":null,"index":0}"#;
        let actions = cluster.on_message(1, query).unwrap();
        assert!(matches!(actions[0], Action::Send { worker: 1, .. }), "{actions:?}");
    }

    #[test]
    fn who_does_not_serve_is_offered_nothing_and_nothing_is_accepted_for_him() {
        let mut cluster = rejoined(Settings { window: 1, ..Settings::default() });
        [1, 2].into_iter().for_each(|worker| drop(cluster.let_in(worker, KEY)));
        cluster.serve(1, false);
        assert_eq!(offers(&cluster.offer(KEY, 7)).len(), 1);
        assert!(!cluster.has_room(KEY), "the other has its one");
        assert_eq!(cluster.offer(KEY, 8), []);
        let freed = cluster.serve(1, true);
        assert_eq!(offers(&freed).first().map(|(worker, ..)| *worker), Some(1));
    }

    #[test]
    fn a_plain_worker_is_told_the_listener_by_its_name() {
        let mut cluster = Cluster::new(Settings { plain: true, ..Settings::default() });
        cluster.reopen(r#"a"b"#, false, None);
        cluster.join(1);
        cluster.let_in(1, r#"a"b"#);
        let actions = cluster.offer(r#"a"b"#, 7);
        let [Action::SendConnection { body, .. }] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(body, br#"{"$connection":{"listener":"a\"b","n":0}}"#);
    }

    #[test]
    fn what_a_new_version_no_longer_listens_on_is_abandoned() {
        let mut cluster = rejoined(Settings::default());
        assert!(!cluster.is_abandoned(KEY), "those that are there may still come to it");
        cluster.reopen("null:81:4:null", false, None);
        [1, 2].into_iter().for_each(|worker| drop(cluster.let_in(worker, "null:81:4:null")));
        assert!(cluster.is_abandoned(KEY));
        assert!(!cluster.is_abandoned("null:81:4:null"));
        cluster.serve(1, false);
        assert!(!cluster.is_abandoned(KEY), "one that is on trial may go back to it");
    }

    #[test]
    fn a_second_listener_of_an_address_keeps_its_base() {
        assert_eq!(base_of("/a#2:-1:-1:null"), "/a#2:-1:-1:null");
        assert_eq!(base_of("/a#2:-1:-1:null#3"), "/a#2:-1:-1:null");
        assert_eq!(base_of(KEY), KEY);
    }

    #[test]
    fn a_listener_without_members_is_told_as_idle() {
        let mut cluster = rejoined(Settings::default());
        cluster.let_in(1, KEY);
        let gone = cluster.gone(1);
        assert!(matches!(&gone[..], [Action::Tell(Notice::Idle { key })] if key == KEY));
    }
}
