//! `retry` of a task, as it is pushed.

use ganger_api::TaskRetry;
use ganger_core::task_backoff::{Curve, Formula, Jitter, Shape};
use ganger_core::{Dur, DurRange, TaskBackoff};
use ganger_store::TaskOptions;
use serde::{Deserialize, Deserializer, de};

/// Attempts in all, as in the configuration.
const ATTEMPTS_MAX: u32 = 1_000;
/// Largest factor or power, as in the configuration.
const GROWTH_MAX: f64 = 100.0;

/// What a task sets for itself, checked as it is read.
#[derive(Debug)]
pub(super) struct Own(pub(super) Box<TaskOptions>);

impl<'de> Deserialize<'de> for Own {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        options(&TaskRetry::deserialize(d)?)
            .map(|own| Self(Box::new(own)))
            .map_err(de::Error::custom)
    }
}

fn options(retry: &TaskRetry) -> Result<TaskOptions, String> {
    if retry.max.is_some_and(|max| !(1..=ATTEMPTS_MAX).contains(&max)) {
        return Err(format!("retry.max is out of range: 1 to {ATTEMPTS_MAX}"));
    }
    Ok(TaskOptions {
        max_attempts: retry.max,
        backoff: backoff(retry)?,
        max_age: retry.max_age.map(|age| age.0),
        crash_limit: retry.crash_limit,
        ..TaskOptions::default()
    })
}

fn backoff(retry: &TaskRetry) -> Result<Option<TaskBackoff>, String> {
    let TaskRetry { backoff, curve, factor, power, jitter, .. } = retry;
    if backoff.is_none()
        && curve.is_none()
        && factor.is_none()
        && power.is_none()
        && jitter.is_none()
    {
        return Ok(None);
    }
    let growth = |name: &str, given: Option<f64>| match given.unwrap_or(2.0) {
        n if (1.0..=GROWTH_MAX).contains(&n) => Ok(n),
        _ => Err(format!("retry.{name} is out of range: 1 to {GROWTH_MAX}")),
    };
    let word = curve.as_deref().unwrap_or("exponential");
    let shape = match word {
        "fixed" => Shape::Fixed,
        "linear" => Shape::Linear,
        "exponential" => Shape::Exponential(growth("factor", *factor)?),
        "polynomial" => Shape::Polynomial(growth("power", *power)?),
        other => {
            let formula: Formula = other
                .parse()
                .map_err(|e| format!("retry.curve: {e}, fixed, linear, exponential, polynomial"))?;
            if backoff.is_some() || jitter.is_some() || factor.is_some() || power.is_some() {
                return Err(format!("retry.curve = {formula} is a whole formula of its own"));
            }
            return Ok(Some(TaskBackoff::Named(formula)));
        }
    };
    if factor.is_some() && word != "exponential" || power.is_some() && word != "polynomial" {
        return Err(format!("retry.curve = {word} has no such factor or power"));
    }
    let TaskBackoff::Curve(Curve { base, max, .. }) = TaskBackoff::DEFAULT else { return Ok(None) };
    let DurRange { from, to } = backoff.unwrap_or(DurRange { from: Dur(base), to: Dur(max) });
    let jitter = jitter.unwrap_or(Jitter::Full);
    Ok(Some(TaskBackoff::Curve(Curve { shape, base: from.0, max: to.0, jitter })))
}
