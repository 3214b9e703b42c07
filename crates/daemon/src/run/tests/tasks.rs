//! Tasks over HTTP, up to the queue: workers have their own tests.

use bytes::Bytes;
use ganger_api::{ErrorKind, NewTask, TaskQuery};
use ganger_core::{Priority, TaskState};
use serde_json::value::RawValue;

use super::*;

const QUEUES: &str =
    "[queue.q]\nmax_payload = \"1K\"\n[queue.mem]\ndurability = \"memory\"\nmax_length = 3\n";

fn task(payload: &str) -> NewTask {
    NewTask { payload: Some(RawValue::from_string(payload.into()).unwrap()), ..NewTask::default() }
}

async fn daemon(folder: &Folder) -> Daemon {
    let daemon = folder.daemon().await;
    daemon.client.apply(&folder.request()).await.unwrap();
    daemon
}

#[tokio::test]
async fn pushed_tasks_are_there_as_they_were_pushed() {
    let folder = Folder::new(QUEUES);
    let daemon = daemon(&folder).await;
    let special =
        NewTask { kind: "k".into(), priority: Some(Priority(200)), ..task("{\"a\": 1.0}") };
    let later = NewTask { delay: Some("1h".parse().unwrap()), ..task("null") };
    let ids = daemon.client.push("q", &[special, later]).await.unwrap().ids;
    let seen = daemon.client.task(ids[0]).await.unwrap();
    assert_eq!(
        (seen.kind.as_str(), seen.state, seen.priority),
        ("k", TaskState::Available, Priority(200))
    );
    assert_eq!(seen.payload.get(), "{\"a\": 1.0}");
    assert_eq!(daemon.client.task(ids[1]).await.unwrap().state, TaskState::Scheduled);
    let queue = daemon.client.queue("q").await.unwrap();
    assert_eq!((queue.counts.available, queue.counts.scheduled), (1, 1));
    daemon.lose().await;
    let next = folder.daemon().await;
    assert_eq!(next.client.queue("q").await.unwrap().counts.open(), 2);
}

#[tokio::test]
async fn bad_pushes_are_refused_as_a_whole_and_say_where() {
    let folder = Folder::new(QUEUES);
    let daemon = daemon(&folder).await;
    let lines = Bytes::from_static(b"{\"payload\":1}\n{\"payload\":}\n");
    let error = daemon.client.push_lines("q", lines).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    assert!(error.message.starts_with("line 2 is not a task"), "{}", error.message);
    let large = task(&format!("\"{}\"", "x".repeat(2_000)));
    let error = daemon.client.push("q", &[task("1"), large]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    assert!(error.message.contains("2002 bytes"), "{}", error.message);
    assert_eq!(daemon.client.push("q", &[]).await.unwrap_err().kind, ErrorKind::Usage);
    assert_eq!(
        daemon.client.push("nope", &[task("1")]).await.unwrap_err().kind,
        ErrorKind::NotFound
    );
    assert_eq!(daemon.client.queue("q").await.unwrap().counts.open(), 0);
    let four = [task("1"), task("2"), task("3"), task("4")];
    assert_eq!(daemon.client.push("mem", &four).await.unwrap_err().kind, ErrorKind::Full);
}

#[tokio::test]
async fn the_same_key_is_the_same_task() {
    let folder = Folder::new(QUEUES);
    let daemon = daemon(&folder).await;
    let keyed = NewTask { key: Some("order-7".into()), ..task("7") };
    let first = daemon.client.push("q", &[keyed.clone(), task("8")]).await.unwrap().ids;
    let again = daemon.client.push("q", &[keyed, task("9")]).await.unwrap().ids;
    assert_eq!(first[0], again[0]);
    assert_ne!(first[1], again[1]);
    assert_eq!(daemon.client.queue("q").await.unwrap().counts.open(), 3);
}

#[tokio::test]
async fn tasks_are_cancelled_retried_and_listed() {
    let folder = Folder::new(QUEUES);
    let daemon = daemon(&folder).await;
    let id = daemon.client.push("q", &[task("1")]).await.unwrap().ids[0];
    daemon.client.cancel(id).await.unwrap();
    assert_eq!(daemon.client.cancel(id).await.unwrap_err().kind, ErrorKind::Conflict);
    let query = TaskQuery { state: Some(TaskState::Cancelled), ..TaskQuery::default() };
    let page = daemon.client.tasks(&query).await.unwrap();
    assert_eq!(page.tasks.iter().map(|t| t.id).collect::<Vec<_>>(), [id]);
    daemon.client.retry(id).await.unwrap();
    assert_eq!(daemon.client.task(id).await.unwrap().state, TaskState::Available);
    let nobody = ganger_core::TaskId::from_raw(1).unwrap();
    assert_eq!(daemon.client.task(nobody).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_queue_is_empty_when_its_last_task_has_ended() {
    let folder = Folder::new(QUEUES);
    let daemon = daemon(&folder).await;
    let id = daemon.client.push("q", &[task("1")]).await.unwrap().ids[0];
    let request = WaitRequest {
        conditions: vec![
            "queue:q=empty".parse().unwrap(),
            format!("task:{id}=done").parse().unwrap(),
        ],
        timeout_s: Some(Duration::from_secs(10).into()),
    };
    let (waited, cancelled) = tokio::join!(daemon.client.wait(&request), async {
        let early =
            WaitRequest { timeout_s: Some(Duration::from_millis(20).into()), ..request.clone() };
        let early = daemon.client.wait(&early).await.unwrap_err();
        assert_eq!(early.kind, ErrorKind::Timeout);
        daemon.client.cancel(id).await
    });
    cancelled.unwrap();
    assert_eq!(waited.unwrap().met.len(), 2);
}

#[tokio::test]
async fn the_stream_takes_tasks_and_gives_results() {
    let folder = Folder::new(QUEUES);
    let daemon = daemon(&folder).await;
    for queue in ["q", "mem"] {
        let (sink, mut results) = daemon.client.stream(queue).await.unwrap();
        // A line may come in pieces.
        sink.push_lines(Bytes::from_static(b"{\"payl")).await.unwrap();
        sink.push_lines(Bytes::from_static(b"oad\":1}\n\n{\"payload\":2}")).await.unwrap();
        drop(sink);
        let query = TaskQuery { queue: Some(queue.into()), ..TaskQuery::default() };
        let cancel = async {
            loop {
                let page = daemon.client.tasks(&query).await.unwrap();
                if page.tasks.len() == 2 {
                    for task in page.tasks {
                        daemon.client.cancel(task.id).await.unwrap();
                    }
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let read = async {
            let mut seen = 0;
            while let Some(result) = results.next().await.unwrap() {
                assert_eq!(result.state, TaskState::Cancelled);
                seen += 1;
            }
            seen
        };
        let (seen, ()) =
            tokio::time::timeout(HANGS, async { tokio::join!(read, cancel) }).await.unwrap();
        assert_eq!(seen, 2, "{queue}");
    }
}

#[tokio::test]
async fn a_wrong_line_in_the_stream_is_told_in_the_stream() {
    let folder = Folder::new(QUEUES);
    let daemon = daemon(&folder).await;
    let (sink, mut results) = daemon.client.stream("q").await.unwrap();
    sink.push_lines(Bytes::from_static(b"nonsense\n")).await.unwrap();
    let error = tokio::time::timeout(HANGS, results.next()).await.unwrap().unwrap_err();
    assert!(error.to_string().starts_with("line 1 is not a task"), "{error}");
    let missing = daemon.client.stream("nope").await.unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound);
}
