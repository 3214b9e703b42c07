//! JSON for <https://www.speedscope.app> (its `file-format-schema.json`, kind "sampled").

use std::collections::BTreeMap;

use serde::Serialize;

use crate::profile::{Frame, Profile};

#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    exporter: &'static str,
    name: &'a str,
    shared: Shared<'a>,
    profiles: [Sampled<'a>; 1],
}

#[derive(Serialize)]
struct Shared<'a> {
    frames: Vec<Named<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    file: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sampled<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    unit: &'static str,
    start_value: f64,
    end_value: f64,
    samples: Vec<Vec<usize>>,
    weights: Vec<f64>,
}

pub(super) fn write(profile: &Profile, title: &str) -> Vec<u8> {
    let each = 1.0 / f64::from(profile.meta.hertz.max(1));
    let mut known: BTreeMap<&Frame, usize> = BTreeMap::new();
    let (mut frames, mut samples, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for (stack, count) in profile.stacks() {
        let numbers = stack.into_iter().map(|frame| {
            *known.entry(frame).or_insert_with(|| {
                frames.push(Named { name: &frame.name, file: &frame.module });
                frames.len() - 1
            })
        });
        samples.push(numbers.collect());
        weights.push(count as f64 * each);
    }
    let file = File {
        schema: "https://www.speedscope.app/file-format-schema.json",
        exporter: "ganger",
        name: title,
        shared: Shared { frames },
        profiles: [Sampled {
            kind: "sampled",
            name: title,
            unit: "seconds",
            start_value: 0.0,
            end_value: profile.total() as f64 * each,
            samples,
            weights,
        }],
    };
    // Text and finite numbers: there is nothing in it that JSON can't hold.
    serde_json::to_vec(&file).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::tests::sample;

    #[test]
    fn frames_once_and_weights_in_seconds() {
        let json: serde_json::Value = serde_json::from_slice(&write(&sample(), "web")).unwrap();
        let names: Vec<&str> = json["shared"]["frames"]
            .as_array()
            .unwrap()
            .iter()
            .map(|frame| frame["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["web", "<&\";>", "main", "cold", "hot"]);
        let one = &json["profiles"][0];
        assert_eq!(one["type"], "sampled");
        assert_eq!(one["samples"], serde_json::json!([[0, 1], [0, 2, 3, 4], [0, 2, 4], [0, 2, 2]]));
        let sum: f64 = one["weights"].as_array().unwrap().iter().map(|w| w.as_f64().unwrap()).sum();
        assert!((sum - 10.0 / 99.0).abs() < 1e-9);
        assert!((one["endValue"].as_f64().unwrap() - sum).abs() < 1e-9);
    }
}
