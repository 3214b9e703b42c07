//! Rules as a filter.

use std::collections::BTreeMap;

use ganger_sys::seccomp::{FILTER_MAX, Instruction};

use super::{Check, Ends, Rules, Verdict};

/// `offsetof(struct seccomp_data, …)` of linux/seccomp.h: the number, the architecture, the first argument (eight bytes each).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 of linux/audit.h.
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;

/// __X32_SYSCALL_BIT of asm/unistd.h: on x86-64 the same architecture word, other pointers. No call has such a number elsewhere.
const X32: u32 = 0x4000_0000;

/// SECCOMP_RET_* of linux/seccomp.h.
const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;

/// Codes of classic BPF: load a word, and with a constant, jump always, if equal, if greater or equal, if a bit is set, return.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// A filter that the kernel takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Vec<Instruction>);

/// Numbers from `start` to the next range's start.
struct Range {
    start: u32,
    verdict: Verdict,
}

impl Filter {
    /// The filter of these rules.
    ///
    /// # Panics
    /// Never for rules with fewer than a thousand checks: the result is far below the kernel's limit.
    #[must_use]
    pub fn of(rules: &Rules) -> Self {
        let mut out = vec![
            load(ARCH),
            Instruction { code: IF_EQUAL, jt: 1, jf: 0, k: NATIVE },
            ret(KILL_PROCESS),
            load(NUMBER),
            Instruction { code: IF_AT_LEAST, jt: 0, jf: 1, k: X32 },
            ret(KILL_PROCESS),
        ];
        out.extend(Backwards::search(&ranges(rules)));
        assert!(out.len() <= FILTER_MAX, "{} instructions", out.len());
        Self(out)
    }

    /// What the kernel is given.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }
}

/// Neighbours of one verdict are one range; a call whose argument counts stands alone.
fn ranges(rules: &Rules) -> Vec<Range> {
    let mut all: Vec<Range> = Vec::new();
    for start in 0..=Rules::end() {
        let verdict = rules.verdict(start);
        let joins = all.last().is_some_and(|last| {
            last.verdict == verdict && !matches!(verdict, Verdict::If(..) | Verdict::IfNotEnd(..))
        });
        if !joins {
            all.push(Range { start, verdict });
        }
    }
    all
}

/// The search, written from its end, so that each jump knows how far its target is: filters jump forward only, and a condition
/// 255 instructions at most. Returns are shared while they are in reach.
#[derive(Default)]
struct Backwards {
    /// The last instruction first.
    code: Vec<Instruction>,
    /// Where each return was written last, by its operand.
    returns: BTreeMap<u32, usize>,
}

/// How far a condition jumps here: two more instructions may still come between.
const REACH: usize = 250;

impl Backwards {
    /// A balanced search; the number is in the accumulator at each of its nodes.
    fn search(ranges: &[Range]) -> impl Iterator<Item = Instruction> {
        let mut it = Self::default();
        let root = it.tree(ranges);
        it.entry(root);
        it.code.into_iter().rev()
    }

    /// Writes the nodes of a tree; a lone return is left to whoever jumps to it.
    fn tree(&mut self, ranges: &[Range]) -> Target {
        let (below, above) = ranges.split_at(ranges.len() / 2);
        let Some(first) = above.first() else { return Target::Return(KILL_PROCESS) };
        if below.is_empty() {
            return self.leaf(&first.verdict);
        }
        let (above, below) = (self.tree(above), self.tree(below));
        let (above, below) = (self.near(above), self.near(below));
        let at = self.code.len();
        let distance = |to: usize| u8::try_from(at - to - 1).expect("near");
        let (jt, jf) = (distance(above), distance(below));
        self.code.push(Instruction { code: IF_AT_LEAST, jt, jf, k: first.start });
        Target::Code(at)
    }

