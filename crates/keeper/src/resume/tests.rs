//! What goes through exec: the shape of version 1, and every value that comes back as it went.

use ganger_core::{
    End, InstanceId, InstanceKind, SignalSource, SpawnId, StateId, Stream, Usage,
    logwire::LogTarget,
};
use ganger_sandbox::cgroup::SavedTree;
use ganger_sandbox::{Limits, Report};
use proptest::prelude::*;

use super::image::{Bytes, HelperRow, Image, Inner, SocketRow, VERSION, decode, encode};
use crate::life::{SavedClearing, SavedLife};
use crate::wire::{ChildRow, Event, Held, HeldRow, Table, Upgrade, WIRE_VERSION};

fn table() -> Table {
    let child = ChildRow {
        id: SpawnId::new(1, 7),
        instance: InstanceId::new("web", 2),
        kind: InstanceKind::Service,
        pid: 4242,
        started_at_ms: 1,
        pidfd: None,
        outcome: None,
        channel: Some(6),
        stdin: None,
        stdout: None,
        stderr: Some(7),
        tree: Some("web#2".into()),
        report: Report::default(),
        blob: "note".into(),
        exit: None,
        adopted: false,
        keep_leftovers: false,
    };
    let target = LogTarget { name: "web".into(), slot: 2, max_bytes: 1000, max_age_s: 60 };
    let what = Held::LogWrite { target, stream: Stream::Stdout };
    let upgrade = Upgrade {
        from: "0.1.0".into(),
        to: "0.2.0".into(),
        at_ms: 1_700_000_000_000,
        keeper_gap_us: 0,
        children: 1,
        on_trial: true,
        failed: None,
    };
    Table {
        version: WIRE_VERSION,
        state_id: StateId([7; 16]),
        state_dir: "/srv/.ganger".into(),
        keeper_pid: 10,
        logger_pid: Some(11),
        children: vec![child],
        held: vec![HeldRow { name: "log:web:2:stdout:w".into(), fd: 8, what }],
        lock_fd: Some(9),
        api_fd: Some(12),
        crash: None,
        degraded: vec![],
        survivors: vec![],
        upgrade: Some(upgrade),
    }
}

fn image() -> Image {
    let end = End::Signalled { signal: 15, core: false, by: SignalSource::Ganger };
    let clearing = Some(SavedClearing { asked: true, rounds: 3, leftovers: 2 });
    let tree = SavedTree {
        name: "web#2".into(),
        limits: Limits { memory: Some(1 << 30), ..Limits::default() },
        oom_kills: 1,
        pids_refused: 2,
        cpu_us: None,
        killed: true,
    };
    let inner = Inner {
        id: SpawnId::new(1, 7),
        sent: 1 << 15,
        ended: Some((end, Usage { user_us: 5, ..Usage::default() }, 1_700_000_000_000)),
        life: SavedLife { main_ended: true, told: false, keep: false, clearing },
        tree: Some(tree),
    };
    let bytes = |bytes: &[u8], fds: &[i32]| Bytes { bytes: bytes.to_vec(), fds: fds.to_vec() };
    let socket = SocketRow {
        fd: 13,
        read: bytes(&[1, 0, 0], &[]),
        unsent: vec![bytes(&[0, 255, 16], &[14, 15])],
    };
    let refused = Event::Refused { id: Some(SpawnId::new(1, 2)), why: "has ended".into() };
    Image {
        writer: "0.1.0".into(),
        paused_us: 123_456_789,
        table: table(),
        foreground: true,
        files: (1024, u64::MAX),
        inner: vec![inner],
        past: vec![(SpawnId::new(1, 2), refused)],
        retiring: vec![("web".into(), 2, Stream::Stdout)],
        flushes: vec![4],
        idle: vec!["images#1".into()],
        logger: Some(HelperRow { pid: 11, pidfd: 16, socket: None }),
        log_wire: 1,
        daemon: Some(HelperRow { pid: 12, pidfd: 17, socket: Some(socket) }),
        notified: true,
        previous: 18,
    }
}

