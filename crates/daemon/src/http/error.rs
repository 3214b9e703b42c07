//! Failures as answers.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ganger_api::error::ErrorBody;
use ganger_api::{ApiError, ErrorKind, V1};
use ganger_pool::{ScheduleError, TaskError};
use ganger_queue::{Failure, PushError};
use ganger_store::{RefusedWhy, StoreError};

/// A full disk does not empty within milliseconds.
const STORE_FULL_RETRY_S: u64 = 2;

/// What a route answers when it fails.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) ApiError);

pub(crate) type Answer<T> = Result<Json<T>, Fault>;

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.0.retry_after_s;
        let mut response = (status, Json(ErrorBody { v: V1, error: self.0 })).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<TaskError> for Fault {
    fn from(error: TaskError) -> Self {
        let kind = match &error {
            TaskError::NoQueue(_) | TaskError::NoTask(_) => ErrorKind::NotFound,
            TaskError::Push(error) if error.retry_after().is_some() => ErrorKind::Full,
            TaskError::Push(PushError::Draining { .. }) | TaskError::TooManyWaiters(_) => {
                ErrorKind::Conflict
            }
            TaskError::Push(_) | TaskError::NotJson { .. } => ErrorKind::Usage,
            TaskError::Failed(Failure::Store(StoreError::Full(_))) => ErrorKind::Full,
            TaskError::Failed(Failure::Refused { why: RefusedWhy::NotFound, .. }) => {
                ErrorKind::NotFound
            }
            TaskError::Failed(Failure::NotUnique { .. } | Failure::Refused { .. }) => {
                ErrorKind::Conflict
            }
            TaskError::WaitTimeout { .. } => ErrorKind::Timeout,
            TaskError::ShuttingDown => ErrorKind::NoDaemon,
            _ => ErrorKind::Failed,
        };
        let mut api = ApiError::from_error(kind, &error);
        if kind == ErrorKind::Full {
            api.retry_after_s = Some(STORE_FULL_RETRY_S);
        }
        if let TaskError::Push(error) = &error {
            let whole = |after: std::time::Duration| after.as_secs_f64().ceil() as u64;
            api.retry_after_s = error.retry_after().map(whole);
        }
        Self(api)
    }
}

impl From<ScheduleError> for Fault {
    fn from(error: ScheduleError) -> Self {
        let kind = match &error {
            ScheduleError::Unknown { name, known } => {
                return not_found("schedule", name, known.iter().map(String::as_str));
            }
            ScheduleError::NotRun { .. } => ErrorKind::Conflict,
            ScheduleError::Store(_) => ErrorKind::Failed,
            ScheduleError::ShuttingDown => ErrorKind::NoDaemon,
        };
        Self(ApiError::from_error(kind, &error))
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self(ApiError::from_error(ErrorKind::Failed, &error))
    }
}

/// A request that makes no sense.
pub(crate) fn usage(message: impl Into<String>) -> Fault {
    Fault(ApiError::new(ErrorKind::Usage, message))
}

/// No such thing, with what there is.
pub(crate) fn not_found<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Fault {
    let mut error = ApiError::new(ErrorKind::NotFound, format!("there is no {what} `{name}`"));
    let known: Vec<_> = known.take(20).collect();
    let near = known.iter().min_by_key(|other| strsim::damerau_levenshtein(name, other));
    match near {
        Some(near) if strsim::damerau_levenshtein(name, near) <= 2 => {
            error = error.hint(format!("did you mean `{near}`?"));
        }
        Some(_) => error = error.hint(format!("there is: {}", known.join(", "))),
        None => {}
    }
    Fault(error)
}
