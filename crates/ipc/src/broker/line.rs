//! A service's channel: read, written and closed by one task.
//!
//! It is written only while the process reads ([`NodeChannel::is_full`]); until then what is to be said stays with the broker, which drops
//! or refuses by its own bounds. It is not read while the exchange has too much to do.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::body;
use super::exchange::{Ask, LineSign};
use super::types::{Answer, Attached, BodyIs, Cargo, Code, Event, PeerId, Said, ToPeer};
use super::wire::{self, Bodies, BodyIn, BodyOut, Heard};
use crate::node::channel::SharedFd;
use crate::node::{
    Event as FromChannel, HandleIn, HandleOut, HandleType, Kind, NodeChannel, SHUTDOWN,
};

/// A descriptor as the broker has it.
pub(super) type Fd = SharedFd;

/// Bodies lent by path and not yet opened. The process opens one as it comes to its message; more than this have not been looked at.
const LENT_MAX: usize = 64;

/// The largest payload that is put into a message for a process that takes no bodies.
pub(super) const INLINE_MAX: u64 = (crate::node::FRAME_MAX - (64 << 10)) as u64;

/// How long the last words of a process that is gone are waited for: its socket is closed, but for a descendant that has it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the holder of the process says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Ready(bool),
    /// It is to end, and asked so by a message.
    Ending,
    /// It has ended.
    Over,
}

/// What a line begins with.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) peer: PeerId,
    pub(super) session: u64,
    pub(super) pid: u32,
    pub(super) channel: NodeChannel,
    pub(super) tell: mpsc::Sender<Ask>,
    pub(super) out: mpsc::Receiver<ToPeer<Fd>>,
    pub(super) signs: mpsc::Sender<LineSign>,
    pub(super) shown: watch::Receiver<Shown>,
    /// Its process has ended: what it said last is read until then.
    pub(super) over: Option<Instant>,
    pub(super) bodies: Bodies,
    pub(super) lent: VecDeque<Fd>,
    /// Requests that went with a descriptor, by the channel's ticket.
    pub(super) tickets: VecDeque<(u64, u64)>,
}

enum Wake {
    Heard(crate::node::channel::Next),
    /// The socket takes more again.
    Room,
    Out(Option<ToPeer<Fd>>),
    Shown(bool),
}

impl Line {
    /// Until the channel's end, or until its holder lets go of it.
    pub(super) async fn run(mut self) {
        loop {
            let wake = match self.over {
                None => self.wait().await,
                Some(until) => match tokio::time::timeout_at(until, self.wait()).await {
                    Ok(wake) => wake,
                    Err(_) => break,
                },
            };
            match wake {
                Wake::Heard(Ok(Some(Ok(event)))) => self.on_event(event).await,
                Wake::Heard(Ok(Some(Err(refused)))) => self.refuse(refused.to_string()),
                Wake::Heard(Ok(None)) | Wake::Out(None) => break,
                Wake::Heard(Err(error)) => {
                    self.sign(LineSign::Broke(error.to_string()));
                    break;
                }
                Wake::Room => {}
                Wake::Out(Some(message)) => self.on_out(message).await,
                Wake::Shown(false) => break,
                Wake::Shown(true) => {
                    let shown = *self.shown.borrow_and_update();
                    match shown {
                        Shown::Ready(ready) => {
                            let peer = self.peer;
                            self.tell(Event::Ready { peer, ready }).await;
                        }
                        Shown::Ending => {
                            let peer = self.peer;
                            self.tell(Event::Ready { peer, ready: false }).await;
                            // Full, it has not read for long, and its deadline ends it.
                            let _unread = self.channel.send(SHUTDOWN.to_vec());
                        }
                        Shown::Over => self.over = Some(Instant::now() + LAST_WORDS),
                    }
                }
            }
        }
        let peer = self.peer;
        self.tell(Event::Leave { peer }).await;
    }

    async fn wait(&mut self) -> Wake {
        let Self { channel, out, shown, over, .. } = self;
        let full = channel.is_full();
        let heard = std::future::poll_fn(|cx| match channel.poll_next(cx) {
            Poll::Ready(next) => Poll::Ready(Wake::Heard(next)),
            Poll::Pending if full && !channel.is_full() => Poll::Ready(Wake::Room),
            Poll::Pending => Poll::Pending,
        });
        tokio::select! {
            biased;
            heard = heard => heard,
            changed = shown.changed(), if over.is_none() => Wake::Shown(changed.is_ok()),
            message = out.recv(), if !full => Wake::Out(message),
        }
    }