/// What a keeper of version 1 has written is read as long as there are keepers of version 1.
#[test]
fn version_1_keeps_its_shape() {
    let path = format!("{}/tests/fixtures/keeper-state-v1", env!("CARGO_MANIFEST_DIR"));
    let written = encode(&image());
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let frozen = std::fs::read(&path).unwrap();
    let read = decode(&frozen).unwrap();
    assert_eq!(read, image());
    assert_eq!(
        String::from_utf8(written).unwrap(),
        String::from_utf8(frozen).unwrap(),
        "is it additive? then UPDATE_FIXTURES=1"
    );
}

#[test]
fn what_is_newer_or_nothing_of_the_kind_is_refused_by_name() {
    let body = String::from_utf8(encode(&image())).unwrap();
    let newer = body.replacen(&format!(" {VERSION}\n"), " 2\n", 1);
    let why = |body: &str| decode(body.as_bytes()).unwrap_err().to_string();
    assert!(why(&newer).contains("version 2"), "{}", why(&newer));
    for other in ["", "{}", "ganger keeper state \n{}", "ganger keeper state x\n{}"] {
        assert!(why(other).contains("no keeper's state"), "{other}");
    }
    assert!(why(&body[..body.len() / 2]).contains("keeper's state"));
    // A field of a later program of the same version is passed over.
    let more = body.replacen("{\"writer\"", "{\"more\":1,\"writer\"", 1);
    assert_eq!(decode(more.as_bytes()).unwrap(), image());
}

fn life() -> impl Strategy<Value = SavedLife> {
    let clearing = (any::<bool>(), any::<u32>(), any::<u32>())
        .prop_map(|(asked, rounds, leftovers)| SavedClearing { asked, rounds, leftovers });
    (any::<bool>(), any::<bool>(), any::<bool>(), prop::option::of(clearing)).prop_map(
        |(main_ended, told, keep, clearing)| SavedLife { main_ended, told, keep, clearing },
    )
}

fn some_bytes() -> impl Strategy<Value = Bytes> {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    (bytes, prop::collection::vec(3..i32::MAX, 0..4)).prop_map(|(bytes, fds)| Bytes { bytes, fds })
}

fn helper_row() -> impl Strategy<Value = HelperRow> {
    let unsent = prop::collection::vec(some_bytes(), 0..4);
    let socket = (3..i32::MAX, some_bytes(), unsent).prop_map(|(fd, read, unsent)| SocketRow {
        fd,
        read,
        unsent,
    });
    (any::<u32>(), 3..i32::MAX, prop::option::of(socket))
        .prop_map(|(pid, pidfd, socket)| HelperRow { pid, pidfd, socket })
}

fn inner() -> impl Strategy<Value = Inner> {
    let ended = (any::<i32>(), any::<u64>(), any::<u64>()).prop_map(|(code, user_us, at)| {
        (End::Exited { code }, Usage { user_us, ..Usage::default() }, at)
    });
    let tree = (".{0,20}", any::<Option<u64>>(), any::<u64>(), any::<bool>()).prop_map(
        |(name, memory, oom_kills, killed)| SavedTree {
            name,
            limits: Limits { memory, ..Limits::default() },
            oom_kills,
            pids_refused: 0,
            cpu_us: None,
            killed,
        },
    );
    (any::<u64>(), any::<u64>(), prop::option::of(ended), life(), prop::option::of(tree)).prop_map(
        |(id, sent, ended, life, tree)| Inner { id: SpawnId(id), sent, ended, life, tree },
    )
}

proptest! {
    #[test]
    fn everything_comes_back_as_it_went(
        inner in prop::collection::vec(inner(), 0..5),
        (logger, daemon) in (prop::option::of(helper_row()), prop::option::of(helper_row())),
        (name, slot, flushes) in (".{0,20}", any::<u32>(), prop::collection::vec(any::<u64>(), 0..4)),
        (paused_us, files, notified, previous) in (any::<u64>(), any::<(u64, u64)>(), any::<bool>(), 3..i32::MAX),
    ) {
        let retiring = vec![(name.clone(), slot, Stream::Stderr)];
        let image = Image {
            inner, logger, daemon, retiring, flushes, paused_us, files, notified, previous,
            idle: vec![name],
            ..image()
        };
        prop_assert_eq!(decode(&encode(&image)).unwrap(), image);
    }
}
