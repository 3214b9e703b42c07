//! The loop: waits for keys, reports and signals; draws.
//!
//! ```text
//! key ──▶ drawn at once          report ──▶ drawn within a twentieth of a second, however many there are
//! the selected line changed ──a moment──▶ its log is followed, the one before no longer
//! SIGCONT ──▶ the terminal is taken again      SIGTERM, SIGHUP, SIGINT, SIGQUIT ──▶ given back, end
//! ```

use std::io;
use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyEventKind};
use futures_util::StreamExt;
use ganger_api::{Client, Timestamp};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use crate::feed::{self, Report};
use crate::model::{Ask, Model, Update};
use crate::screen::Screen;
use crate::view::Look;

/// Reports that wait: what a busy log says while a screen is drawn.
const REPORTS: usize = 1_024;
/// Between two drawings of what nobody pressed a key for.
const FRAME: Duration = Duration::from_millis(50);
/// So long a line is selected before its log is asked for: going through lines asks for none.
const STILL: Duration = Duration::from_millis(150);
/// SIGCONT of signal(7), the same on all Linux machines.
const SIGCONT: i32 = 18;

/// How it looks.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Colours; without them words, weight and reversal tell the same.
    pub colour: bool,
}

/// Why there is no screen.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// The terminal is not one, or is gone.
    #[error("the terminal can't be used: {0}")]
    Terminal(#[source] io::Error),
    /// No signal can be waited for.
    #[error("signals can't be waited for: {0}")]
    Signals(#[source] io::Error),
}

/// Shows the screen until somebody ends it. `Some(n)`: signal `n` did. The terminal is as before when this returns or panics.
/// Not cancel safe: dropped, the terminal is given back, but actions under way are only cut off.
///
/// # Errors
/// [`TopError`]. That the daemon is away is shown, and no error.
pub async fn run(client: &Client, options: Options) -> Result<Option<i32>, TopError> {
    let mut signals = Signals::new().map_err(TopError::Signals)?;
    let screen = Screen::take(Look { colour: options.colour }).map_err(TopError::Terminal)?;
    let mut session = Session::new(client, screen);
    session.run(&mut signals).await.map_err(TopError::Terminal)
}

struct Session {
    client: Client,
    /// For actions, which may take long.
    patient: Client,
    screen: Screen,
    model: Model,
    tasks: JoinSet<()>,
    tell: mpsc::Sender<Report>,
    reports: mpsc::Receiver<Report>,
    /// The log that is followed: whose, and who does it.
    log: Option<(String, AbortHandle)>,
    /// Number of its stream; reports of others are late.
    stream: u64,
    /// When the log that the model wants is asked for.
    log_due: Option<Instant>,
    draw_due: Option<Instant>,
}

impl Session {
    fn new(client: &Client, screen: Screen) -> Self {
        let (tell, reports) = mpsc::channel(REPORTS);
        Self {
            client: feed::impatient(client),
            patient: client.clone(),
            screen,
            model: Model::default(),
            tasks: JoinSet::new(),
            tell,
            reports,
            log: None,
            stream: 0,
            log_due: None,
            draw_due: Some(Instant::now()),
        }
    }

    async fn run(&mut self, signals: &mut Signals) -> io::Result<Option<i32>> {
        self.tasks.spawn(feed::looks(self.client.clone(), self.tell.clone()));
        let mut keys = EventStream::new();
        // Ages go on while nothing is heard.
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = keys.next() => match event {
                    Some(event) => if self.event(event?)? {
                        return Ok(None);
                    },
                    None => return Ok(None),
                },
                ended = signals.next() => match ended {
                    Some(number) => return Ok(Some(number)),
                    None => {
                        self.screen.renew()?;
                        self.draw()?;
                    }
                },
                Some(report) = self.reports.recv() => self.heard(report),
                _ = clock.tick() => self.soon(),
                () = due(self.log_due), if self.log_due.is_some() => self.follow(),
                () = due(self.draw_due), if self.draw_due.is_some() => self.draw()?,
                Some(_ended) = self.tasks.join_next() => {}
            }
        }
    }

    /// True: the end.
    fn event(&mut self, event: Event) -> io::Result<bool> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                self.model.at(Timestamp::now().0);
                match self.model.key(key) {
                    Some(Ask::Quit) => return Ok(true),
                    Some(Ask::Redraw) => self.screen.clear()?,
                    Some(Ask::Act(action)) => {
                        self.tasks.spawn(feed::act(
                            self.patient.clone(),
                            action,
                            self.tell.clone(),
                        ));
                    }
                    None => {}
                }
                self.wanted();
                self.draw()?;
            }
            Event::Resize(..) => self.draw()?,
            _ => {}
        }
        Ok(false)
    }

    fn heard(&mut self, (stream, update): Report) {
        if stream.is_some_and(|stream| stream != self.stream) {
            return;
        }
        self.model.at(Timestamp::now().0);
        // The daemon answers again: its log is asked for anew.
        let anew = matches!(update, Update::Fresh(_)) && self.model.log.broken.is_some();
        if let Some((_, broken)) = self.log.take_if(|_| anew) {
            broken.abort();
        }
        self.model.update(update);
        self.wanted();
        self.soon();
    }

    /// The model may want another log than is followed.
    fn wanted(&mut self) {
        let followed = self.log.as_ref().map(|(of, _)| of);
        if self.model.log_target().as_ref() == followed {
            self.log_due = None;
        } else if self.log_due.is_none() {
            self.log_due = Some(Instant::now() + STILL);
        }
    }

    fn follow(&mut self) {
        self.log_due = None;
        if let Some((_, before)) = self.log.take() {
            before.abort();
        }
        self.stream += 1;
        if let Some(of) = self.model.log_target() {
            let task = feed::log(self.client.clone(), of.clone(), self.stream, self.tell.clone());
            self.log = Some((of, self.tasks.spawn(task)));
        }
    }

    fn soon(&mut self) {
        self.draw_due.get_or_insert_with(|| Instant::now() + FRAME);
    }

    fn draw(&mut self) -> io::Result<()> {
        self.draw_due = None;
        self.model.at(Timestamp::now().0);
        self.screen.show(&mut self.model)
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Signals that end it, and the one that says it goes on.
struct Signals {
    ending: [(i32, Signal); 4],
    on: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let of = |kind: SignalKind| Ok::<_, io::Error>((kind.as_raw_value(), signal(kind)?));
        let ending = [
            of(SignalKind::terminate())?,
            of(SignalKind::hangup())?,
            of(SignalKind::interrupt())?,
            of(SignalKind::quit())?,
        ];
        Ok(Self { ending, on: signal(SignalKind::from_raw(SIGCONT))? })
    }

    /// `Some`: this one ends it. `None`: it goes on after a stop. Cancel safe.
    async fn next(&mut self) -> Option<i32> {
        let [(a, first), (b, second), (c, third), (d, fourth)] = &mut self.ending;
        tokio::select! {
            _ = first.recv() => Some(*a),
            _ = second.recv() => Some(*b),
            _ = third.recv() => Some(*c),
            _ = fourth.recv() => Some(*d),
            _ = self.on.recv() => None,
        }
    }
}
