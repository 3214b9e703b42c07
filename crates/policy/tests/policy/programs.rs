//! Which program: paths, names, files that change, scripts, who asks.

use ganger_policy::{Code, Decision, Principal, Request, Shebang, id};
use serde_json::{Value, json};

use super::{Machine, argv, code, decide, many, one};

const HASH: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn git() -> Value {
    json!({ "program": "/usr/bin/git", "allow": [{ "subcommand": ["status"] }] })
}

#[test]
fn only_listed_programs_by_their_one_path() {
    let policies = one(&git());
    let run = |program: &str| decide(&policies, &Request::program(program, &["status"]));
    // A02: the name alone is the policy's path, whatever any PATH says.
    assert_eq!(argv(&run("git")), ["/usr/bin/git", "status"]);
    assert!(run("/usr/bin/git").is_allowed());
    for (id, program) in [
        ("A01", "/bin/sh"),
        ("A02", "./git"),
        ("A02", "bin/git"),
        ("A03", "/usr/bin/../bin/sh"),
        ("A03", "/usr/bin/../bin/git"),
        ("A03", "/usr//bin/git"),
        ("A03", "/usr/bin/./git"),
        ("A03", "/proc/self/root/usr/bin/git"),
        ("A12", "/lib64/ld-linux-x86-64.so.2"),
        ("A16", "/usr/bin/Git"),
        ("A16", "/usr/bin/gіt"),
        ("A16", "/usr/bin/git "),
        ("J15", "/nowhere"),
    ] {
        assert_eq!(code(&run(program)), Some(Code::NotAllowed), "{id} {program}");
    }
    for program in ["/usr/bin/git\0", "/usr/bin/git\x1b", "git\u{9b}"] {
        assert_eq!(code(&run(program)), Some(Code::Bytes), "A16 {program:?}");
    }
    // The control of A01: with a policy of its own it may run.
    let sh = json!({ "git": git(), "sh": { "program": "/bin/sh", "allow": [{ "args": [{ "literal": "status" }] }] } });
    assert!(
        decide(&many(&sh, &Machine::default()), &Request::program("/bin/sh", &["status"]))
            .is_allowed()
    );
    let two = json!({ "a": git(), "b": { "program": "/opt/bin/git", "allow": [{ "subcommand": ["status"] }] } });
    let two = many(&two, &Machine::default());
    assert_eq!(code(&decide(&two, &Request::program("git", &["status"]))), Some(Code::NotAllowed));
}

#[test]
fn a_file_that_is_another_now_is_not_run() {
    let machine = Machine::default();
    let policies = many(&json!({ "p": git() }), &machine);
    let run = || policies.decide(&Principal::owner(), &Request::policy("p", &["status"]), &machine);
    assert!(run().is_allowed(), "control");
    // A05, A06, A07: another inode, another size, another change time.
    let changes: [fn(&mut ganger_policy::Identity); 4] = [
        |file| file.stamp.ino += 1,
        |file| file.stamp.dev += 1,
        |file| file.stamp.size += 1,
        |file| file.stamp.ctime.1 += 1,
    ];
    for change in changes {
        let before = machine.identity("/usr/bin/git");
        machine.put("/usr/bin/git", change);
        assert_eq!(code(&run()), Some(Code::ProgramChanged));
        machine.put("/usr/bin/git", |file| *file = before);
        assert!(run().is_allowed());
    }
    // Nobody has looked at it: nothing runs.
    let unpinned =
        ganger_policy::Policies::new([("p".to_owned(), super::policy(&git()))].into()).unwrap();
    assert_eq!(
        code(&decide(&unpinned, &Request::policy("p", &["status"]))),
        Some(Code::ProgramUnsafe)
    );
}

#[test]
fn programs_that_cannot_be_trusted_are_never_run() {
    type Change = fn(&mut ganger_policy::Identity);
    let cases: [(&str, &str, Change); 6] = [
        ("A09", "may be changed by others", |file| file.writable = Some("/usr/bin".into())),
        ("A15", "setuid", |file| file.mode |= 0o4000),
        ("A15", "setuid", |file| file.mode |= 0o2000),
        ("A15", "capabilities", |file| file.capabilities = true),
        ("A12", "loader", |file| {
            file.real = "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2".into()
        }),
        ("A06", "other contents", |file| file.sha256 = Some("b".repeat(64))),
    ];
    for (id, wanted, change) in cases {
        let machine = Machine::default();
        let mut git = git();
        git["sha256"] = json!(HASH);
        let run = |machine: &Machine| {
            let policies = many(&json!({ "p": git }), machine);
            decide(&policies, &Request::policy("p", &["status"]))
        };
        assert!(run(&machine).is_allowed(), "{id} control");
        machine.put("/usr/bin/git", change);
        let Decision::Denied(denied) = run(&machine) else { panic!("{id} is allowed") };
        assert_eq!(denied.code, Code::ProgramUnsafe, "{id}");
        assert!(denied.reason.contains(wanted), "{id}: {}", denied.reason);
    }
}

