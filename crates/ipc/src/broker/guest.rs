//! A peer whose words come over a link that somebody else owns: a pool's worker, whose link carries its tasks.
//!
//! ```text
//! owner of the link ── hear(line), show(ready, running) ──► Guest ── events, in order ──► Exchange
//!                   ◄────────── next(): lines to write ────      ◄──── messages ─────────
//! ```
//!
//! Nothing here waits but [`Guest::next`], which the owner puts beside its own waits; while it [`Guest::is_behind`] it reads no more from the
//! link, and while the link takes no more it does not ask for lines: so both directions are bounded by what is bounded already.
//!
//! Only lines: the owner's reader takes no descriptors. A payload that another process sends as memory is put into the line; a socket, or bytes
//! beside a payload, are refused by name.

use std::collections::VecDeque;

use ganger_core::InstanceId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::body;
use super::exchange::{Ask, Exchange};
use super::line::{Fd, INLINE_MAX};
use super::types::{Answer, Attached, BodyIs, Cargo, Code, Event, PeerId, Published, Said, ToPeer};
use super::wire::{self, Heard};

/// Bytes of lines given at a time: as much as a link's writer is asked to hold.
const LINES: usize = crate::channel::QUEUED_MAX;

/// A sentence for who sends what can't come here.
const ONLY_LINES: &str = "a worker of a pool takes and sends no descriptors: payloads go in the line, up to 16 MiB; sockets and bytes need a service with `channel = true`";

/// Why a word is not taken from a worker whose pool has no `channel = true`.
const NO_PEERS: &str = "it speaks to other processes, and its pool has no `channel = true`";

/// Answers a word of a worker that has no peers into `out`; gives what is to be told of it.
pub fn refuse_word(line: &[u8], out: &mut Vec<u8>) -> String {
    let why = NO_PEERS.to_owned();
    let message: ToPeer<Fd> = match wire::parse::<Fd>(line, 0) {
        Ok(Heard::Said(Said::Request { id, .. }, _)) => {
            ToPeer::Response { id, answer: Answer::Ours(Code::Nobody, why.clone()) }
        }
        _ => ToPeer::Refused { why: why.clone() },
    };
    out.extend(wire::put(&message, 0, std::time::Instant::now(), None));
    out.push(b'\n');
    why
}

/// A message, and the bytes that will be its payload; none: they can't be had.
type Reading = (Box<ToPeer<Fd>>, JoinHandle<Option<Vec<u8>>>);

/// One worker of a pool as a peer. Dropped, it has left.
#[derive(Debug)]
pub struct Guest {
    peer: PeerId,
    session: u64,
    tell: mpsc::Sender<Ask>,
    heard: mpsc::Receiver<ToPeer<Fd>>,
    /// What the exchange is to hear, in order.
    news: VecDeque<Ask>,
    /// Ready, and how many tasks run: as it is, and as it was told.
    state: (bool, u32),
    told: (bool, u32),
    /// Messages and bytes that were on their way and are in the link.
    went: (usize, usize),
    /// For the link.
    lines: Vec<u8>,
    /// A body that is being read for this message.
    reading: Option<Reading>,
}

impl Guest {
    pub(super) fn new(exchange: &Exchange, instance: InstanceId, adopted: bool) -> Self {
        let (peer, session) = (exchange.number(), exchange.session());
        let (out, heard) = mpsc::channel(super::exchange::way());
        let mut lines = vec![];
        if adopted {
            crate::envelope::put_sync(&mut lines, session);
        }
        Self {
            peer,
            session,
            tell: exchange.asks().clone(),
            heard,
            news: VecDeque::from([Ask::Visit { peer, instance, out }]),
            state: (false, 0),
            told: (false, 0),
            went: (0, 0),
            lines,
            reading: None,
        }
    }

    /// What the process said with a `$g`.
    ///
    /// # Errors
    /// It can't be meant: a sentence for its author, who is told too.
    pub fn hear(&mut self, line: &[u8]) -> Result<(), String> {
        let why = match wire::parse(line, self.session) {
            Ok(Heard::Said(said, None)) => {
                self.say(said);
                return Ok(());
            }
            Ok(Heard::Said(said, Some(_))) => self.bad_body(said),
            // Of bodies, which don't come here; or none of the broker's words.
            Ok(Heard::Opened(_) | Heard::Ready | Heard::Hello(_) | Heard::Other) => return Ok(()),
            Err(why) => why,
        };
        self.refuse(&why);
        Err(why)
    }

    /// The process sent a descriptor, which the owner of the link has not taken.
    pub fn refuse_descriptor(&mut self) -> String {
        self.refuse(ONLY_LINES);
        ONLY_LINES.to_owned()
    }

    /// Whether it may be asked by its pool's name, and how many tasks it runs: the least busy is asked first.
    pub const fn show(&mut self, ready: bool, running: u32) {
        self.state = (ready, running);
    }

