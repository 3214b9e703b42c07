//! `cargo xtask test-kernel`: our kernel-facing tests under Debian's 6.1 kernel with cgroup v2.
//!
//! Developers' machines and build machines differ in kernel and cgroup hierarchy; what most people run is cgroup v2. So
//! QEMU boots Debian's cloud kernel in software emulation (no KVM is needed, none is used: nested KVM hangs on some
//! machines) with an initramfs that holds busybox, our test programs and the `ganger` binary, each at the path where
//! cargo built it. The guest runs them one after another, as root and as an unprivileged user with a delegated
//! cgroup, and tells how each ended over the serial line.
//!
//! ```text
//! packages  apt-get download + dpkg -x   ─┐
//! suite     cargo test --no-run, build   ─┼→ initramfs → guest (QEMU) → report
//! ```

mod attacks;
mod cpio;
mod guest;
mod initramfs;
mod packages;
mod suite;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::tally::Tally;

pub(crate) use attacks::attacks;

/// Builds, boots, runs, prints one line per unit. `only` keeps the units whose name contains one of its words.
///
/// `release_binary` is what the smoke script drives; the test programs are cargo's debug build.
pub(crate) fn test_kernel(only: &[String]) -> Result<Tally> {
    let began = Instant::now();
    let cache = crate::build::cache_dir("kernel")?;
    let tools = packages::ensure(&cache)?;
    let suite = suite::build(only)?;
    if suite.units.is_empty() {
        bail!("no unit of the kernel suite matches {only:?}");
    }
    let image = cache.join("initramfs.cpio");
    let bytes = initramfs::write(&image, &tools, &suite)?;
    println!(
        "test-kernel: {} units, initramfs {} MB, ready after {:.0} s",
        suite.units.len(),
        bytes / 1_000_000,
        began.elapsed().as_secs_f64()
    );
    guest::run(&tools, &image, &suite, "", &cache.join("console.log"))
}
