//! The kernel's machine for classic BPF over `struct seccomp_data`, as far as filters of ours use it.

use ganger_sys::seccomp::Instruction;

/// `struct seccomp_data` of linux/seccomp.h.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) arch: u32,
    pub(super) args: [u64; 6],
}

impl Call {
    pub(super) fn native(number: u32) -> Self {
        let arch = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
        Self { number, arch, args: [0; 6] }
    }

    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16..64 => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
            }
            other => panic!("a load from {other}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Allow,
    Fail(i32),
    Kill,
}

/// Runs a filter; panics where the kernel would refuse it.
pub(super) fn run(filter: &[Instruction], call: &Call) -> Outcome {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let it = &filter[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { it.jt } else { it.jf });
        match it.code {
            0x20 => accumulator = call.word(it.k),
            0x54 => accumulator &= it.k,
            0x05 => at += it.k as usize,
            0x15 => at += jump(accumulator == it.k),
            0x35 => at += jump(accumulator >= it.k),
            0x45 => at += jump(accumulator & it.k != 0),
            0x06 => return ended(it.k),
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn ended(value: u32) -> Outcome {
    match value & 0xffff_0000 {
        0x7fff_0000 => Outcome::Allow,
        0x8000_0000 => Outcome::Kill,
        0x0005_0000 => Outcome::Fail(i32::try_from(value & 0xffff).expect("16 bits")),
        other => panic!("action {other:#x}"),
    }
}
