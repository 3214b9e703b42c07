//! The task of one watched service.

use std::future::pending;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::Watch;
use super::filter::Filter;
use super::gate::{Fire, Gate};
use super::tree::{Tree, no_instance};

/// What a watched service's task says.
#[derive(Debug)]
pub(crate) enum Saw {
    /// It watches so many folders from now on.
    Watching { folders: usize },
    /// Files have changed. `over` is dropped, or told, when the restart that follows is over.
    Changed { fire: Fire, over: oneshot::Sender<()> },
    /// Not everything is watched: why, and what to do.
    Trouble(String),
}

/// Watches until it is dropped, or nobody listens any more, or nothing can be watched.
pub(crate) async fn watch(
    name: String,
    watch: Arc<Watch>,
    state_dir: Option<PathBuf>,
    say: mpsc::Sender<(String, Saw)>,
) {
    let said = |saw| say.send((name.clone(), saw));
    match begin(&watch, state_dir.as_deref()) {
        // The owner is gone, or has been told why nothing is watched.
        Err(why) => drop(said(Saw::Trouble(why)).await),
        Ok((tree, fd)) => {
            let gate = Gate::new(watch.debounce);
            let why = Watcher { tree: Some(tree), fd, gate, over: None, name: &name, say: &say };
            if let Err(why) = why.run().await {
                drop(said(Saw::Trouble(why)).await);
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's can't"
)]
fn begin(watch: &Watch, state_dir: Option<&Path>) -> Result<(Tree, AsyncFd<Arc<OwnedFd>>), String> {
    let filter = Filter::new(watch, state_dir).map_err(|error| error.to_string())?;
    let tree = Tree::new(filter).map_err(|error| no_instance(&error))?;
    let fd = AsyncFd::with_interest(tree.fd(), Interest::READABLE);
    let fd = fd.map_err(|error| format!("nothing is watched: {error}"))?;
    Ok((tree, fd))
}

struct Watcher<'a> {
    /// Away while it looks at folders.
    tree: Option<Tree>,
    fd: AsyncFd<Arc<OwnedFd>>,
    gate: Gate,
    /// The restart that is under way.
    over: Option<oneshot::Receiver<()>>,
    name: &'a str,
    say: &'a mpsc::Sender<(String, Saw)>,
}

impl Watcher<'_> {
    async fn run(mut self) -> Result<(), String> {
        let folders = self.slowly(|tree| (tree.plant(), tree.folders()).1).await?;
        self.tell(Saw::Watching { folders }).await?;
        self.tell_trouble().await?;
        loop {
            let due = self.gate.due();
            tokio::select! {
                () = at(due) => {
                    if let Some(fire) = self.gate.fire(Instant::now()) {
                        let (over, wait) = oneshot::channel();
                        self.over = Some(wait);
                        self.tell(Saw::Changed { fire, over }).await?;
                    }
                }
                () = end_of(&mut self.over) => {
                    self.over = None;
                    self.gate.done();
                }
                ready = self.fd.readable() => {
                    let mut ready = ready.map_err(|error| error.to_string())?;
                    let tree = self.tree.as_mut().ok_or("the watches are lost")?;
                    let batch = tree.read().map_err(|error| format!("inotify: {error}"))?;
                    if batch.drained {
                        ready.clear_ready();
                    }
                    drop(ready);
                    let now = Instant::now();
                    let found = match batch.is_slow() {
                        true => self.slowly(|tree| tree.absorb(batch)).await?,
                        false => tree.absorb(batch),
                    };
                    for path in found {
                        self.gate.changed(path, now);
                    }
                    self.tell_trouble().await?;
                }
            }
        }
    }

    /// Looks at folders where that holds up nobody else.
    async fn slowly<T: Send + 'static>(
        &mut self,
        look: impl FnOnce(&mut Tree) -> T + Send + 'static,
    ) -> Result<T, String> {
        let mut tree = self.tree.take().ok_or("the watches are lost")?;
        let looked = spawn_blocking(move || (look(&mut tree), tree)).await;
        let (result, tree) = looked.map_err(|error| format!("looking at folders: {error}"))?;
        self.tree = Some(tree);
        Ok(result)
    }

    async fn tell_trouble(&mut self) -> Result<(), String> {
        match self.tree.as_mut().and_then(Tree::trouble) {
            Some(why) => self.tell(Saw::Trouble(why)).await,
            None => Ok(()),
        }
    }

    async fn tell(&self, saw: Saw) -> Result<(), String> {
        let sent = self.say.send((self.name.to_owned(), saw)).await;
        sent.map_err(|_| "nobody listens".to_owned())
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

/// The end of the restart under way. Its owner's silence is an end too.
async fn end_of(over: &mut Option<oneshot::Receiver<()>>) {
    match over {
        Some(over) => drop(over.await),
        None => pending().await,
    }
}