    /// There is more to be told than was taken: read nothing more from the link meanwhile.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.news.is_empty() || self.lines.len() > LINES
    }

    /// Tells the exchange what is new, then gives lines for the link; `None` when the exchange is gone. Cancel safe.
    ///
    /// `room`: the link takes more. Without it no lines are given, and none when there was something to tell: the link may be read again.
    pub async fn next(&mut self, room: bool) -> Option<Vec<u8>> {
        loop {
            if self.has_news() {
                while self.has_news() {
                    let permit = self.tell.clone().reserve_owned().await.ok()?;
                    if let Some(news) = self.news() {
                        permit.send(news);
                    }
                }
                return Some(vec![]);
            }
            if !room {
                std::future::pending::<()>().await;
            }
            if !self.lines.is_empty() {
                return Some(std::mem::take(&mut self.lines));
            }
            if let Some((_, reading)) = &mut self.reading {
                let bytes = reading.await.ok().flatten();
                if let Some((message, _)) = self.reading.take() {
                    self.put_inline(*message, bytes);
                }
                continue;
            }
            let message = self.heard.recv().await?;
            self.take(message);
            while self.reading.is_none()
                && self.lines.len() < LINES
                && let Ok(message) = self.heard.try_recv()
            {
                self.take(message);
            }
            return Some(std::mem::take(&mut self.lines));
        }
    }

    fn has_news(&self) -> bool {
        !self.news.is_empty() || self.went.0 > 0 || self.state != self.told
    }

    /// The next of them. What went is told last: it asks for more.
    fn news(&mut self) -> Option<Ask> {
        let peer = self.peer;
        if let Some(news) = self.news.pop_front() {
            return Some(news);
        }
        let ((ready, running), (was_ready, was_running)) = (self.state, self.told);
        if ready != was_ready {
            self.told.0 = ready;
            return Some(Ask::Event(Event::Ready { peer, ready }));
        }
        if running != was_running {
            self.told.1 = running;
            return Some(Ask::Event(Event::Busy { peer, running }));
        }
        let (messages, bytes) = std::mem::take(&mut self.went);
        (messages > 0).then_some(Ask::Event(Event::Went { peer, messages, bytes }))
    }

    fn say(&mut self, said: Said<Fd>) {
        let peer = self.peer;
        self.news.push_back(Ask::Event(Event::Said { peer, said }));
    }

    fn refuse(&mut self, why: &str) {
        self.put(&ToPeer::Refused { why: why.to_owned() });
    }

    /// A request has an answer whatever it carries, and nobody waits for a response in vain.
    fn bad_body(&mut self, said: Said<Fd>) -> String {
        match said {
            Said::Request { id, .. } => {
                let answer = Answer::Ours(Code::TooLarge, ONLY_LINES.to_owned());
                self.put(&ToPeer::Response { id, answer });
            }
            Said::Response { number: Some(number), .. } => {
                self.say(Said::Undeliverable { number, why: ONLY_LINES.to_owned() });
            }
            _ => {}
        }
        ONLY_LINES.to_owned()
    }

    fn put(&mut self, message: &ToPeer<Fd>) {
        let now = std::time::Instant::now();
        self.lines.extend(wire::put(message, self.session, now, None));
        self.lines.push(b'\n');
    }

    fn take(&mut self, message: ToPeer<Fd>) {
        self.went = (self.went.0 + 1, self.went.1 + message.weight());
        match message.cargo().and_then(|cargo| cargo.attached.as_ref()) {
            None => self.put(&message),
            Some(Attached::Body { fd, size, is: BodyIs::Payload }) if *size <= INLINE_MAX => {
                let (fd, size) = (Fd::clone(fd), *size);
                let read = move || body::read(&fd, size).ok();
                self.reading = Some((Box::new(message), tokio::task::spawn_blocking(read)));
            }
            Some(_) => self.undeliverable(message),
        }
    }

    fn put_inline(&mut self, message: ToPeer<Fd>, bytes: Option<Vec<u8>>) {
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        match text.and_then(|text| wire::payload(&text).ok()) {
            Some(payload) => self.put(&message.with(Cargo::of(payload))),
            None => self.undeliverable(message),
        }
    }

    fn undeliverable(&mut self, message: ToPeer<Fd>) {
        let why = ONLY_LINES.to_owned();
        match message {
            ToPeer::Request { number, .. } => self.say(Said::Undeliverable { number, why }),
            ToPeer::Response { id, .. } => {
                self.put(&ToPeer::Response { id, answer: Answer::Ours(Code::TooLarge, why) });
            }
            ToPeer::Message { published, pattern } => {
                let Published { topic, .. } = &*published;
                let topic = pattern.unwrap_or_else(|| (&**topic).into());
                self.put(&ToPeer::Gap { topic, missed: 1 });
            }
            _ => {}
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Its last words count as far as there is room for them.
        for news in std::mem::take(&mut self.news) {
            drop(self.tell.try_send(news));
        }
        // Full: the next message to it finds nobody, and ends it.
        drop(self.tell.try_send(Ask::Event(Event::Leave { peer: self.peer })));
    }
}
