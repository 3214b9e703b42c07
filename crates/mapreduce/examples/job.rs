//! `job sort|words [--slots N] [--memory MIB] [--sync] --output DIR PATTERN…`: a whole job, as it is measured against its peers.
#![expect(clippy::print_stderr, reason = "a command")]

use std::path::PathBuf;
use std::time::Instant;

use ganger_mapreduce::input::{Format, Inputs, SplitSize, Splits};
use ganger_mapreduce::local::{self, Settings};
use ganger_mapreduce::sort::Spills;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let job = arguments.next().ok_or("sort or words?")?;
    let slots = std::thread::available_parallelism()?.get();
    let mut settings = Settings { slots, memory: 512 << 20, sync: false };
    let (mut output, mut patterns) = (None, Vec::new());
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("the option needs a value");
        match argument.as_str() {
            "--slots" => settings.slots = value()?.parse()?,
            "--memory" => settings.memory = value()?.parse::<usize>()? << 20,
            "--output" => output = Some(PathBuf::from(value()?)),
            "--sync" => settings.sync = true,
            _ => patterns.push(argument),
        }
    }
    let output = output.ok_or("--output DIR is missing")?;
    let start = Instant::now();
    let inputs = Inputs::list(&patterns)?;
    let bytes = inputs.bytes();
    let size = SplitSize::ForSlots(settings.slots);
    let splits = Splits::plan(inputs, Format::Lines, size, 16 << 20)?;
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.map_or_else(|| PathBuf::from("."), PathBuf::from);
    let spills = Spills::new(folder, &format!("spill-{}", std::process::id()));
    let done = match job.as_str() {
        "sort" => local::sort(&splits, settings, &spills, &output)?,
        "words" => local::count_words(&splits, settings, &spills, &output)?,
        _ => return Err("sort or words?".into()),
    };
    let seconds = start.elapsed().as_secs_f64();
    let rate = bytes as f64 / 1e6 / seconds;
    let (read, written, spilled) = (done.read, done.written, done.spilled);
    eprintln!(
        "{bytes} bytes, {read} read, {written} written, {spilled} files spilled: {seconds:.3} s, {rate:.0} MB/s"
    );
    Ok(())
}
