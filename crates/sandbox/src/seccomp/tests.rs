mod kernel;
mod machine;

use proptest::prelude::*;
use rustix::io::Errno;

use super::{Calls, Check, Ends, Filter, Rules, Verdict};
use machine::{Call, Outcome, run};

fn outcome(verdict: &Verdict, args: &[u64; 6]) -> Outcome {
    match verdict {
        Verdict::Allow => Outcome::Allow,
        Verdict::Fail(errno) => Outcome::Fail(errno.raw_os_error()),
        Verdict::If(check, _) if check.passes(args) => Outcome::Allow,
        Verdict::If(_, errno) => Outcome::Fail(errno.raw_os_error()),
        Verdict::End => Outcome::Kill,
        Verdict::IfNotEnd(ends, check, errno) => {
            let value = (args[usize::from(ends.argument)] & 0xffff_ffff) as u32;
            let ended = ends.values.contains(&value);
            let otherwise = || outcome(&Verdict::If(check.clone(), *errno), args);
            if ended { Outcome::Kill } else { otherwise() }
        }
    }
}

fn values() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(0..8_u32, 0..5)
}

fn any_check() -> impl Strategy<Value = Check> {
    prop_oneof![
        (0..6_u8, values()).prop_map(|(at, values)| Check::OneOf(at, values)),
        (0..6_u8, values()).prop_map(|(at, values)| Check::NoneOf(at, values)),
        (0..6_u8, 0..8_u32).prop_map(|(at, bits)| Check::Without(at, bits)),
        (0..6_u8, 0..8_u32, values())
            .prop_map(|(at, mask, values)| Check::MaskedOneOf(at, mask, values)),
        (0..6_u8, values(), [(0..6_u8, 0..3_u32), (0..6_u8, 0..3_u32)])
            .prop_map(|(at, values, both)| Check::OneOfOrBoth(at, values, both)),
    ]
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    let ends = (0..6_u8, values()).prop_map(|(argument, values)| Ends { argument, values });
    prop_oneof![
        Just(Verdict::Allow),
        Just(Verdict::End),
        (ends, any_check()).prop_map(|(ends, check)| Verdict::IfNotEnd(ends, check, Errno::INVAL)),
        Just(Verdict::Fail(Errno::NOSYS)),
        any_check().prop_map(|check| Verdict::If(check, Errno::INVAL)),
    ]
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let names: Vec<&'static str> = syscalls::Sysno::iter().map(|call| call.name()).collect();
    let one = (proptest::sample::select(names), any_verdict());
    proptest::collection::vec(one, 0..120).prop_map(|all| {
        let mut rules = Rules::new();
        all.iter().for_each(|(name, verdict)| rules.set(&[name], verdict));
        rules
    })
}

proptest! {
    /// The filter says what the rules say, of each number and whatever stands in the high halves of arguments.
    #[test]
    fn a_filter_is_its_rules(rules in any_rules(), args in proptest::array::uniform6(0..8_u64), high in any::<u32>()) {
        let filter = Filter::of(&rules);
        let args = args.map(|low| low | u64::from(high) << 32);
        for number in 0..Rules::end() + 100 {
            let call = Call { args, ..Call::native(number) };
            prop_assert_eq!(run(filter.instructions(), &call), outcome(&rules.verdict(number), &args));
        }
    }
}

#[test]
fn other_abis_are_killed() {
    for calls in [Calls::Strict, Calls::Standard, Calls::Build] {
        let filter = Filter::of(&calls.rules());
        let run = |call: &Call| run(filter.instructions(), call);
        assert_eq!(run(&Call { arch: 0x4000_0003, ..Call::native(1) }), Outcome::Kill, "i386");
        assert_eq!(run(&Call::native(0x4000_0001)), Outcome::Kill, "x32");
        assert_eq!(run(&Call::native(u32::MAX)), Outcome::Kill);
    }
}

#[test]
fn filters_are_short() {
    for calls in [Calls::Strict, Calls::Standard, Calls::Build] {
        for rules in [calls.rules(), calls.watched()] {
            let length = Filter::of(&rules).instructions().len();
            assert!(length < 250, "{calls:?} has {length} instructions");
        }
    }
}

