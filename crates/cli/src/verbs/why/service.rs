//! `ganger why NAME`: what keeps a service or pool from being as configured.

use std::process::ExitCode;

use ganger_api::{Instance, Service};
use ganger_core::InstanceState;
use serde::Serialize;

use super::super::reload;
use super::span;
use crate::error::CliError;
use crate::link;
use crate::text;
use crate::ui::Ui;

#[derive(Serialize)]
struct Causes<'a> {
    v: u8,
    name: &'a str,
    causes: &'a [String],
}

pub(super) fn run(name: &str, json: bool, ui: &Ui) -> Result<ExitCode, CliError> {
    let service = link::session(ui, async |client| Ok(client.service(name).await?))?;
    let causes = causes(&service, text::now_ms());
    if json {
        ui.json(&Causes { v: 1, name, causes: &causes })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = ui.out();
    if causes.is_empty() {
        out.line(&format!("nothing is in the way: {name} is as configured"))?;
    }
    for cause in causes {
        out.line(&text::printable(&cause))?;
    }
    out.done()?;
    Ok(ExitCode::SUCCESS)
}

fn causes(service: &Service, now_ms: u64) -> Vec<String> {
    let mut causes = vec![];
    if service.stopped {
        let name = &service.name;
        causes.push(format!("{name} was stopped by hand; `ganger start {name}` starts it"));
    }
    let newest = service.reload.as_ref();
    let newest = newest.filter(|newest| newest.differs || newest.state.is_under_way());
    causes.extend(newest.map(|newest| reload::summary(newest, now_ms)));
    let not_ready = service.instances.iter().filter(|instance| !instance.ready);
    causes.extend(not_ready.filter(|_| !service.stopped).map(sentence));
    causes
}

fn sentence(instance: &Instance) -> String {
    let state = match instance.state {
        InstanceState::Running => "runs but is not ready".to_owned(),
        state => format!("is {state}"),
    };
    let reason = Some(&instance.reason).filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let probes = instance.probes.iter().filter(|probe| probe.ok == Some(false));
    let probes =
        probes.map(|probe| format!("; {} by {} says {}", probe.kind, probe.what, probe.said));
    let next = instance.next_try_s.map(|s| format!("; next try in {}", span(s)));
    let (name, slot) = (&instance.name, instance.slot);
    format!(
        "{name}#{slot} {state}{reason}{}{}",
        probes.collect::<String>(),
        next.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_in_the_way_of_a_service() {
        let mut service: Service = serde_json::from_value(json!({
            "v": 1, "name": "web", "kind": "service", "replicas": 2, "stopped": false, "command": ["web"],
            "instances": [
                {"name": "web", "slot": 1, "kind": "service", "state": "running", "ready": true, "pid": 7,
                 "restarts": 0, "started_at": null, "reason": "", "next_try_s": null},
                {"name": "web", "slot": 2, "kind": "service", "state": "backoff", "ready": false, "pid": null,
                 "restarts": 3, "started_at": null, "reason": "exited with code 1", "next_try_s": 3.0},
            ],
            "last_lines": [],
        }))
        .unwrap();
        assert_eq!(causes(&service, 0), ["web#2 is backoff: exited with code 1; next try in 3s"]);
        service.stopped = true;
        assert_eq!(causes(&service, 0), ["web was stopped by hand; `ganger start web` starts it"]);
        (service.stopped, service.instances) = (false, vec![]);
        assert!(causes(&service, 0).is_empty());
    }
}
