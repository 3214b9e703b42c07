//! Word count of files: `wordcount [--slots N] PATTERN…` writes `word TAB count` in the order of bytes to standard output
//! and wall time, processor time and rate to standard error.
#![expect(clippy::print_stderr, reason = "a command")]

use std::io::{BufWriter, Write as _};
use std::time::Instant;

use ganger_mapreduce::input::{Format, Inputs, SplitSize, Splits};
use ganger_mapreduce::local;
use ganger_mapreduce::operators::WordCount;
use ganger_mapreduce::table::merged;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut slots = std::thread::available_parallelism()?.get();
    if arguments.first().is_some_and(|first| first == "--slots") {
        slots = arguments.get(1).ok_or("--slots needs a number")?.parse()?;
        arguments.drain(..2);
    }
    let start = Instant::now();
    let inputs = Inputs::list(&arguments)?;
    let bytes = inputs.bytes();
    let splits = Splits::plan(inputs, Format::Lines, SplitSize::ForSlots(slots), 16 << 20)?;
    let counters = (0..slots).map(|_| WordCount::default()).collect();
    let counters = local::each_block(&splits, counters, |counter: &mut WordCount, block| {
        counter.feed(block.bytes);
        Ok::<(), Error>(())
    })?;
    let counted = start.elapsed();
    let words: u64 = counters.iter().map(WordCount::words).sum();
    let runs = local::at_once(counters, |mut counter| counter.take_sorted());
    let sorted = start.elapsed();
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let mut distinct = 0_u64;
    merged(&runs, |word, count| {
        distinct += 1;
        out.write_all(word)?;
        writeln!(out, "\t{count}")
    })?;
    out.flush()?;
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "{bytes} bytes, {words} words, {distinct} distinct, {slots} slots: {seconds:.3} s, {:.0} MB/s (counted {:.3} s, sorted {:.3} s)",
        bytes as f64 / 1e6 / seconds,
        counted.as_secs_f64(),
        sorted.as_secs_f64(),
    );
    Ok(())
}
