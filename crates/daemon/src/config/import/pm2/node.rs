//! JavaScript ecosystem files are programs: node runs them, in a process of its own with a deadline, and says JSON.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::config::checks::find_executable;

/// A configuration that takes longer waits for something that does not come.
const DEADLINE: Duration = Duration::from_secs(10);
/// As large as a configuration file may be.
const OUTPUT_MAX: u64 = 4 << 20;
/// Of node's own words shown.
const ERROR_LINES: usize = 6;

/// What the file says on stdout goes to stderr, so that nothing gets between the JSON. `import()` takes every kind of module.
const SCRIPT: &str = "\
const out = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);
import(require('url').pathToFileURL(process.argv[1]).href)
  .then(async (module) => {
    let value = await (module.default ?? module);
    if (typeof value === 'function') value = await value();
    out(JSON.stringify(value) ?? 'null', () => process.exit(0));
  })
  .catch((error) => { console.error(error?.stack ?? error); process.exit(1); });
";

/// The value a file exports.
///
/// # Errors
/// A sentence for people: no node, the file's own error, no answer in time.
pub(super) fn evaluate(path: &Path, env: &BTreeMap<String, String>) -> Result<Value, String> {
    evaluate_within(DEADLINE, path, env)
}

pub(super) fn evaluate_within(
    deadline: Duration,
    path: &Path,
    env: &BTreeMap<String, String>,
) -> Result<Value, String> {
    let search = env.get("PATH").map_or("", String::as_str);
    let node = find_executable("node", Path::new("/"), search).map_err(|why| {
        format!("this file is JavaScript and needs node to be read: `node` on PATH: {why}; install it, or `import` it where it is")
    })?;
    let mut child = Command::new(node)
        .args(["-e", SCRIPT, "--"])
        .arg(path)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("node can't be started: {error}"))?;
    let said = listen(&mut child, deadline);
    let outcome = said.map_err(|()| {
        let _ = child.kill();
        format!("node did not get to the end of this file in {} s", deadline.as_secs_f32())
    });
    let status = child.wait().map_err(|error| format!("node is lost: {error}"))?;
    let (out, err) = outcome?;
    if !status.success() {
        let lines: Vec<&str> =
            err.lines().filter(|l| !l.trim().is_empty()).take(ERROR_LINES).collect();
        return Err(format!("node can't read this file ({status}): {}", lines.join("\n")));
    }
    serde_json::from_str(&out)
        .map_err(|error| format!("what this file exports is not plain data: {error}"))
}

/// All it says, until both its streams end or the deadline is over.
fn listen(child: &mut Child, deadline: Duration) -> Result<(String, String), ()> {
    let (say, hear) = mpsc::channel();
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
    ];
    for (index, stream) in streams.into_iter().enumerate() {
        let (say, Some(stream)) = (say.clone(), stream) else { continue };
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stream.take(OUTPUT_MAX).read_to_end(&mut bytes);
            let _ = say.send((index, String::from_utf8_lossy(&bytes).into_owned()));
        });
    }
    drop(say);
    let end = std::time::Instant::now() + deadline;
    let mut said = [String::new(), String::new()];
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        match hear.recv_timeout(left) {
            Ok((index, text)) => said[index] = text,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(()),
        }
    }
    let [out, err] = said;
    Ok((out, err))
}
