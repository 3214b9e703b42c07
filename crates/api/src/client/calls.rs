//! One method per route.

mod alerts;

use bytes::Bytes;
use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connection::{Call, fresh_key, parse};
use super::sse::Sse;
use super::{Client, Connection};
use crate::{
    AllStats, ApiError, Applied, ApplyRequest, CallAnswer, CallRequest, Costs, DeadDone, DeadEdit,
    DeadPage, DeadQuery, DeadRequest, ErrorKind, EventLine, IncidentChange, Instances, LogLine,
    NDJSON, NewTask, NextFires, NextQuery, OnError, PriorityRequest, PublishRequest, PushQuery,
    Pushed, Queue, Queues, Reached, RunAnswer, ScaleRequest, Schedule, Schedules, Service, Stats,
    StatsQuery, Status, SubscribeQuery, Task, TaskExport, TaskLogQuery, TaskPage, TaskQuery,
    TaskWord, TopicLine, UpgradeReport, UpgradeRequest, UpgradeStarted, VerbAnswer, WaitRequest,
    Waited, Why,
};
use ganger_core::{Priority, TaskId};

const JSON: &str = "application/json";

/// Which log lines.
#[derive(Debug, Clone, Default, Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogQuery {
    /// Go on with what comes.
    #[serde(skip_serializing_if = "is_false")]
    pub follow: bool,
    /// Only the last so many lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<u64>,
    /// RFC 3339, or a duration back from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// A regular expression that lines must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grep: Option<String>,
}

/// Which events.
#[derive(Debug, Clone, Default, Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventQuery {
    /// Go on with what comes.
    #[serde(skip_serializing_if = "is_false")]
    pub follow: bool,
    /// Only those above this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only the last so many of those there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_false(b: &bool) -> bool {
    !b
}

impl Client {
    /// `GET /status`.
    pub async fn status(&self) -> Result<Status, ApiError> {
        self.get("/status".into()).await
    }

    /// `GET /instances`.
    pub async fn instances(&self) -> Result<Instances, ApiError> {
        self.get("/instances".into()).await
    }

    /// `GET /services/{name}`: a service or a pool.
    pub async fn service(&self, name: &str) -> Result<Service, ApiError> {
        self.get(format!("/services/{}", escape(name))).await
    }

    /// `GET /queues`.
    pub async fn queues(&self) -> Result<Queues, ApiError> {
        self.get("/queues".into()).await
    }

    /// `GET /queues/{name}`.
    pub async fn queue(&self, name: &str) -> Result<Queue, ApiError> {
        self.get(format!("/queues/{}", escape(name))).await
    }

    /// `GET /stats`: every object, and the machine.
    pub async fn all_stats(&self, query: &StatsQuery) -> Result<AllStats, ApiError> {
        self.get(format!("/stats{}", query_text(query)?)).await
    }

    /// `GET /stats/{name}`.
    pub async fn stats(&self, name: &str, query: &StatsQuery) -> Result<Stats, ApiError> {
        self.get(format!("/stats/{}{}", escape(name), query_text(query)?)).await
    }

    /// `GET /costs`: what everything costs now.
    pub async fn costs(&self) -> Result<Costs, ApiError> {
        self.get("/costs".into()).await
    }

    /// `GET /schedules`.
    pub async fn schedules(&self) -> Result<Schedules, ApiError> {
        self.get("/schedules".into()).await
    }

    /// `GET /schedules/{name}`: with its newest fires.
    pub async fn schedule(&self, name: &str) -> Result<Schedule, ApiError> {
        self.get(format!("/schedules/{}", escape(name))).await
    }

    /// `GET /schedules/{name}/next`: fires to come.
    pub async fn next_fires(&self, name: &str, n: u32) -> Result<NextFires, ApiError> {
        let query = query_text(&NextQuery { n: Some(n) })?;
        self.get(format!("/schedules/{}/next{query}", escape(name))).await
    }

