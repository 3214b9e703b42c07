//! Services that listen: start on demand, moves, ends. The sockets are real, the processes are not.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use super::*;
use crate::listeners::{ListenMode, Listening, Socket};

const ANY: &str = "tcp://127.0.0.1:0";

fn listening(name: &str, address: &str) -> ServiceSpec {
    let (name, mut spec) = (name.to_owned(), service(name));
    let sockets =
        vec![Socket { address: address.parse().unwrap(), name, mode: 0o600, owner: None }];
    spec.instance.listen = Some(Arc::new(Listening::new(sockets, ListenMode::Inherit)));
    spec
}

async fn port(startup: &Startup, name: &str) -> u16 {
    let views = startup.listeners.look(name).await;
    views[0].address.place().unwrap().port
}

/// Lets everybody act for so long.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn what_never_takes_its_connection_is_started_once_a_second_and_a_person_ends_that() {
    let rig = Rig::new(|plan, _| match plan.instance.name.as_str() {
        "lazy" => Act::exits(Duration::ZERO, 0),
        _ => Act::runs(),
    });
    let mut startup = begin(&rig);
    let lazy = ServiceSpec { on_demand: true, replicas: 2, ..listening("lazy", ANY) };
    let specs = vec![lazy, needing("user", "lazy", Until::Ready)];
    startup.services.apply(specs.clone(), vec![]).await.unwrap();
    seen(&mut startup.snapshot, |s| is(s, "user", 1, InstanceState::Running)).await;
    pass(SECOND * 60).await;
    assert_eq!(rig.keeper.lives("lazy", 1).await.started, 0);
    let plan = startup.snapshot.borrow().clone();
    assert_eq!(view(&plan, "lazy").reason, "waits for its first connection");

    let _waits = TcpStream::connect(("127.0.0.1", port(&startup, "lazy").await)).unwrap();
    pass(SECOND * 10).await;
    let lives = [rig.keeper.lives("lazy", 1).await, rig.keeper.lives("lazy", 2).await];
    assert!(lives.iter().all(|l| (9..=11).contains(&l.started)), "{lives:?}");

    within(startup.services.stop("lazy", None).await.unwrap().done()).await.unwrap();
    let before = rig.keeper.lives("lazy", 1).await.started;
    pass(SECOND * 60).await;
    assert_eq!(rig.keeper.lives("lazy", 1).await.started, before);

    // The next `up` wants it as configured: it dozes, and there is a connection.
    startup.services.apply(specs, vec![]).await.unwrap();
    pass(SECOND * 2).await;
    assert!(rig.keeper.lives("lazy", 1).await.started > before);
}

#[tokio::test(start_paused = true)]
async fn a_service_moves_only_to_what_can_be_had() {
    let rig = Rig::new(|_, _| Act::runs());
    let startup = begin(&rig);
    startup.services.apply(vec![listening("web", ANY)], vec![]).await.unwrap();
    let at = port(&startup, "web").await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = format!("tcp://{}", taken.local_addr().unwrap());
    let moved = vec![listening("web", &there), listening("new", &there)];
    let refused = startup.services.move_listeners(moved.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("`web`"), "{refused}");
    assert_eq!(port(&startup, "web").await, at);

    drop(taken);
    startup.services.move_listeners(moved[..1].to_vec()).await.unwrap();
    TcpStream::connect(("127.0.0.1", at))
        .expect("the old one is open until the configuration is applied");
    startup.services.apply(moved[..1].to_vec(), vec![]).await.unwrap();
    assert_ne!(port(&startup, "web").await, at);
    rig.around.processes.flush_logs().await.unwrap();
    assert!(TcpStream::connect(("127.0.0.1", at)).is_err());
    assert_eq!(rig.keeper.lives("web", 1).await.most_at_once, 1);

    within(startup.services.shutdown()).await.unwrap();
    rig.around.processes.flush_logs().await.unwrap();
    assert_eq!(rig.keeper.held().await, Vec::<String>::new());
}
