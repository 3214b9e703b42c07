//! Rules on threads of this process. Each thing that is refused under them succeeds without.

use std::net::{TcpListener, TcpStream};

use super::*;

/// What this gives on a thread under these rules; `None` where the kernel has no Landlock.
fn under<T: Send + 'static>(
    reach: &Reach,
    what: impl FnOnce() -> T + Send + 'static,
) -> Option<(T, Vec<&'static str>)> {
    let walls = match reach.walls() {
        Ok(walls) => walls,
        Err(error @ ReachError::Unsupported { .. }) => {
            println!("skipped: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let thread = std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).expect("no_new_privs");
        ganger_sys::landlock::restrict(&walls.ruleset).expect("the thread goes under the rules");
        what()
    });
    Some((thread.join().expect("the thread lives"), walls.missing))
}

#[test]
fn files_by_what_may_be_done_with_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let make = |name: &str| {
        std::fs::create_dir(at(name)).expect("mkdir");
        std::fs::write(at(name).join("file"), "text").expect("write");
    };
    ["read", "write", "none"].into_iter().for_each(make);
    let reach = Reach {
        read: vec![at("read"), "/etc/passwd".into()],
        write: vec![at("write")],
        signals: true,
        abstract_sockets: true,
        ..Reach::default()
    };
    let base = folder.path().to_path_buf();
    let tries = move || {
        ["read", "write", "none"].map(|name| {
            let file = base.join(name).join("file");
            (std::fs::read(&file).is_ok(), std::fs::write(&file, "new").is_ok())
        })
    };
    assert_eq!(tries.clone()(), [(true, true); 3], "the control");
    let Some((found, _)) = under(&reach, tries) else { return };
    assert_eq!(found, [(true, false), (true, true), (false, false)]);
}

#[test]
fn only_listed_programs_run() {
    let run = || std::process::Command::new("/bin/true").status().is_ok_and(|s| s.success());
    assert!(run(), "the control");
    let mut files: Vec<PathBuf> = vec!["/dev/null".into(), "/etc".into()];
    let program = Path::new("/bin/true");
    let closure = crate::closure::Closure::of(program).expect("its files");
    files.extend(closure.libraries.iter().cloned());
    let without = Reach { read: files.clone(), ..Reach::default() };
    let execute = closure.programs.iter().chain(&closure.loader).cloned().collect();
    let with = Reach { execute, ..without.clone() };
    let Some((ran, _)) = under(&without, run) else { return };
    assert!(!ran);
    assert!(under(&with, run).expect("Landlock is there").0);
}

#[test]
fn ports() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let other = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = |it: &TcpListener| it.local_addr().expect("an address").port();
    let (open, shut) = (port(&listener), port(&other));
    let reach = Reach { connect: Some(vec![open]), bind: Some(vec![]), ..Reach::default() };
    let tries = move || {
        let connects = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
        (connects(open), connects(shut), TcpListener::bind("127.0.0.1:0").is_ok())
    };
    assert_eq!(tries(), (true, true, true), "the control");
    let Some((found, missing)) = under(&reach, tries) else { return };
    if missing.iter().any(|what| what.contains("ports")) {
        println!("skipped: {missing:?}");
        return;
    }
    assert_eq!(found, (true, false, false));
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let reach = Reach { read: vec!["/not/there".into()], ..Reach::default() };
    match reach.walls() {
        Err(ReachError::Path { path, .. }) => assert_eq!(path, Path::new("/not/there")),
        Err(ReachError::Unsupported { .. }) => println!("skipped: no Landlock"),
        other => panic!("{other:?}"),
    }
}
