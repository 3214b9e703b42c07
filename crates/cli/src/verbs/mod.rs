//! The verbs: one file each, with its `Args` and its `run`.

use std::process::ExitCode;

use crate::error::CliError;
use crate::ui::Ui;

mod alert;
mod anomalies;
mod audit;
mod bounds;
mod call;
mod config;
mod control;
mod daemon;
mod dead;
mod doctor;
mod down;
mod events;
mod exec;
mod import;
mod incident;
mod init;
mod logs;
mod map;
mod mapreduce;
mod metrics;
mod policy;
mod profile;
mod ps;
mod push;
mod queue;
mod reload;
mod report;
mod run;
mod scale;
mod schedule;
mod service_install;
mod stats;
mod status;
mod store;
mod task;
mod task_log;
mod top;
mod topic;
mod up;
mod upgrade;
mod validate;
mod version;
mod wait;
mod why;

pub(crate) use logs::{OWN_LOG, read_error};
pub(crate) use map::refused as refused_by_map;
pub(crate) use mapreduce::streaming;
pub(crate) use reload::line as reload_line;
pub(crate) use validate::load as load_config;

/// What a call asks for.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Write a ganger.toml for this folder
    Init(init::Args),
    /// Turn a Procfile, PM2 or supervisord file into a ganger.toml
    Import(import::Args),
    /// Check the config file and show all its errors
    Validate(validate::Args),
    /// Check what this machine offers, and how to get the rest
    Doctor(doctor::Args),
    /// Start what the config says (and the daemon, if none is there), then show logs
    Up(up::Args),
    /// Stop everything and the daemon
    Down(down::Args),
    /// Write a systemd unit that runs what this folder's config says
    ServiceInstall(service_install::Args),
    /// Go on as another version of ganger; services and workers run on
    Upgrade(upgrade::Args),
    /// Run in the foreground, for systemd and containers
    Daemon(daemon::Args),
    /// List instances: services and workers
    Ps(ps::Args),
    /// Show how ganger, or one service or pool, is doing
    Status(status::Args),
    /// Show what services, workers and the machine cost: processor, memory, descriptors, disks
    Stats(stats::Args),
    /// Watch services, workers and queues live, with their logs and the verbs on them
    Top(top::Args),
    /// Print what is measured as Prometheus reads it, or a Grafana dashboard for it
    Metrics(metrics::Args),
    /// Show what is unusual or wrong: leaks, spikes, stalls, crash loops, with evidence
    Anomalies(anomalies::Args),
    /// List, show and test alerts; silence them
    #[command(visible_alias = "alerts")]
    Alert(alert::Args),
    /// Say where a service, a pool or any process spends its processor time, as a table or a flame graph
    Profile(profile::Args),
    /// Show what services and workers said; needs no daemon
    Logs(logs::Args),
    /// Show what happened
    Events(events::Args),
    /// Start stopped services or pools
    Start(control::Args),
    /// Stop services or pools; they stay stopped
    Stop(control::Args),
    /// Restart services or pools
    Restart(control::Args),
    /// Replace a service's processes one after the other, new ones ready before old ones go
    Reload(reload::Args),
    /// Change how many processes a service or pool has
    Scale(scale::Args),
    /// Wait until a queue is empty, a service is ready or a task is done
    Wait(wait::Args),
    /// Say why a task or service does not run, who holds it up and until when; why a command was denied or failed
    Why(why::Args),
    /// Ask a service over its channel and print the answer
    Call(call::Args),
    /// Tell all who subscribed to a topic
    Publish(topic::Publish),
    /// Show what is published
    Subscribe(topic::Subscribe),
    /// Push tasks on a queue
    Push(Box<push::Args>),
    /// List, show, retry, cancel tasks, or wait for them
    Task(task::Args),
    /// List, show, pause and resume queues
    Queue(queue::Args),
    /// List, show, replay, edit and purge dead letters: tasks that were given up
    Dead(dead::Args),
    /// List, show, run, pause and resume schedules; preview their fires
    Schedule(schedule::Args),
    /// Measure this machine's tasks and processes a second, beside its own limits
    Bench(crate::bench::Args),
    /// Run one command under limits, no daemon needed
    Run(run::Args),
    /// Run one command over many inputs, some at a time, no daemon needed
    Map(Box<map::Args>),
    /// Map and reduce the records of files by commands, no daemon needed
    #[command(name = "mapreduce")]
    MapReduce(Box<mapreduce::Args>),
    /// Run one command under a policy: decided, contained and recorded by the daemon
    Exec(exec::Args),
    /// Decide what policies allow, explain why, and name what is doubtful about them
    Policy(policy::Args),
    /// Show the config as ganger reads it, or its JSON Schema
    Config(config::Args),
    /// Back up, restore, check and shrink the state database
    Store(store::Args),
    /// Verify, search, follow and export the audit log of commands; needs no daemon
    Audit(Box<audit::Args>),
    /// List what looks like an attack or a fault, and say that it is dealt with
    #[command(visible_alias = "incidents")]
    Incident(incident::Args),
    /// Write a security report of a period: HTML, Markdown or JSON; needs no daemon
    Report(report::Args),
    /// Show the version
    Version(version::Args),
}

