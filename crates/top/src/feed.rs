//! Asking the daemon: a look each second, the log that is shown, actions. Each is a task that reports to the session and ends with it.

use std::time::Duration;

use ganger_api::client::LogQuery;
use ganger_api::{ApiError, Client, ClientOptions, ErrorKind, VerbAnswer};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::model::{Action, Data, Update, Verb};

/// Between two looks: as often as the monitor looks.
const PACE: Duration = Duration::from_secs(1);
/// So long a look may take before the daemon is said to be away.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lines of a log that were there before.
const TAIL: u64 = 200;

/// What tasks report, with the number of the stream where it is of a log.
pub(crate) type Report = (Option<u64>, Update);

/// A client that says soon that nobody answers: somebody looks at the screen.
pub(crate) fn impatient(client: &Client) -> Client {
    let options = ClientOptions {
        restart_patience: Duration::ZERO,
        timeout: PATIENCE,
        ..ClientOptions::default()
    };
    client.clone().with_options(options)
}

/// Looks each second until nobody listens.
pub(crate) async fn looks(client: Client, to: mpsc::Sender<Report>) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let update = match look(&client).await {
            Ok(data) => Update::Fresh(Box::new(data)),
            Err(error) => Update::Away(told(&error)),
        };
        if to.send((None, update)).await.is_err() {
            return;
        }
    }
}

async fn look(client: &Client) -> Result<Data, ApiError> {
    let all = tokio::join!(client.instances(), client.queues(), client.costs());
    let (instances, queues, costs) = all;
    Ok(Data {
        instances: instances?.instances,
        queues: there(queues)?.map(|all| all.queues),
        costs: there(costs)?,
    })
}

/// What a daemon that does answer can't tell now is left out; so is what an older one doesn't know.
fn there<T>(answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::Timeout) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Follows a log: what was said last, then what is said.
pub(crate) async fn log(client: Client, of: String, stream: u64, to: mpsc::Sender<Report>) {
    let query = LogQuery { follow: true, tail: Some(TAIL), ..LogQuery::default() };
    let why = match client.logs(&of, &query).await {
        Err(error) => told(&error),
        Ok(mut lines) => {
            if to.send((Some(stream), Update::LogBegins)).await.is_err() {
                return;
            }
            loop {
                match lines.next().await {
                    Ok(Some(line)) => {
                        if to.send((Some(stream), Update::Line(line))).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => break "it ended; tried again".to_owned(),
                    Err(error) => break error.to_string(),
                }
            }
        }
    };
    // Nobody listens any more: then nobody needs it.
    drop(to.send((Some(stream), Update::LogBroke(why))).await);
}

/// Does what was confirmed, and says what became of it.
pub(crate) async fn act(client: Client, action: Action, to: mpsc::Sender<Report>) {
    let done = match done(&client, &action).await {
        Ok(answer) => Ok(words(&action, &answer)),
        Err(error) => Err(format!("{action}: {}", told(&error))),
    };
    drop(to.send((None, Update::Done(done))).await);
}

async fn done(client: &Client, action: &Action) -> Result<VerbAnswer, ApiError> {
    let target = &action.target;
    match action.verb {
        Verb::Start => client.start(target).await,
        Verb::Stop => client.stop(target).await,
        Verb::Restart => client.restart(target).await,
        Verb::Pause => client.pause(target).await,
        Verb::Resume => client.resume(target).await,
        Verb::Scale { from, to } => {
            // What was confirmed was a change from one number to another, not whatever it has become since.
            let now = client.service(target).await?.replicas;
            if now != from {
                let why = format!("{target} shall have {now} processes now, not {from}");
                return Err(ApiError::new(ErrorKind::Conflict, why).hint("ask again"));
            }
            client.scale(target, to).await
        }
    }
}

fn words(action: &Action, answer: &VerbAnswer) -> String {
    let notes = answer.notes.iter().map(|note| format!("; {note}"));
    format!("done: {action}{}", notes.collect::<String>())
}

fn told(error: &ApiError) -> String {
    error.chain.iter().fold(error.message.clone(), |text, cause| format!("{text}: {cause}"))
}