/// Each name of the sets is a call of some architecture: a slip of the pen would be passed over.
#[test]
fn the_sets_name_real_calls() {
    let here = |name: &&str| name.parse::<syscalls::Sysno>().is_ok();
    let unknown: Vec<&str> = super::sets::all()
        .into_iter()
        .filter(|name| cfg!(target_arch = "x86_64") && !here(name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn a_larger_set_allows_what_the_smaller_does() {
    let sets = [Calls::Strict, Calls::Standard, Calls::Build].map(Calls::rules);
    for number in 0..Rules::end() {
        for pair in sets.windows(2) {
            let [small, large] = pair else { unreachable!("windows of two") };
            if small.verdict(number) == Verdict::Allow {
                assert_eq!(large.verdict(number), Verdict::Allow, "{number}");
            }
        }
    }
}

#[test]
fn of_netlink_routes_are_all_that_is_had() {
    let number = syscalls::Sysno::socket.id().unsigned_abs();
    for (calls, had) in [(Calls::Strict, false), (Calls::Standard, true), (Calls::Build, true)] {
        let filter = Filter::of(&calls.rules());
        let allowed = |family, protocol| {
            let args = [family, 3, protocol, 0, 0, 0];
            run(filter.instructions(), &Call { args, ..Call::native(number) }) == Outcome::Allow
        };
        assert_eq!((allowed(2, 0), allowed(16, 0)), (had, had), "{calls:?}");
        // sock_diag, audit, netfilter, kobject_uevent, generic; packet, alg, vsock with that protocol.
        assert!([4, 9, 12, 15, 16].iter().all(|protocol| !allowed(16, *protocol)));
        assert!([17, 38, 40].iter().all(|family| !allowed(*family, 0)), "{calls:?}");
    }
}

#[test]
fn dangerous_calls_are_in_no_set() {
    let never = [
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "keyctl",
        "add_key",
        "request_key",
        "kexec_load",
        "kexec_file_load",
        "init_module",
        "finit_module",
        "delete_module",
        "open_by_handle_at",
        "io_uring_setup",
        "io_uring_enter",
        "mount",
        "umount2",
        "move_mount",
        "open_tree",
        "fsopen",
        "fsmount",
        "pivot_root",
        "chroot",
        "setns",
        "unshare",
        "pidfd_getfd",
        "modify_ldt",
        "iopl",
        "reboot",
        "swapon",
        "settimeofday",
        "clock_settime",
        "sethostname",
        "syslog",
        "acct",
        "quotactl",
        "fanotify_init",
        "mlockall",
        "process_madvise",
    ];
    let rules = Calls::Build.rules();
    for name in never {
        let Ok(call) = name.parse::<syscalls::Sysno>() else { continue };
        let verdict = rules.verdict(call.id().unsigned_abs());
        assert_eq!(verdict, Verdict::Fail(Errno::PERM), "{name}");
    }
}

/// What is watched for is never what an honest program may do: only what fails otherwise ends, but for code without a file.
#[test]
fn only_what_fails_ends_a_watched_program() {
    for calls in [Calls::Strict, Calls::Standard, Calls::Build] {
        let (plain, watched) = (calls.rules(), calls.watched());
        let number = |name: &str| name.parse::<syscalls::Sysno>().unwrap().id().unsigned_abs();
        for call in 0..Rules::end() {
            if watched.verdict(call) == Verdict::End && call != number("execveat") {
                assert_eq!(plain.verdict(call), Verdict::Fail(Errno::PERM), "{call}");
            }
        }
        assert_eq!(watched.verdict(number("unshare")), Verdict::End);
        let traced = if calls == Calls::Build { Verdict::Allow } else { Verdict::End };
        assert_eq!(watched.verdict(number("ptrace")), traced);
        let execveat = if calls == Calls::Strict { Verdict::End } else { Verdict::Allow };
        assert_eq!(watched.verdict(number("execveat")), execveat);
        let (by_descriptor, execveat) = (calls.watched_by_descriptor(), number("execveat"));
        assert_eq!(by_descriptor.verdict(execveat), Verdict::Allow);
        for call in (0..Rules::end()).filter(|call| *call != execveat) {
            assert_eq!(by_descriptor.verdict(call), watched.verdict(call), "{call}");
        }
        let filter = Filter::of(&watched);
        let socket = |family| {
            let args = [family, 0, 0, 0, 0, 0];
            run(filter.instructions(), &Call { args, ..Call::native(number("socket")) })
        };
        assert_eq!(
            (socket(1), socket(17), socket(40)),
            (Outcome::Allow, Outcome::Kill, Outcome::Kill)
        );
        assert_ne!(socket(16), Outcome::Kill, "libraries ask netlink");
    }
}