#[test]
fn a_script_is_allowed_with_its_interpreter() {
    let machine = Machine::default();
    let line = |interpreter: &str, argument: Option<&str>| Shebang {
        interpreter: interpreter.into(),
        argument: argument.map(Into::into),
    };
    machine.put("/srv/run.py", |file| file.script = Some(line("/bin/sh", None)));
    let tool = |interpreter: Option<&str>| {
        let file = json!({ "path": { "access": "read", "beneath": "/srv/in" } });
        json!({ "p": { "program": "/srv/run.py", "interpreter": interpreter, "allow": [{ "args": [file] }] } })
    };
    let run = |interpreter| {
        let policies = many(&tool(interpreter), &machine);
        policies.decide(&Principal::owner(), &Request::policy("p", &["/srv/in/a"]), &machine)
    };
    // A10.
    assert_eq!(code(&run(None)), Some(Code::ProgramUnsafe));
    assert_eq!(code(&run(Some("/usr/bin/python3"))), Some(Code::ProgramUnsafe));
    assert_eq!(argv(&run(Some("/bin/sh"))), ["/bin/sh", "/srv/run.py", "--", "/srv/in/a"]);
    machine.put("/srv/run.py", |file| file.script = Some(line("/usr/bin/python3", Some("-I"))));
    let decision = run(Some("/usr/bin/python3"));
    assert_eq!(argv(&decision), ["/usr/bin/python3", "-I", "/srv/run.py", "--", "/srv/in/a"]);
    let Decision::Allowed(allowed) = decision else { panic!() };
    assert_eq!(allowed.launch.program.path, "/usr/bin/python3");
    assert_eq!(allowed.launch.paths[0].argument, 4);
    // Of `env` only what it would look up is believed, and that is not looked up.
    machine.put("/srv/run.py", |file| file.script = Some(line("/usr/bin/env", Some("python3"))));
    assert_eq!(argv(&run(Some("/usr/bin/python3")))[..2], ["/usr/bin/python3", "/srv/run.py"]);
    assert_eq!(code(&run(Some("/usr/bin/env"))), Some(Code::ProgramUnsafe));
    machine.put("/usr/bin/python3", |file| file.script = Some(line("/bin/sh", None)));
    assert_eq!(code(&run(Some("/usr/bin/python3"))), Some(Code::ProgramUnsafe));
}

#[test]
fn policies_are_for_whom_they_name() {
    let mut deploy = git();
    deploy["who"] = json!({ "uids": [1000], "gids": [50], "tokens": ["ci"] });
    let policies = many(&json!({ "deploy": deploy, "mine": git() }), &Machine::default());
    let run = |who: &Principal, name: &str| {
        policies.decide(who, &Request::policy(name, &["status"]), &Machine::default())
    };
    let uid = |uid| Principal { uid: Some(uid), ..Principal::default() };
    let gid = |gid| Principal { uid: Some(7), gids: vec![3, gid], ..Principal::default() };
    let token = |name: &str| Principal { token: Some(name.into()), ..Principal::default() };
    for who in [uid(1000), gid(50), token("ci")] {
        assert!(run(&who, "deploy").is_allowed(), "{who:?}");
        assert_eq!(code(&run(&who, "mine")), Some(Code::NotYours));
    }
    // J01 and J15: somebody else's policy and none look the same but for the code, which is the log's.
    for who in [uid(1001), gid(51), token("CI"), Principal::owner(), Principal::default()] {
        let (theirs, none) = (run(&who, "deploy"), run(&who, "nothing"));
        let (Decision::Denied(theirs), Decision::Denied(none)) = (theirs, none) else {
            panic!("{who:?}")
        };
        assert_eq!((theirs.code, none.code), (Code::NotYours, Code::NotAllowed));
        assert_eq!(theirs.reason.replace("deploy", "X"), none.reason.replace("nothing", "X"));
        assert_eq!((theirs.rule, theirs.allow), (none.rule, none.allow));
    }
    // G15.
    for text in
        ["-1", "4294967295", "65535", "4294967296", "0x0", " 0", "0 ", "00", "+0", "", "root"]
    {
        assert!(id(text).is_err(), "{text:?}");
    }
    assert_eq!((id("0"), id("1000")), (Ok(0), Ok(1000)));
}
