//! Fifteen attacks and more, each with what it must raise and nothing else.

use ganger_audit::Severity;
use ganger_core::SignalSource;

use super::*;

/// The one incident of a story: rule, severity, technique.
fn raises(story: &Story, rule: &str, severity: Severity, technique: &str) {
    let raised = story.only();
    let incident = &raised.incident;
    assert_eq!(
        (incident.rule.as_str(), incident.severity, incident.technique.as_deref()),
        (rule, severity, Some(technique)),
        "{incident:?}"
    );
    assert_eq!(raised.change, Change::Opened);
    assert!(incident.id.starts_with(rule) && !incident.message.is_empty());
}

#[test]
fn somebody_tries_what_works() {
    let mut story = Story::plain();
    let seqs: Vec<u64> = (0..10)
        .map(|_| {
            story.wait_ms(2_000);
            story.denied("eve", "not_allowed", |_| {})
        })
        .collect();
    raises(&story, "I01", Severity::Medium, "T1083");
    assert_eq!(story.only().incident.evidence, seqs);
    assert_eq!(story.only().principal.as_ref().unwrap().name, "eve");
}

#[test]
fn somebody_finds_what_works() {
    let mut story = Story::plain();
    for _ in 0..120 {
        story.wait_ms(60_000).run("eve", "/usr/bin/git", OK);
    }
    for _ in 0..4 {
        story.wait_ms(500).denied("eve", "not_allowed", |_| {});
    }
    story.run("eve", "/usr/bin/tar", OK);
    raises(&story, "I02", Severity::Medium, "T1059.004");
    assert_eq!(story.only().incident.program, Some("/usr/bin/tar".into()));
}

#[test]
fn a_program_is_exchanged() {
    let mut story = Story::plain();
    story.denied("ada", "program_changed", |_| {});
    story.denied("bob", "program_changed", |_| {});
    raises(&story, "I03", Severity::High, "T1554");
}

#[test]
fn a_form_is_probed_for_a_shell() {
    let mut story = Story::plain();
    for flag in ["separator", "probe:substitution:1", "probe:control:0"] {
        story.wait_ms(30_000).denied("web", "value", |denied| {
            denied.argv = vec!["git".into(), "x; id".into()];
            denied.flags = vec![flag.into()];
        });
    }
    raises(&story, "I04", Severity::Medium, "T1059.004");
}

#[test]
fn a_probe_goes_on_where_it_is_plain_text() {
    let mut story = Story::plain();
    for _ in 0..30 {
        story.wait_ms(1_000).run_as(
            &who("web"),
            "/usr/bin/printf",
            OK,
            |intent| intent.flags = vec!["substitution".into()],
            |_| {},
        );
    }
    raises(&story, "I04", Severity::Medium, "T1059.004");
}

#[test]
fn an_option_that_runs_commands() {
    let mut story = Story::plain();
    story.denied("eve", "option", |denied| denied.danger = Some("command".into()));
    raises(&story, "I05", Severity::High, "T1059");
}

#[test]
fn an_option_that_sends_files_away() {
    let mut story = Story::plain();
    story.denied("eve", "option", |denied| denied.danger = Some("connect".into()));
    raises(&story, "I05", Severity::High, "T1105");
}

#[test]
fn out_of_the_folder_with_dots() {
    let mut story = Story::plain();
    story.denied("eve", "path", |denied| {
        denied.argv = vec!["cat".into(), "../../../etc/shadow".into()];
    });
    raises(&story, "I06", Severity::Medium, "T1083");
}

#[test]
fn out_of_the_folder_by_a_link() {
    let mut story = Story::plain();
    let opening = |denied: &mut Denied, why: &str| {
        denied.message =
            format!("a path \"/srv/x\" can't be opened beneath the folder that is allowed ({why})");
    };
    for _ in 0..5 {
        story.wait_ms(1_000);
        story.denied("eve", "path", |denied| {
            opening(denied, "No such file or directory (os error 2)")
        });
    }
    assert_eq!(story.raised, [], "what is missing is no attack");
    let link = "Too many levels of symbolic links (os error 40)";
    story.denied("eve", "path", |denied| opening(denied, link));
    raises(&story, "I06", Severity::Medium, "T1083");
}

