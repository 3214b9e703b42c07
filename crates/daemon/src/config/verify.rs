//! What must hold of a resolved configuration whoever made it: the API takes one from any program.

use std::collections::BTreeSet;

use ganger_queue::schedule::MISSED_MAX;

use super::checks::find_circle;
use super::model::{Config, Program};
use super::resolve::{REPLICAS_MAX, is_name};

/// Everything that is wrong, in the words of one sentence each; nothing for what [`super::load`] has made.
pub(crate) fn verify(config: &Config) -> Vec<String> {
    let mut wrong = Vec::new();
    let services =
        config.services.iter().map(|(name, s)| ("service", name, &s.program, s.replicas));
    let pools = config.pools.iter().map(|(name, p)| ("pool", name, &p.program, p.workers.max));
    for (kind, name, program, count) in services.chain(pools) {
        wrong.extend(of_program(program).map(|why| format!("{kind} `{name}`: {why}")));
        if !is_name(name) {
            wrong.push(format!("{kind} `{name}`: this can't be a name"));
        }
        if count > REPLICAS_MAX {
            wrong.push(format!("{kind} `{name}`: {count} instances are more than {REPLICAS_MAX}"));
        }
    }
    wrong.extend(
        config
            .queues
            .keys()
            .filter(|n| !is_name(n))
            .map(|n| format!("queue `{n}`: this can't be a name")),
    );
    wrong.extend(
        config
            .pools
            .keys()
            .filter(|name| config.services.contains_key(*name))
            .map(|name| format!("`{name}` is the name of a service and of a pool")),
    );
    wrong.extend(
        super::group::faults(config)
            .into_iter()
            .map(|fault| format!("group `{}`: {}", fault.group, fault.why)),
    );
    wrong.extend(super::policy::verify(&config.policies));
    wrong.extend(config.incident.faults());
    wrong.extend(super::alert::verify(&config.alerting));
    wrong.extend(super::listen::verify(config));
    wrong.extend(super::watch::verify(config));
    let named =
        config.services.iter().filter_map(|(name, s)| Some((name, s.instance_var.as_ref()?)));
    wrong.extend(
        named
            .filter(|(_, var)| var.is_empty() || var.contains(['=', '\0']))
            .map(|(name, _)| format!("service `{name}`: its `instance_var` can't be a variable")),
    );
    schedules(config, &mut wrong);
    references(config, &mut wrong);
    wrong
}

fn of_program(program: &Program) -> Option<String> {
    let variables = || program.env.iter();
    if program.command.first().is_none_or(String::is_empty) {
        Some("it has nothing to run".to_owned())
    } else if !program.cwd.is_absolute() {
        Some(format!("its folder {} is not an absolute path", program.cwd.display()))
    } else if let Some(path) = program
        .sandbox
        .iter()
        .flat_map(|sandbox| &sandbox.paths)
        .map(|shown| &shown.path)
        .find(|path| !path.starts_with('/') || path.contains('\0'))
    {
        Some(format!("its sandbox's path {path} is not absolute"))
    } else if program.command.iter().any(|argument| argument.contains('\0'))
        || variables().any(|(name, value)| {
            name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
        })
    {
        Some("an argument or variable can't be passed to a program".to_owned())
    } else {
        None
    }
}

fn schedules(config: &Config, wrong: &mut Vec<String>) {
    for (name, schedule) in &config.schedules {
        let mut says = |why: String| wrong.push(format!("schedule `{name}`: {why}"));
        if !is_name(name) {
            says("this can't be a name".to_owned());
        }
        if schedule.cron.is_some() == schedule.at.is_some() {
            says("it has exactly one of `cron` and `at`".to_owned());
        } else if let Err(error) = schedule.plan() {
            says(error.to_string());
        }
        if !config.queues.contains_key(&schedule.queue) {
            says(format!("there is no queue `{}`", schedule.queue));
        }
        let payload = &schedule.payload;
        if let Err(error) = serde_json::from_str::<&serde_json::value::RawValue>(payload) {
            says(format!("its payload is not JSON: {error}"));
        }
        if !(1..=MISSED_MAX).contains(&schedule.missed_max) {
            says(format!("`missed_max` is 1 to {MISSED_MAX}"));
        }
    }
}

fn references(config: &Config, wrong: &mut Vec<String>) {
    for (name, pool) in &config.pools {
        let missing = pool.queues.iter().filter(|queue| !config.queues.contains_key(*queue));
        wrong.extend(missing.map(|queue| format!("pool `{name}`: there is no queue `{queue}`")));
        if pool.queues.is_empty() {
            wrong.push(format!("pool `{name}`: it takes from no queue"));
        }
    }
    for (name, service) in &config.services {
        let others = service.depends_on.keys();
        let missing = others.filter(|other| !config.services.contains_key(*other));
        wrong.extend(
            missing.map(|other| format!("service `{name}`: there is no service `{other}`")),
        );
    }
    let mut settled = BTreeSet::new();
    for name in config.services.keys() {
        if let Some(circle) = find_circle(name, config, &mut Vec::new(), &mut settled) {
            wrong.push(format!("services wait for each other: {}", circle.join(" → ")));
        }
    }
}
