//! A daemon of few words: fixed services, told to the test line by line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::logwire::LogTarget;
use ganger_core::{Backoff, InstanceId, InstanceKind, InstanceState};
use ganger_keeper::wire::{Output, Plan};
use ganger_logs::read::LogReader;
use ganger_process::{Inherited, Link, Notice, Processes};
use ganger_supervise::{
    Dependency, InstanceSpec, Ready, ReadyBy, ServiceSpec, Services, Snapshot, Surroundings, Told,
    Until, services,
};
use ganger_testkit::roles::SOCKET_ENV;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

pub(crate) fn run() -> ExitCode {
    let (keeper, inherited) = Inherited::from_env().unwrap();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(serve(keeper, inherited));
    runtime.shutdown_background();
    ExitCode::SUCCESS
}

async fn serve(keeper: std::os::fd::OwnedFd, inherited: Inherited) {
    let dir = PathBuf::from(&inherited.table.state_dir);
    let Ok(test) = UnixStream::connect(std::env::var(SOCKET_ENV).unwrap()).await else {
        return clear_up(keeper, inherited).await;
    };
    let (commands, mut lines) = test.into_split();
    let mut commands = BufReader::new(commands).lines();
    lines.write_all(format!("daemon {}\n", std::process::id()).as_bytes()).await.unwrap();

    let link = Link::connect(keeper).unwrap();
    let mut started = Processes::start(link, inherited, next_epoch(&dir));
    let (tell, mut told) = mpsc::channel(256);
    std::fs::create_dir_all(dir.join("run")).unwrap();
    let around = Surroundings {
        processes: started.processes.clone(),
        told: tell,
        listeners: Default::default(),
        primaries: Default::default(),
        exchange: Default::default(),
        permits: ganger_supervise::Permits::default(),
        execs: ganger_supervise::Execs::default(),
        run_dir: dir.join("run"),
        logs: LogReader::new(dir.join("logs")),
    };
    let services::Startup { services, mut snapshot, task: _owner, .. } =
        Services::start_owner(around, started.adopted, &mut started.held);
    services.apply(specs(), vec![]).await.unwrap();
    started.processes.ready().await.unwrap();
    loop {
        tokio::select! {
            Some(Told { event, ack, .. }) = told.recv() => {
                let text = serde_json::to_string(&event).unwrap();
                if lines.write_all(format!("event {text}\n").as_bytes()).await.is_err() {
                    return;
                }
                if let Some(ack) = ack {
                    ack.confirm().await;
                }
            }
            Ok(()) = snapshot.changed() => {
                let text = show(&snapshot.borrow_and_update());
                if lines.write_all(format!("now {text}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
            command = commands.next_line() => match command.unwrap().as_deref() {
                Some("down") => {
                    services.shutdown().await.unwrap();
                    started.processes.shutdown().await.unwrap();
                }
                Some(command) => {
                    let (verb, name) = command.split_once(' ').unwrap();
                    assert_eq!(verb, "stop");
                    let _ticket = services.stop(name, None).await.unwrap();
                }
                None => return,
            },
            notice = started.notices.recv() => match notice {
                Some(Notice::KeeperLost(lost)) => {
                    let new = lost.start_keeper(Path::new("/proc/self/exe")).unwrap();
                    let line = format!("keeper {} of {}\n", new.pid(), lost.children());
                    lines.write_all(line.as_bytes()).await.unwrap();
                    let taken = new.taken_over(Duration::from_secs(60)).await;
                    lines.write_all(format!("taken over {taken:?}\n").as_bytes()).await.unwrap();
                    return;
                }
                Some(_) => {}
                None => return,
            },
        }
    }
}

/// The test is over and has left something: everything ends.
async fn clear_up(keeper: std::os::fd::OwnedFd, inherited: Inherited) {
    let epoch = next_epoch(Path::new(&inherited.table.state_dir));
    let mut started = Processes::start(Link::connect(keeper).unwrap(), inherited, epoch);
    for mut child in started.adopted {
        drop(child.end_tree().await);
        if child.exit().await.is_ok() {
            child.ack().confirm().await;
        }
    }
    if started.processes.shutdown().await.is_ok() {
        // The keeper ends, and with it the notices.
        while started.notices.recv().await.is_some() {}
    }
}

/// `name#slot=state/pid/restarts` of each instance.
fn show(snapshot: &Arc<Snapshot>) -> String {
    let views = snapshot.instances.iter().map(|view| {
        let state: InstanceState = view.state;
        format!("{}={state}/{}/{}", view.id, view.pid.unwrap_or(0), view.restarts)
    });
    views.collect::<Vec<_>>().join(" ")
}

/// Counts the daemons of a state folder, as the store does for a real one.
fn next_epoch(dir: &Path) -> u32 {
    let path = dir.join("test-epoch");
    let last: u32 = std::fs::read_to_string(&path).map_or(0, |text| text.parse().unwrap());
    std::fs::write(&path, (last + 1).to_string()).unwrap();
    last + 1
}

fn service(name: &str, program: &str, args: &[&str]) -> ServiceSpec {
    let log = || {
        let name = name.to_owned();
        Output::Log(LogTarget { name, slot: 1, max_bytes: 1 << 20, max_age_s: 0 })
    };
    let mut argv = vec![program.to_owned()];
    argv.extend(args.iter().map(|&arg| arg.to_owned()));
    let plan = Plan {
        env: [("PATH", "/bin:/usr/bin")].into_iter().collect(),
        stdout: log(),
        stderr: log(),
        ..Plan::new(InstanceId::new(name, 1), InstanceKind::Service, program, argv)
    };
    let mut spec = InstanceSpec::new(plan);
    spec.backoff = Backoff { base: Duration::ZERO, ..Backoff::SERVICE };
    ServiceSpec::new(name, spec)
}

fn specs() -> Vec<ServiceSpec> {
    let sh = |name: &str, script: &str| service(name, "/bin/sh", &["-c", script]);
    let mut said = sh("said", "echo warming; echo all set; exec sleep 1000");
    let timeout = Duration::from_secs(30);
    said.instance.ready = Some(Ready { by: ReadyBy::Log("^all set$".into()), timeout });
    let mut web = service("web", "/bin/sleep", &["1000"]);
    web.depends_on = vec![Dependency { name: "said".into(), until: Until::Ready }];
    let mut rude = sh("rude", "trap '' TERM; while :; do sleep 1; done");
    rude.instance.stop.timeout = Duration::from_millis(200);
    let mut loud = sh("loud", "echo first >&2; echo the end is near >&2; exit 3");
    loud.instance.restart = ganger_supervise::Restart::Never;
    let mut missing = service("missing", "/no/such/program", &[]);
    missing.instance.backoff.base = Duration::from_secs(600);
    missing.instance.backoff.max = Duration::from_secs(600);
    missing.instance.backoff.jitter = false;
    vec![said, web, rude, loud, missing]
}