    /// `POST /schedules/{name}/run`: a fire by hand. Returns when it is stored.
    pub async fn run_schedule(&self, name: &str) -> Result<RunAnswer, ApiError> {
        self.verb(format!("/schedules/{}/run", escape(name)), &(), false).await
    }

    /// `POST /schedules/{name}/pause`.
    pub async fn pause_schedule(&self, name: &str) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/schedules/{}/pause", escape(name)), &(), true).await
    }

    /// `POST /schedules/{name}/resume`.
    pub async fn resume_schedule(&self, name: &str) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/schedules/{}/resume", escape(name)), &(), true).await
    }

    /// `POST /incidents/{id}`: what was done about it.
    pub async fn change_incident(
        &self,
        id: &str,
        change: &IncidentChange,
    ) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/incidents/{}", escape(id)), change, true).await
    }

    /// `GET /tasks/{id}`.
    pub async fn task(&self, id: TaskId) -> Result<Task, ApiError> {
        self.get(format!("/tasks/{id}")).await
    }

    /// `GET /tasks`.
    pub async fn tasks(&self, query: &TaskQuery) -> Result<TaskPage, ApiError> {
        self.get(format!("/tasks{}", query_text(query)?)).await
    }

    /// `GET /tasks/export`: a page of whole tasks.
    pub async fn export(&self, query: &TaskQuery) -> Result<TaskExport, ApiError> {
        self.get(format!("/tasks/export{}", query_text(query)?)).await
    }

    /// `GET /metrics`: Prometheus text.
    pub async fn metrics(&self) -> Result<String, ApiError> {
        let call = self.read("/metrics".into());
        let bytes = self.call_bytes(&call).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// `POST /apply`.
    pub async fn apply(&self, request: &ApplyRequest) -> Result<Applied, ApiError> {
        self.verb("/apply".into(), request, true).await
    }

    /// `POST /down`: stops everything, then ganger itself. Returns when the children are gone.
    pub async fn down(&self) -> Result<VerbAnswer, ApiError> {
        self.verb("/down".into(), &(), true).await
    }

    /// `POST /upgrade`: the keeper goes on as another binary. The answer is the old daemon's last; the next call waits for
    /// the new one. Not made again when it is cut off: [`Client::last_upgrade`] says what became of it.
    pub async fn upgrade(&self, request: &UpgradeRequest) -> Result<UpgradeStarted, ApiError> {
        self.verb("/upgrade".into(), request, false).await
    }

    /// `GET /upgrade`.
    pub async fn last_upgrade(&self) -> Result<UpgradeReport, ApiError> {
        self.get("/upgrade".into()).await
    }

    /// `POST /services/{name}/start`.
    pub async fn start(&self, name: &str) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/services/{}/start", escape(name)), &(), true).await
    }

    /// `POST /services/{name}/stop`. Returns when fully stopped.
    pub async fn stop(&self, name: &str) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/services/{}/stop", escape(name)), &(), true).await
    }

    /// `POST /services/{name}/restart`.
    pub async fn restart(&self, name: &str) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/services/{}/restart", escape(name)), &(), false).await
    }

    /// `POST /services/{name}/reload`. Returns when the new instances serve.
    pub async fn reload(&self, name: &str) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/services/{}/reload", escape(name)), &(), false).await
    }

    /// `POST /services/{name}/scale`: a service or a pool.
    pub async fn scale(&self, name: &str, replicas: u32) -> Result<VerbAnswer, ApiError> {
        let path = format!("/services/{}/scale", escape(name));
        self.verb(path, &ScaleRequest { replicas }, true).await
    }

    /// `POST /queues/{queue}/tasks`. Returns when they are as durable as the queue promises.
    pub async fn push(&self, queue: &str, tasks: &[NewTask]) -> Result<Pushed, ApiError> {
        self.push_call(queue, json(&tasks)?, JSON).await
    }

    /// The same from lines of JSON, as they are.
    pub async fn push_lines(&self, queue: &str, lines: Bytes) -> Result<Pushed, ApiError> {
        self.push_call(queue, lines, NDJSON).await
    }

    /// The same, with a key of the caller's for the whole request and what one bad line does to the others.
    pub async fn push_batch(
        &self,
        queue: &str,
        lines: Bytes,
        key: Option<String>,
        on_error: OnError,
    ) -> Result<Pushed, ApiError> {
        let mut call = self.push_of(queue, lines, NDJSON);
        call.path.push_str(&query_text(&PushQuery { on_error })?);
        call.key = key.or(call.key);
        self.call(&call).await
    }

    async fn push_call(
        &self,
        queue: &str,
        body: Bytes,
        media: &'static str,
    ) -> Result<Pushed, ApiError> {
        self.call(&self.push_of(queue, body, media)).await
    }

    fn push_of(&self, queue: &str, body: Bytes, media: &'static str) -> Call {
        Call {
            method: Method::POST,
            path: format!("/queues/{}/tasks", escape(queue)),
            body,
            media,
            key: Some(fresh_key()),
            deadline: self.options.timeout,
            repeatable: true,
        }
    }

    /// `POST /queues/{name}/pause`.
    pub async fn pause(&self, queue: &str) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/queues/{}/pause", escape(queue)), &(), true).await
    }

    /// `POST /queues/{name}/drain`: it takes no new tasks; what it has goes on.
    pub async fn drain(&self, queue: &str) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/queues/{}/drain", escape(queue)), &(), true).await
    }

    /// `POST /queues/{name}/resume`.
    pub async fn resume(&self, queue: &str) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/queues/{}/resume", escape(queue)), &(), true).await
    }

    /// `GET /tasks/{id}/why`: every cause that keeps a task from running.
    pub async fn why(&self, id: TaskId) -> Result<Why, ApiError> {
        self.get(format!("/tasks/{id}/why")).await
    }

    /// `POST /tasks/{id}/retry`: a discarded, cancelled or completed task becomes available again.
    pub async fn retry(&self, id: TaskId) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/tasks/{id}/retry"), &(), false).await
    }

    /// `GET /dead`.
    pub async fn dead(&self, query: &DeadQuery) -> Result<DeadPage, ApiError> {
        self.get(format!("/dead{}", query_text(query)?)).await
    }

    /// `POST /dead/replay`: one page of those asked for.
    pub async fn dead_replay(&self, request: &DeadRequest) -> Result<DeadDone, ApiError> {
        self.verb("/dead/replay".into(), request, true).await
    }

    /// `POST /dead/purge`: one page of those asked for.
    pub async fn dead_purge(&self, request: &DeadRequest) -> Result<DeadDone, ApiError> {
        self.verb("/dead/purge".into(), request, true).await
    }

    /// `POST /dead/{id}/edit`: brings it back with another payload.
    pub async fn dead_edit(&self, id: TaskId, edit: &DeadEdit) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/dead/{id}/edit"), edit, false).await
    }

    /// `POST /tasks/{id}/priority`.
    pub async fn set_priority(&self, id: TaskId, to: Priority) -> Result<VerbAnswer, ApiError> {
        let body = PriorityRequest { priority: to, ..PriorityRequest::default() };
        self.verb(format!("/tasks/{id}/priority"), &body, true).await
    }

    /// `POST /queues/{name}/priority`: of every task there that waits and fits. Tells how many, in a note.
    pub async fn set_priorities(
        &self,
        queue: &str,
        what: &PriorityRequest,
    ) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/queues/{}/priority", escape(queue)), what, true).await
    }

    /// `POST /tasks/{id}/cancel`.
    pub async fn cancel(&self, id: TaskId) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/tasks/{id}/cancel"), &(), true).await
    }

    /// `POST /wait`.
    pub async fn wait(&self, request: &WaitRequest) -> Result<Waited, ApiError> {
        self.verb("/wait".into(), request, true).await
    }

    /// `GET /events` as a stream; ends with what there is unless `follow`.
    pub async fn events(&self, query: &EventQuery) -> Result<Sse<EventLine>, ApiError> {
        self.sse(format!("/events{}", query_text(query)?)).await
    }

    /// `GET /logs/{name}` as a stream.
    pub async fn logs(&self, name: &str, query: &LogQuery) -> Result<Sse<LogLine>, ApiError> {
        self.sse(format!("/logs/{}{}", escape(name), query_text(query)?)).await
    }

    /// `GET /tasks/{id}/log` as a stream.
    pub async fn task_log(
        &self,
        id: TaskId,
        query: &TaskLogQuery,
    ) -> Result<Sse<TaskWord>, ApiError> {
        self.sse(format!("/tasks/{id}/log{}", query_text(query)?)).await
    }

    /// `POST /call`. The verb timeout must be longer than the request's.
    pub async fn call_service(&self, request: &CallRequest) -> Result<CallAnswer, ApiError> {
        self.verb("/call".into(), request, false).await
    }

    /// `POST /publish`.
    pub async fn publish(&self, request: &PublishRequest) -> Result<Reached, ApiError> {
        self.verb("/publish".into(), request, false).await
    }

    /// `GET /subscribe` as a stream without an end.
    pub async fn subscribe(&self, query: &SubscribeQuery) -> Result<Sse<TopicLine>, ApiError> {
        self.sse(format!("/subscribe{}", query_text(query)?)).await
    }

    async fn sse<T: DeserializeOwned>(&self, path: String) -> Result<Sse<T>, ApiError> {
        let mut connection = self.connect().await?;
        let call = self.read(path);
        let response = connection
            .send(&call, super::body::RequestBody::Whole(None))
            .await
            .map_err(|e| e.error)?;
        Ok(Sse::new(connection, response.into_body()))
    }

    fn read(&self, path: String) -> Call {
        Call {
            method: Method::GET,
            path,
            body: Bytes::new(),
            media: JSON,
            key: None,
            deadline: self.options.timeout,
            repeatable: true,
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, ApiError> {
        self.call(&self.read(path)).await
    }

    async fn verb<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: String,
        body: &B,
        repeatable: bool,
    ) -> Result<T, ApiError> {
        let call = Call {
            method: Method::POST,
            path,
            body: json(body)?,
            media: JSON,
            key: None,
            deadline: self.options.verb_timeout,
            repeatable,
        };
        self.call(&call).await
    }
}