    fn leaf(&mut self, verdict: &Verdict) -> Target {
        match verdict {
            Verdict::Allow => Target::Return(ALLOW),
            Verdict::Fail(errno) => Target::Return(fail(*errno).k),
            Verdict::End => Target::Return(KILL_PROCESS),
            Verdict::IfNotEnd(ends, check, errno) => {
                self.code.extend(checked(check, fail(*errno)).into_iter().rev());
                self.code.extend(ended(ends).into_iter().rev());
                Target::Code(self.code.len() - 1)
            }
            Verdict::If(check, errno) => {
                self.code.extend(checked(check, fail(*errno)).into_iter().rev());
                Target::Code(self.code.len() - 1)
            }
        }
    }

    /// A place of that target that the next instruction's condition reaches.
    fn near(&mut self, target: Target) -> usize {
        let far = |at: &usize| self.code.len() - at > REACH;
        match target {
            Target::Code(at) if far(&at) => {
                let k = u32::try_from(self.code.len() - at - 1).expect("within a filter");
                self.code.push(Instruction { code: JUMP, jt: 0, jf: 0, k });
                self.code.len() - 1
            }
            Target::Code(at) => at,
            Target::Return(k) => match self.returns.get(&k).filter(|at| !far(at)) {
                Some(at) => *at,
                None => {
                    self.code.push(ret(k));
                    self.returns.insert(k, self.code.len() - 1);
                    self.code.len() - 1
                }
            },
        }
    }

    /// The target is what comes first.
    fn entry(&mut self, target: Target) {
        if let Target::Return(k) = target {
            self.code.push(ret(k));
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Target {
    /// Written there.
    Code(usize),
    /// A return of this.
    Return(u32),
}

fn checked(check: &Check, fails: Instruction) -> Vec<Instruction> {
    let (arg, mask, values, wanted) = match check {
        Check::OneOf(arg, values) => (arg, None, values, true),
        Check::NoneOf(arg, values) => (arg, None, values, false),
        Check::MaskedOneOf(arg, mask, values) => (arg, Some(*mask), values, true),
        Check::Without(arg, bits) => {
            let any = Instruction { code: IF_ANY_BIT, jt: 0, jf: 1, k: *bits };
            return vec![load_arg(*arg), any, fails, ret(ALLOW)];
        }
        Check::OneOfOrBoth(arg, values, [first, second]) => {
            let mut out = vec![load_arg(*arg)];
            for value in values {
                out.push(Instruction { code: IF_EQUAL, jt: 0, jf: 1, k: *value });
                out.push(ret(ALLOW));
            }
            let is = |jf, k| Instruction { code: IF_EQUAL, jt: 0, jf, k };
            out.extend([load_arg(first.0), is(3, first.1), load_arg(second.0), is(1, second.1)]);
            out.extend([ret(ALLOW), fails]);
            return out;
        }
    };
    let mut out = vec![load_arg(*arg)];
    out.extend(mask.map(|k| Instruction { code: AND, jt: 0, jf: 0, k }));
    let (found, otherwise) = if wanted { (ret(ALLOW), fails) } else { (fails, ret(ALLOW)) };
    for value in values {
        out.push(Instruction { code: IF_EQUAL, jt: 0, jf: 1, k: *value });
        out.push(found);
    }
    out.push(otherwise);
    out
}

/// What comes before a check: it is gone on with for all other values.
fn ended(ends: &Ends) -> Vec<Instruction> {
    let mut out = vec![load_arg(ends.argument)];
    for value in &ends.values {
        out.push(Instruction { code: IF_EQUAL, jt: 0, jf: 1, k: *value });
        out.push(ret(KILL_PROCESS));
    }
    out
}

const fn load(k: u32) -> Instruction {
    Instruction { code: LOAD, jt: 0, jf: 0, k }
}

/// The low half of an argument; both architectures are little-endian.
fn load_arg(at: u8) -> Instruction {
    load(ARGS + 8 * u32::from(at))
}

const fn ret(k: u32) -> Instruction {
    Instruction { code: RETURN, jt: 0, jf: 0, k }
}

const fn fail(errno: rustix::io::Errno) -> Instruction {
    ret(ERRNO | errno.raw_os_error() as u32)
}
