//! What is allowed, before it is a filter.

use std::collections::BTreeMap;

use rustix::io::Errno;
use syscalls::Sysno;

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is made.
    Allow,
    /// It fails with this errno.
    Fail(Errno),
    /// It is made if its argument is as it should be, and fails with this errno if not.
    If(Check, Errno),
    /// As `If`, but some values of an argument end the process.
    IfNotEnd(Ends, Check, Errno),
    /// It ends the process, by SIGSYS.
    End,
}

/// Values of the low half of one argument (see [`Check`]) that end the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// The argument's number.
    pub argument: u8,
    /// The values.
    pub values: Vec<u32>,
}

/// A look at the low 32 bits of an argument: the kernel takes these alone for a family, a command, flags of clone(2) or an
/// operation, so looking at 64 would let a set high bit pass by a comparison (CVE-2019-10063).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Argument number and the values it may have.
    OneOf(u8, Vec<u32>),
    /// Argument number and the values it may not have.
    NoneOf(u8, Vec<u32>),
    /// Argument number and the bits that may not be set.
    Without(u8, u32),
    /// Argument number, the bits that are looked at, and the values that these may have.
    MaskedOneOf(u8, u32, Vec<u32>),
    /// Argument number and the values it may have; or two arguments that both are as said.
    OneOfOrBoth(u8, Vec<u32>, [(u8, u32); 2]),
}

impl Check {
    /// Whether a call with these arguments passes.
    #[must_use]
    pub fn passes(&self, args: &[u64; 6]) -> bool {
        let low = |at: u8| args.get(usize::from(at)).map_or(0, |arg| (*arg & 0xffff_ffff) as u32);
        match self {
            Self::OneOf(at, values) => values.contains(&low(*at)),
            Self::NoneOf(at, values) => !values.contains(&low(*at)),
            Self::Without(at, bits) => low(*at) & bits == 0,
            Self::MaskedOneOf(at, mask, values) => values.contains(&(low(*at) & mask)),
            Self::OneOfOrBoth(at, values, both) => {
                values.contains(&low(*at)) || both.iter().all(|(at, value)| low(*at) == *value)
            }
        }
    }
}

/// The verdict of every call. What has none fails with EPERM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules(BTreeMap<u32, Verdict>);

impl Rules {
    /// Nothing is allowed.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Decides about calls by name. A name that this machine's ABI doesn't have (open(2) on aarch64) is passed over: there is no
    /// number to decide about.
    pub fn set(&mut self, names: &[&str], verdict: &Verdict) {
        let numbers = names.iter().filter_map(|name| name.parse::<Sysno>().ok());
        self.0.extend(numbers.map(|call| (number(call), verdict.clone())));
    }

    /// What becomes of a call of this ABI.
    #[must_use]
    pub fn verdict(&self, call: u32) -> Verdict {
        match self.0.get(&call) {
            Some(verdict) => verdict.clone(),
            None if Sysno::new(call as usize).is_some() => Verdict::Fail(Errno::PERM),
            None => Verdict::Fail(Errno::NOSYS),
        }
    }

    /// What becomes of a call by its name; one that this ABI doesn't have is as one that nobody knows.
    pub(super) fn of(&self, name: &str) -> Verdict {
        let call = name.parse::<Sysno>().ok();
        call.map_or(Verdict::Fail(Errno::NOSYS), |call| self.verdict(number(call)))
    }

    /// The first number that no call of this ABI has, as far as is known here.
    #[must_use]
    pub fn end() -> u32 {
        number(Sysno::last()) + 1
    }
}

/// Numbers of calls are small and positive.
fn number(call: Sysno) -> u32 {
    call.id().unsigned_abs()
}