#[test]
fn out_of_the_folder_again_and_again() {
    let mut story = Story::plain();
    for path in ["/etc/shadow", "/root/.ssh/id_ed25519", "/proc/1/environ"] {
        let argv = || vec!["cat".into(), path.into()];
        story.wait_ms(60_000).denied("eve", "path", |denied| denied.argv = argv());
    }
    raises(&story, "I06", Severity::Medium, "T1083");
}

#[test]
fn a_library_is_to_be_loaded() {
    let mut story = Story::plain();
    story.denied("eve", "env_danger", |_| {});
    raises(&story, "I07", Severity::High, "T1574.006");
}

#[test]
fn a_system_call_that_is_killed_for() {
    for (end, technique) in [
        (Ending::Signalled { signal: 31, core: false, by: SignalSource::Unknown }, "T1611"),
        (violation("seccomp: unshare"), "T1611"),
        (violation("seccomp: ptrace"), "T1055.008"),
        (violation("seccomp: setuid"), "T1548.001"),
        (violation("seccomp: process_vm_writev"), "T1055.008"),
        (violation("seccomp: init_module"), "T1547.006"),
        (violation("seccomp: a call that its profile ends it for"), "T1611"),
    ] {
        let mut story = Story::plain();
        story.run("eve", "/usr/bin/python3", end);
        raises(&story, "I08", Severity::High, technique);
    }
}

#[test]
fn packets_past_the_network() {
    for end in [violation("seccomp: socket"), violation("socket: vsock")] {
        let mut story = Story::plain();
        story.run("eve", "/usr/bin/python3", end);
        raises(&story, "I10", Severity::High, "T1071");
    }
}

fn flagged(story: &mut Story, flag: &'static str) {
    let seen = |outcome: &mut Outcome| outcome.flags = vec![flag.into()];
    story.wait_ms(1_000).run_as(&who("eve"), "/usr/bin/python3", OK, |_| {}, seen);
}

#[test]
fn processes_are_left_again_and_again() {
    let mut story = Story::plain();
    flagged(&mut story, "residue:1");
    flagged(&mut story, "residue:1");
    assert_eq!(story.raised, [], "git tidies up in the background");
    flagged(&mut story, "residue:2");
    raises(&story, "I13", Severity::Medium, "T1611");
    let mut story = Story::plain();
    flagged(&mut story, "stuck:1");
    raises(&story, "I13", Severity::Critical, "T1611");
}

#[test]
fn a_key_is_printed() {
    let mut story = Story::plain();
    flagged(&mut story, "secret:private_key");
    raises(&story, "I20", Severity::Medium, "T1552");
}

#[test]
fn a_secret_file_is_reached_for() {
    let mut story = Story::plain();
    story.run("eve", "/usr/bin/python3", violation("landlock: /etc/shadow"));
    raises(&story, "I09", Severity::High, "T1005");
}

#[test]
fn code_from_memory() {
    let mut story = Story::plain();
    story.run("eve", "/usr/bin/python3", violation("exec: memfd"));
    raises(&story, "I11", Severity::High, "T1620");
    let mut story = Story::plain();
    story.run("eve", "/usr/bin/python3", violation("seccomp: execveat"));
    raises(&story, "I11", Severity::High, "T1620");
}

#[test]
fn bombs() {
    let mut story = Story::plain();
    let limit = |limit: &str| Ending::LimitHit { limit: limit.into(), peak: 9 };
    for end in [limit("memory"), limit("pids"), Ending::TimedOut { after_ms: 1 }] {
        story.wait_ms(10_000).run("eve", "/usr/bin/python3", end);
    }
    raises(&story, "I12", Severity::Low, "T1499.001");
    for _ in 0..7 {
        story.wait_ms(10_000).run("eve", "/usr/bin/python3", limit("memory"));
    }
    let worse = story.raised.last().unwrap();
    assert_eq!((worse.change, worse.incident.severity), (Change::Worse, Severity::Medium));
    assert_eq!(worse.incident.count, 10);
}

#[test]
fn something_outlives_its_run() {
    let mut story = Story::plain();
    story.run("eve", "/usr/bin/python3", violation("residue: 1 process left"));
    raises(&story, "I13", Severity::Critical, "T1611");
}

#[test]
fn a_storm_of_requests() {
    let mut story = Story::plain();
    for _ in 0..150 {
        story.wait_ms(100).denied("eve", "rate", |_| {});
    }
    raises(&story, "I14", Severity::Medium, "T1499");
}

