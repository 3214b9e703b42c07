//! Permits for restarts: who wants to start an instance again after a failure asks first.
//!
//! An [`Ask`] goes to the instance's holder, who may keep it while a group restarts, and from there to the daemon's one
//! [budget](crate::budget). Dropping the reply's receiver takes the wish back; a holder or budget that is gone permits
//! everything, so that a fault here never keeps a service down.

use ganger_core::{InstanceId, Priority};
use tokio::sync::{mpsc, oneshot};

/// Wishes in flight to one receiver: instances wait for their answer anyway, so a full channel only makes them wait earlier.
const ASKS: usize = 1_024;

/// One wish for a restart.
#[derive(Debug)]
pub struct Ask {
    /// Who.
    pub id: InstanceId,
    /// Larger goes first.
    pub priority: Priority,
    /// How many failures it has had in all: tells its crashes apart.
    pub crashes: u64,
    /// The last of them opened its breaker.
    pub gave_up: bool,
    /// The answer.
    pub reply: oneshot::Sender<()>,
}

impl Ask {
    /// Nobody waits for the answer any more.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.reply.is_closed()
    }

    /// Gives the permit; false when nobody waits for it any more.
    pub fn permit(self) -> bool {
        self.reply.send(()).is_ok()
    }
}

/// Where wishes go. The default permits everything at once.
#[derive(Debug, Clone, Default)]
pub struct Permits(Option<mpsc::Sender<Ask>>);

impl Permits {
    /// A way to whoever reads the other end.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Ask>) {
        let (sender, receiver) = mpsc::channel(ASKS);
        (Self(Some(sender)), receiver)
    }

    /// Nobody is asked.
    #[must_use]
    pub const fn is_free(&self) -> bool {
        self.0.is_none()
    }

    /// Passes a wish on. With nobody to ask it is granted.
    pub async fn pass(&self, ask: Ask) {
        let back = match &self.0 {
            Some(sender) => sender.send(ask).await.err().map(|error| error.0),
            None => Some(ask),
        };
        if let Some(ask) = back {
            ask.permit();
        }
    }

    /// Asks and waits for the permit. Dropping the future takes the wish back.
    pub(crate) async fn ask(self, id: InstanceId, priority: Priority, crashes: u64, gave_up: bool) {
        let (reply, answer) = oneshot::channel();
        self.pass(Ask { id, priority, crashes, gave_up, reply }).await;
        // A dropped wish is a permit: whoever kept it is gone.
        let _gone = answer.await;
    }
}
