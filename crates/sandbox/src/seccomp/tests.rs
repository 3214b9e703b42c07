mod kernel;
mod machine;

use proptest::prelude::*;
use rustix::io::Errno;

use super::{Calls, Check, Filter, Rules, Verdict};
use machine::{Call, Outcome, run};

fn outcome(verdict: &Verdict, args: &[u64; 6]) -> Outcome {
    match verdict {
        Verdict::Allow => Outcome::Allow,
        Verdict::Fail(errno) => Outcome::Fail(errno.raw_os_error()),
        Verdict::If(check, _) if check.passes(args) => Outcome::Allow,
        Verdict::If(_, errno) => Outcome::Fail(errno.raw_os_error()),
    }
}

fn any_check() -> impl Strategy<Value = Check> {
    let values = || proptest::collection::vec(0..8_u32, 0..5);
    prop_oneof![
        (0..6_u8, values()).prop_map(|(at, values)| Check::OneOf(at, values)),
        (0..6_u8, values()).prop_map(|(at, values)| Check::NoneOf(at, values)),
        (0..6_u8, 0..8_u32).prop_map(|(at, bits)| Check::Without(at, bits)),
        (0..6_u8, 0..8_u32, values())
            .prop_map(|(at, mask, values)| Check::MaskedOneOf(at, mask, values)),
    ]
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Allow),
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
        let length = Filter::of(&calls.rules()).instructions().len();
        assert!(length < 200, "{calls:?} has {length} instructions");
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