    async fn tell(&self, event: Event<Fd>) {
        // An exchange that is gone ends this task by its other end.
        drop(self.tell.send(Ask::Event(event)).await);
    }

    async fn say(&self, said: Said<Fd>) {
        let peer = self.peer;
        self.tell(Event::Said { peer, said }).await;
    }

    /// Full: the holder has enough to tell.
    fn sign(&self, sign: LineSign) {
        drop(self.signs.try_send(sign));
    }

    /// Told to the process and to its holder.
    fn refuse(&mut self, why: String) {
        self.send(&ToPeer::Refused { why: why.clone() }, None, None);
        self.sign(LineSign::Refused(why));
    }

    async fn on_event(&mut self, event: FromChannel<Fd>) {
        match event {
            FromChannel::Message { kind: Kind::User, body, handle } => {
                match wire::parse(&body, self.session) {
                    Ok(Heard::Said(said, body)) => self.on_said(said, body, handle).await,
                    Ok(Heard::Ready) => self.sign(LineSign::Ready),
                    Ok(Heard::Hello(bodies)) => self.bodies = bodies,
                    Ok(Heard::Opened(fd)) => {
                        self.lent.retain(|lent| i64::from(lent.as_raw_fd()) != i64::from(fd))
                    }
                    Ok(Heard::Other) => {}
                    Err(why) => self.refuse(why),
                }
            }
            FromChannel::Message { .. } => {}
            FromChannel::Delivered(ticket) => self.tickets.retain(|(of, _)| *of != ticket),
            FromChannel::Lost(ticket) => {
                let lost = self.tickets.iter().position(|(of, _)| *of == ticket);
                if let Some((_, number)) = lost.and_then(|at| self.tickets.remove(at)) {
                    let why =
                        "its process could not take the descriptor (RLIMIT_NOFILE?)".to_owned();
                    self.say(Said::Undeliverable { number, why }).await;
                }
            }
        }
    }

    async fn on_said(
        &mut self,
        mut said: Said<Fd>,
        body: Option<BodyIn>,
        handle: Option<HandleIn<Fd>>,
    ) {
        let attached = match (body, handle) {
            (None, None) => None,
            (None, Some(HandleIn { is: HandleType::Memfd, .. })) => {
                return self.refuse("a memfd came without `body`".to_owned());
            }
            (None, Some(HandleIn { is, fd, dgram, .. })) => {
                Some(Attached::Handle { is, fd, dgram })
            }
            (Some(body), handle) => match self.body(body, handle).await {
                Ok(fd) => Some(Attached::Body { fd, size: body.size, is: body.is }),
                Err(why) => return self.on_bad_body(said, why).await,
            },
        };
        let cargo = match &mut said {
            Said::Request { cargo, .. } | Said::Publish { cargo, .. } => Some(cargo),
            Said::Response { answer: Answer::Result(cargo), .. } => Some(cargo),
            _ => None,
        };
        match (cargo, attached) {
            (Some(cargo), attached) => cargo.attached = attached,
            (None, Some(_)) => {
                return self
                    .refuse("only request, response and publish carry descriptors".to_owned());
            }
            (None, None) => {}
        }
        self.say(said).await;
    }

    /// A request must have an answer, and a responder must not be waited for in vain.
    async fn on_bad_body(&mut self, said: Said<Fd>, why: String) {
        match said {
            Said::Request { id, .. } => {
                let answer = Answer::Ours(Code::TooLarge, why);
                self.send(&ToPeer::Response { id, answer }, None, None);
            }
            Said::Response { number: Some(number), .. } => {
                self.say(Said::Undeliverable { number, why: why.clone() }).await;
                self.refuse(why);
            }
            _ => self.refuse(why),
        }
    }