#[test]
fn a_stolen_key_at_night() {
    let mut story = Story::plain();
    for _ in 0..8 {
        for _ in 0..16 {
            story.wait_ms(30 * 60_000).run("ada", "/usr/bin/git", OK);
        }
        story.wait_ms(16 * 3_600_000);
    }
    assert_eq!(story.opened(), [""; 0]);
    story.wait_ms(16 * 3_600_000).run("ada", "/usr/bin/git", OK);
    raises(&story, "I15", Severity::Low, "T1078");
}

#[test]
fn a_stolen_session_from_another_program() {
    let mut story = Story::plain();
    let from = |exe: &str| Principal { exe: Some(exe.into()), ..who("ada") };
    for _ in 0..101 {
        story.wait_ms(1_000).run_as(&from("/usr/bin/bash"), "/usr/bin/git", OK, |_| {}, |_| {});
    }
    story.run_as(&from("/tmp/x"), "/usr/bin/git", OK, |_| {}, |_| {});
    raises(&story, "I15", Severity::Low, "T1078");
}

#[test]
fn something_was_exchanged_while_no_daemon_was_there() {
    for (doubt, rule, technique, severity) in [
        ("program_changed", "I03", "T1554", Severity::High),
        ("not_loaded", "I17", "T1562.001", Severity::Critical),
    ] {
        let mut story = Story::plain();
        let loaded = PolicyLoaded {
            policy: "fetch".into(),
            sha256: Some("aaaa".into()),
            resumed: true,
            doubt: Some(doubt.into()),
            ..PolicyLoaded::default()
        };
        story.event(None, None, Event::Record(Record::PolicyLoaded(loaded)));
        raises(&story, rule, severity, technique);
    }
}

#[test]
fn a_policy_is_changed_past_ganger() {
    let mut story = Story::plain();
    story.load("aaaa", None);
    story.load("cccc", Some("bbbb"));
    raises(&story, "I17", Severity::Critical, "T1562.001");
    let mut story = Story::plain();
    story.load("aaaa", None);
    let other = |intent: &mut Intent| intent.policy_sha256 = Some("bbbb".into());
    story.run_as(&who("ada"), "/usr/bin/git", OK, other, |_| {});
    raises(&story, "I17", Severity::Critical, "T1562.001");
}

#[test]
fn the_log_is_tampered_with() {
    let mut story = Story::plain();
    story.event(None, None, recovered());
    raises(&story, "I18", Severity::Critical, "T1070");
    let mut story = Story::plain();
    story.run("ada", "/usr/bin/git", OK);
    story.seq += 1;
    story.run("ada", "/usr/bin/git", OK);
    raises(&story, "I18", Severity::Critical, "T1070");
    let mut story = Story::plain();
    story.raised = story.detector.fault("line 7 is no record");
    raises(&story, "I18", Severity::Critical, "T1070");
}

#[test]
fn a_layer_goes_missing() {
    let mut story = Story::plain();
    let loses = |what: &'static [&'static str]| {
        move |outcome: &mut Outcome| {
            outcome.degraded = what.iter().map(|what| missing(what)).collect()
        }
    };
    let ada = who("ada");
    // What a machine never had is no incident.
    story.run_as(&ada, "/usr/bin/git", OK, |_| {}, loses(&["memory limit"]));
    story.run_as(&ada, "/usr/bin/git", OK, |_| {}, loses(&["memory limit"]));
    story.run_as(&ada, "/usr/bin/git", OK, |_| {}, loses(&["memory limit", "landlock"]));
    raises(&story, "I19", Severity::High, "T1562");
    // Over the end of a daemon, whose successor says again which policies are in force; another policy may ask for less.
    for (next, told) in [("aaaa", &["I19"][..]), ("bbbb", &[])] {
        let mut story = Story::plain();
        story.load("aaaa", None);
        story.run_as(&ada, "/usr/bin/git", OK, |_| {}, |_| {});
        story.load(next, Some("aaaa"));
        story.run_as(&ada, "/usr/bin/git", OK, |_| {}, loses(&["landlock"]));
        assert_eq!(story.opened(), told);
    }
    let mut story = Story::plain();
    let refused = Ending::CouldNotSpawn { step: "sandbox".into(), errno: 1 };
    story.run("ada", "/usr/bin/git", refused);
    raises(&story, "I19", Severity::High, "T1562");
}
