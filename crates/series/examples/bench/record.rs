//! The recorder: twelve metrics of each process, as the sampler has them, a line a process and tick.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What workers do: bursts of allocation, steady hashing, small requests, waiting, forking, writing.
const PROGRAMS: [&[&str]; 8] = [
    &[
        "python3",
        "-c",
        "import time,random\nk=[]\nwhile 1:\n k.append(bytearray(random.randint(1000,400000)))\n if len(k)>300: k=k[150:]\n sum(range(20000)); time.sleep(random.expovariate(20))",
    ],
    &[
        "python3",
        "-c",
        "import hashlib,time,json\nn=0\nwhile 1:\n n+=1; d=json.dumps({'n':n,'x':[n]*200}); hashlib.sha256(d.encode()*20).digest(); time.sleep(0.002 if n%1000<500 else 0.02)",
    ],
    &[
        "node",
        "-e",
        "const c=require('crypto');let m=new Map(),i=0;setInterval(()=>{for(let k=0;k<Math.random()*40;k++){m.set(i++%5000,c.randomBytes(2000).toString('hex'))}},10)",
    ],
    &[
        "node",
        "-e",
        "const h=require('http');h.createServer((q,r)=>r.end('x'.repeat(1000))).listen(0,function(){const p=this.address().port;(function f(){h.get({port:p},r=>{r.resume();r.on('end',()=>setTimeout(f,Math.random()*20))})})()})",
    ],
    &["sh", "-c", "while :; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; sleep 0.2; done"],
    &[
        "python3",
        "-c",
        "import time,tempfile,os\nf=tempfile.TemporaryFile()\nwhile 1:\n f.write(os.urandom(50000)); f.flush()\n if f.tell()>5e6: f.seek(0)\n time.sleep(0.05)",
    ],
    &["sleep", "100000"],
    &["python3", "-c", "import time\nwhile 1: time.sleep(1)"],
];
/// Names of the values of a line.
pub(crate) const METRICS: [&str; 12] = [
    "cpu_user",
    "cpu",
    "rss",
    "threads",
    "fds",
    "minor_faults",
    "major_faults",
    "read_bytes",
    "write_bytes",
    "voluntary_switches",
    "involuntary_switches",
    "swap",
];

struct Programs(Vec<Child>);

impl Drop for Programs {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn record(file: &Path, seconds: u64, hz: u32) {
    let started = PROGRAMS.iter().filter_map(|words| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().ok()
    });
    let programs = Programs(started.collect());
    let own = std::process::id();
    let mut pids: Vec<u32> = programs.0.iter().map(Child::id).collect();
    let others = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        entry.ok()?.file_name().to_str()?.parse().ok().filter(|pid| *pid != own)
    });
    let others: Vec<u32> = others.collect();
    pids.extend(others.into_iter().filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok()));
    pids.sort_unstable();
    pids.dedup();
    let mut out = BufWriter::new(fs::File::create(file).unwrap());
    let (_stop, stopped) = std::sync::mpsc::channel::<()>();
    let begin = Instant::now();
    for tick in 0..seconds * u64::from(hz) {
        let due = begin + Duration::from_secs(1) * tick as u32 / hz;
        // Nobody ever stops it: this is the clock's tick.
        let _ = stopped.recv_timeout(due.saturating_duration_since(Instant::now()));
        for pid in &pids {
            if let Some(row) = row(*pid) {
                let row = row.map(|value| value.to_string()).join(" ");
                writeln!(out, "{tick} {pid} {row}").unwrap();
            }
        }
    }
    println!("{} ticks of {} processes at {hz} Hz", seconds * u64::from(hz), pids.len());
}

fn row(pid: u32) -> Option<[i64; 12]> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let stat = read("stat")?;
    let stat: Vec<i64> = stat[stat.rfind(')')? + 2..]
        .split(' ')
        .skip(1)
        .map(|word| word.trim().parse().unwrap_or(0))
        .collect();
    let io = read("io").unwrap_or_default();
    let status = read("status")?;
    let of = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok()).unwrap_or(0)
    };
    let mut cpu = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).unwrap_or_default();
        cpu += text.split(' ').next().and_then(|ns| ns.parse::<i64>().ok()).unwrap_or(0);
    }
    let fds = fs::metadata(format!("/proc/{pid}/fd")).map_or(0, |meta| meta.len() as i64);
    Some([
        stat[10] * 100,
        cpu / 100_000,
        of(&status, "VmRSS:"),
        stat[16],
        fds,
        stat[6],
        stat[8],
        of(&io, "read_bytes:") + of(&io, "rchar:"),
        of(&io, "write_bytes:") + of(&io, "wchar:"),
        of(&status, "voluntary_ctxt_switches:"),
        of(&status, "nonvoluntary_ctxt_switches:"),
        of(&status, "VmSwap:"),
    ])
}