    async fn body(&mut self, said: BodyIn, handle: Option<HandleIn<Fd>>) -> Result<Fd, String> {
        let BodyIn { size, fd, .. } = said;
        match (fd, handle) {
            (None, Some(HandleIn { is: HandleType::Memfd, fd, .. })) => {
                body::check(&*fd, size).map(|()| fd).map_err(|error| error.to_string())
            }
            (Some(fd), None) => {
                let pid = self.pid;
                let copied =
                    tokio::task::spawn_blocking(move || body::copy_of(pid, fd, size)).await;
                // Whatever came of it, its owner may close it now.
                let _ = self.channel.send(wire::put_copied(fd));
                match copied {
                    Ok(Ok(copy)) => Ok(Arc::new(copy)),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(error) => Err(format!("the body was not copied: {error}")),
                }
            }
            _ => Err("a `body` comes with its memfd, or names the sender's `fd`".to_owned()),
        }
    }

    async fn on_out(&mut self, message: ToPeer<Fd>) {
        let (mut messages, mut bytes) = (0, 0);
        let mut next = Some(message);
        while let Some(message) = next {
            messages += 1;
            bytes += message.weight();
            if let Err(why) = self.put(&message).await
                && let ToPeer::Request { number, .. } = message
            {
                self.say(Said::Undeliverable { number, why }).await;
            }
            // The others that wait, for one word about all of them.
            next = if self.channel.is_full() { None } else { self.out.try_recv().ok() };
        }
        let peer = self.peer;
        self.tell(Event::Went { peer, messages, bytes }).await;
    }

    /// Queues a message in the form that the process takes.
    async fn put(&mut self, message: &ToPeer<Fd>) -> Result<(), String> {
        match message.cargo().and_then(|cargo| cargo.attached.as_ref()) {
            None => self.send(message, None, None),
            Some(Attached::Handle { is, fd, dgram }) => {
                let dgram = dgram.clone();
                let handle = HandleOut { dgram, ..HandleOut::new(*is, Arc::clone(fd)) };
                self.send(message, None, Some(handle));
            }
            Some(Attached::Body { fd, size, is }) => {
                let (fd, out) = (Arc::clone(fd), BodyOut { size: *size, is: *is, path: None });
                match self.bodies {
                    Bodies::Fd => {
                        let handle = HandleOut::new(HandleType::Memfd, fd);
                        self.send(message, Some(&out), Some(handle));
                    }
                    Bodies::Path => {
                        let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
                        self.lend(fd);
                        self.send(message, Some(&BodyOut { path: Some(path), ..out }), None);
                    }
                    Bodies::None => return self.inline(message, fd, out).await,
                }
            }
        }
        Ok(())
    }

    fn lend(&mut self, fd: Fd) {
        if self.lent.len() >= LENT_MAX {
            self.lent.pop_front();
        }
        self.lent.push_back(fd);
    }

    /// For a process that said nothing of bodies.
    async fn inline(&mut self, message: &ToPeer<Fd>, fd: Fd, body: BodyOut) -> Result<(), String> {
        if body.is == BodyIs::Bytes || body.size > INLINE_MAX {
            let what = "it was sent more than a message can carry, and its hello does not say that it takes bodies";
            return Err(what.to_owned());
        }
        let read = move || body::read(&fd, body.size);
        let text = match tokio::task::spawn_blocking(read).await {
            Ok(Ok(bytes)) => String::from_utf8(bytes).ok(),
            _ => None,
        };
        let payload = text.and_then(|text| wire::payload(&text).ok());
        let payload = payload.ok_or("the body that was to be its payload is no JSON")?;
        let whole = Cargo { payload: Some(payload), attached: None };
        self.send(&message.clone().with(whole), None, None);
        Ok(())
    }

    fn send(
        &mut self,
        message: &ToPeer<Fd>,
        body: Option<&BodyOut>,
        handle: Option<HandleOut<Fd>>,
    ) {
        let text = wire::put(message, self.session, Instant::now().into_std(), body);
        let sent = match handle {
            None => self.channel.send(text).map(|()| None),
            Some(handle) => self.channel.send_handle(&text, handle).map(Some),
        };
        match (sent, message) {
            (Ok(Some(ticket)), ToPeer::Request { number, .. }) => {
                self.tickets.push_back((ticket, *number));
            }
            (Ok(_), _) => {}
            // It has not acknowledged thousands of messages: it is stuck, and its requests end by their deadlines.
            (Err(error), _) => self.sign(LineSign::Refused(error.to_string())),
        }
    }
}

/// Opens a channel. Must be called inside a tokio runtime.
pub(super) fn open(fd: OwnedFd) -> Result<NodeChannel, crate::node::NodeChannelError> {
    NodeChannel::from_socket(fd)
}