/// Flag of every verb that reads.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Json {
    /// Print JSON, stable for scripts
    #[arg(long)]
    pub(crate) json: bool,
}

/// A page of a list.
#[derive(Debug, clap::Args)]
pub(crate) struct Page {
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: u32,
    /// Go on after a page: its `next`
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
}

/// Does it.
pub(crate) fn run(verb: Verb, ui: &Ui) -> Result<ExitCode, CliError> {
    match verb {
        Verb::Init(args) => init::run(&args, ui),
        Verb::Import(args) => import::run(&args, ui),
        Verb::Validate(args) => validate::run(&args, ui),
        Verb::Doctor(args) => doctor::run(&args, ui),
        Verb::Up(args) => up::run(&args, ui),
        Verb::Down(args) => down::run(&args, ui),
        Verb::ServiceInstall(args) => service_install::run(&args, ui),
        Verb::Upgrade(args) => upgrade::run(&args, ui),
        Verb::Daemon(args) => daemon::run(&args, ui),
        Verb::Ps(args) => ps::run(&args, ui),
        Verb::Status(args) => status::run(&args, ui),
        Verb::Stats(args) => stats::run(&args, ui),
        Verb::Top(args) => top::run(&args, ui),
        Verb::Metrics(args) => metrics::run(&args, ui),
        Verb::Anomalies(args) => anomalies::run(&args, ui),
        Verb::Alert(args) => alert::run(&args, ui),
        Verb::Profile(args) => profile::run(&args, ui),
        Verb::Logs(args) => logs::run(&args, ui),
        Verb::Events(args) => events::run(&args, ui),
        Verb::Start(args) => control::run(control::What::Start, &args, ui),
        Verb::Stop(args) => control::run(control::What::Stop, &args, ui),
        Verb::Restart(args) => control::run(control::What::Restart, &args, ui),
        Verb::Reload(args) => reload::run(&args, ui),
        Verb::Scale(args) => scale::run(&args, ui),
        Verb::Wait(args) => wait::run(&args, ui),
        Verb::Why(args) => why::run(&args, ui),
        Verb::Call(args) => call::run(&args, ui),
        Verb::Publish(args) => topic::publish(&args, ui),
        Verb::Subscribe(args) => topic::subscribe(&args, ui),
        Verb::Push(args) => push::run(&args, ui),
        Verb::Task(args) => task::run(&args, ui),
        Verb::Queue(args) => queue::run(&args, ui),
        Verb::Dead(args) => dead::run(&args, ui),
        Verb::Schedule(args) => schedule::run(&args, ui),

        Verb::Bench(args) => crate::bench::run(&args, ui),
        Verb::Run(args) => run::run(&args, ui),
        Verb::Map(args) => map::run(&args, ui),
        Verb::MapReduce(args) => mapreduce::run(&args, ui),
        Verb::Exec(args) => exec::run(&args, ui),
        Verb::Policy(args) => policy::run(&args, ui),
        Verb::Config(args) => config::run(&args, ui),
        Verb::Store(args) => store::run(&args, ui),
        Verb::Audit(args) => audit::run(&args, ui),
        Verb::Incident(args) => incident::run(&args, ui),
        Verb::Report(args) => report::run(&args, ui),
        Verb::Version(args) => version::run(&args, ui),
    }
}
