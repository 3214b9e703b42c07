//! How waits are stored. Reads what versions before curves wrote: `{"base","factor","max","jitter":true}`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Curve, Formula, Jitter, Shape, TaskBackoff};

#[derive(Serialize, Deserialize)]
pub(super) struct Wire {
    #[serde(default = "exponential")]
    curve: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    power: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jitter: Option<Chance>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum Word {
    Named(Formula),
    Shape(ShapeWord),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ShapeWord {
    Fixed,
    Linear,
    Exponential,
    Polynomial,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum Chance {
    Full(bool),
    Word(Jitter),
}

const fn exponential() -> Word {
    Word::Shape(ShapeWord::Exponential)
}

impl From<Wire> for TaskBackoff {
    fn from(wire: Wire) -> Self {
        let shape = match wire.curve {
            Word::Named(formula) => return Self::Named(formula),
            Word::Shape(ShapeWord::Fixed) => Shape::Fixed,
            Word::Shape(ShapeWord::Linear) => Shape::Linear,
            Word::Shape(ShapeWord::Exponential) => Shape::Exponential(wire.factor.unwrap_or(2.0)),
            Word::Shape(ShapeWord::Polynomial) => Shape::Polynomial(wire.power.unwrap_or(2.0)),
        };
        let jitter = match wire.jitter {
            Some(Chance::Word(jitter)) => jitter,
            Some(Chance::Full(true)) | None => Jitter::Full,
            Some(Chance::Full(false)) => Jitter::None,
        };
        let base = wire.base.unwrap_or(Duration::from_secs(1));
        Self::Curve(Curve { shape, base, max: wire.max.unwrap_or(super::WAIT_MAX), jitter })
    }
}

impl From<TaskBackoff> for Wire {
    fn from(backoff: TaskBackoff) -> Self {
        let empty =
            |curve| Self { curve, base: None, max: None, factor: None, power: None, jitter: None };
        let Curve { shape, base, max, jitter } = match backoff {
            TaskBackoff::Named(formula) => return empty(Word::Named(formula)),
            TaskBackoff::Curve(curve) => curve,
        };
        let (word, factor, power) = match shape {
            Shape::Fixed => (ShapeWord::Fixed, None, None),
            Shape::Linear => (ShapeWord::Linear, None, None),
            Shape::Exponential(factor) => (ShapeWord::Exponential, Some(factor), None),
            Shape::Polynomial(power) => (ShapeWord::Polynomial, None, Some(power)),
        };
        let (base, max, jitter) = (Some(base), Some(max), Some(Chance::Word(jitter)));
        Self { factor, power, base, max, jitter, ..empty(Word::Shape(word)) }
    }
}
