//! `ganger ps`: every instance in a table.

use std::process::ExitCode;
use std::time::Duration;

use ganger_api::{Group, GroupMember, Instance, Instances};
use ganger_core::{BreakerState, GroupState, InstanceState};

use super::{Json, reload};
use crate::error::{CliError, Kind};
use crate::link;
use crate::table::{Table, Tone, left, right};
use crate::target::Target;
use crate::text;
use crate::ui::Ui;

/// `ps`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these services or pools (NAME or NAME#SLOT)
    #[arg(value_name = "NAME")]
    names: Vec<Target>,
    #[command(flatten)]
    out: Json,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let mut all = link::session(ui, async |client| Ok(client.instances().await?))?;
    choose(&mut all, &args.names)?;
    if args.out.json {
        ui.json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    if all.instances.is_empty() {
        ui.talk("no instances: nothing is configured, or its pools are at zero workers; `ganger up` applies ganger.toml");
        return Ok(ExitCode::SUCCESS);
    }
    let table = table(&all.instances, text::now_ms());
    let mut out = ui.out();
    out.line(&table.render(ui.width(), ui.data_is_coloured()))?;
    let now = text::now_ms();
    let fits = |name: &str| args.names.is_empty() || args.names.iter().any(|one| one.name == name);
    let reloads: Vec<String> = all
        .reloads
        .iter()
        .filter(|reload| fits(&reload.name))
        .map(|one| reload::summary(one, now))
        .collect();
    if !reloads.is_empty() {
        out.line("")?;
    }
    for line in reloads {
        out.line(&line)?;
    }
    if !all.groups.is_empty() && args.names.is_empty() {
        out.line("")?;
        out.line(&groups(&all.groups).render(ui.width(), ui.data_is_coloured()))?;
    }
    out.done()?;
    Ok(ExitCode::SUCCESS)
}

/// The table of groups.
pub(super) fn groups(groups: &[Group]) -> Table {
    let mut table = Table::new(&[
        left("GROUP", 0),
        left("STRATEGY", 3),
        left("STATE", 0),
        left("MEMBERS", 2),
        left("REASON", 1),
    ]);
    for group in groups {
        let tone = match group.state {
            GroupState::Running => Tone::Plain,
            GroupState::Stopped => Tone::Dim,
            GroupState::Starting | GroupState::Degraded => Tone::Warn,
            GroupState::Failed => Tone::Bad,
        };
        let optional = |member: &GroupMember| if member.optional { "?" } else { "" };
        let members = group.members.iter().map(|m| format!("{}{}", m.name, optional(m)));
        table.row(
            tone,
            vec![
                group.name.clone(),
                group.strategy.to_string(),
                group.state.to_string(),
                members.collect::<Vec<_>>().join(" "),
                group.reason.clone(),
            ],
        );
    }
    table
}

fn choose(all: &mut Instances, names: &[Target]) -> Result<(), CliError> {
    let fits = |target: &Target, instance: &Instance| {
        target.name == instance.name && target.slot.is_none_or(|slot| slot == instance.slot)
    };
    for target in names {
        if !all.instances.iter().any(|instance| fits(target, instance)) {
            return Err(CliError::new(Kind::NotFound, format!("no instance named `{target}`"))
                .help("`ganger ps` lists them all"));
        }
    }
    if !names.is_empty() {
        all.instances.retain(|instance| names.iter().any(|target| fits(target, instance)));
    }
    Ok(())
}

/// The table of instances; `now_ms` makes ages.
pub(super) fn table(instances: &[Instance], now_ms: u64) -> Table {
    let mut table = Table::new(&[
        left("NAME", 0),
        left("KIND", 6),
        left("STATE", 0),
        left("READY", 5),
        right("PID", 3),
        right("UP", 4),
        right("RESTARTS", 2),
        left("REASON", 1),
    ]);
    for instance in instances {
        let up = instance
            .started_at
            .filter(|_| instance.pid.is_some())
            .map(|started| text::age(Duration::from_millis(now_ms.saturating_sub(started.0))));
        let tone = match instance.state {
            InstanceState::Running => Tone::Plain,
            InstanceState::Stopped => Tone::Dim,
            InstanceState::Failed => Tone::Bad,
            InstanceState::Starting | InstanceState::Stopping | InstanceState::Backoff => {
                Tone::Warn
            }
        };
        table.row(
            tone,
            vec![
                format!("{}#{}", instance.name, instance.slot),
                instance.kind.to_string(),
                instance.state.to_string(),
                if instance.ready { "yes" } else { "no" }.to_owned(),
                instance.pid.map(|pid| pid.to_string()).unwrap_or_default(),
                up.unwrap_or_default(),
                instance.restarts.to_string(),
                reason(instance),
            ],
        );
    }
    table
}

fn reason(instance: &Instance) -> String {
    let wait = instance.next_try_s.map(|seconds| {
        format!("next try in {}", text::age(Duration::from_secs_f64(seconds.0.clamp(0.0, 1e9))))
    });
    // An open breaker is in the reason's own words.
    let trial = (instance.breaker == BreakerState::HalfOpen)
        .then(|| "breaker half-open: one start on trial".to_owned());
    let own = Some(instance.reason.clone()).filter(|reason| !reason.is_empty());
    [own, trial, wait].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use ganger_api::{Seconds, Timestamp};
    use ganger_core::InstanceKind;

    use super::*;

    fn instance(name: &str, slot: u32, state: InstanceState) -> Instance {
        let runs = matches!(state, InstanceState::Running | InstanceState::Starting);
        Instance {
            name: name.to_owned(),
            slot,
            kind: InstanceKind::Service,
            state,
            ready: state == InstanceState::Running,
            pid: runs.then_some(4_000 + slot),
            restarts: 0,
            started_at: runs.then_some(Timestamp(1_795_341_600_000)),
            reason: String::new(),
            next_try_s: None,
            failures: 0,
            cause: None,
            breaker: BreakerState::Closed,
            probes: vec![],
            status: None,
            doing: None,
            main_pid: None,
            connections: None,
        }
    }

    fn sample() -> Vec<Instance> {
        let mut waits = instance("worker", 2, InstanceState::Backoff);
        waits.kind = InstanceKind::Worker;
        waits.restarts = 3;
        waits.reason = "exited with code 1".into();
        waits.next_try_s = Some(Seconds(3.2));
        let mut failed = instance("cron", 1, InstanceState::Failed);
        failed.reason = "could not start: execve: No such file or directory (/srv/cron)".into();
        vec![
            failed,
            instance("web", 1, InstanceState::Running),
            instance("web", 2, InstanceState::Starting),
            instance("web", 3, InstanceState::Stopped),
            waits,
        ]
    }

    #[test]
    fn table_at_three_widths() {
        let table = table(&sample(), 1_795_341_600_000 + 754_000);
        for width in [40, 80, usize::MAX] {
            let name = if width == usize::MAX { "ps-piped".into() } else { format!("ps-{width}") };
            let text = table.render(width, false);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            insta::assert_snapshot!(name, text);
        }
    }

    #[test]
    fn unknown_names_are_not_found() {
        let mut all =
            Instances { v: ganger_api::V1, instances: sample(), groups: vec![], reloads: vec![] };
        let error = choose(&mut all, &["wbe".parse().unwrap()]).unwrap_err();
        assert_eq!(error.code(), 4);
        choose(&mut all, &["web#2".parse().unwrap(), "cron".parse().unwrap()]).unwrap();
        assert_eq!(all.instances.len(), 2);
    }
}