impl Connection {
    /// Pushes over this connection: for callers that push often.
    ///
    /// # Errors
    /// As [`Client::push`]; if the daemon goes away, the caller connects again and may repeat with another key only if
    /// it checks for doubles itself.
    pub async fn push(
        &mut self,
        client: &Client,
        queue: &str,
        tasks: &[NewTask],
    ) -> Result<Pushed, ApiError> {
        let call = client.push_of(queue, json(&tasks)?, JSON);
        let bytes = self.call(&call).await.map_err(|e| e.error)?;
        parse(&bytes, &call.path)
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, ApiError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|e| {
        ApiError::new(ErrorKind::Usage, "the request can't be written as JSON").cause(e.to_string())
    })
}

/// `?a=b&c=d` of a flat struct, or nothing.
fn query_text<T: Serialize>(query: &T) -> Result<String, ApiError> {
    let fail = |e: serde_json::Error| ApiError::from_error(ErrorKind::Usage, &e);
    let value = serde_json::to_value(query).map_err(fail)?;
    let mut text = String::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        text.push_str(&escape(&value));
    }
    Ok(text)
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub(super) fn escape(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        let query = LogQuery { grep: Some("a b&c".into()), follow: true, ..Default::default() };
        assert_eq!(query_text(&query).unwrap(), "?follow=true&grep=a%20b%26c");
        assert_eq!(query_text(&TaskQuery::default()).unwrap(), "");
    }
}
