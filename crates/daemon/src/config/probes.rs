//! `ready`, `startup` and `live`: how it is seen that an instance is up and works.

use std::time::Duration;

use ganger_core::Dur;
use hyper::Uri;

use super::model::{HttpAddress, Live, LiveCheck, Pings, Program, Ready, ReadyCheck};
use super::program::arguments;
use super::resolve::{in_range, not_zero};
use super::values::{Command, Time};
use super::walk::{At, Key, Walk, section};

/// Where nothing is said; Kubernetes and Nomad are between 1 s and 10 s, with three failures.
const READY_TIMEOUT: Dur = Dur(Duration::from_secs(30));
const EVERY: Dur = Dur(Duration::from_secs(5));
const TIMEOUT: Dur = Dur(Duration::from_secs(2));
const FAILURES: u32 = 3;
/// A watchdog speaks by itself: each silence counts, and it is longer.
const WATCHDOG_EVERY: Dur = Dur(Duration::from_secs(30));
const WATCHDOG_FAILURES: u32 = 1;
const FAILURES_MAX: u32 = 100;
/// A check costs a connection or a process: more of them a second is load, not watching.
const EVERY_MIN: Duration = Duration::from_millis(100);
/// Beyond a day a time is a typing error.
const TIME_MAX: Duration = Duration::from_secs(86_400);

section! {
    /// The sign that an instance is up: exactly one of `http`, `tcp`, `exec`, `log`, `notify`, `channel`, `uptime`.
    struct RawReady in "`ready`" {
        /// A GET of this is answered with a status from 200 to 399: "http://127.0.0.1:3000/health" or ":3000/health".
        http: String,
        /// A TCP connection to this "host:port" or ":port" is accepted.
        tcp: String,
        /// This program exits with 0; it runs as the instance does, in its folder and with its environment.
        exec: Command,
        /// A line of its output matches this regular expression.
        log: String,
        /// It says READY=1 to NOTIFY_SOCKET, as sd_notify(3) does.
        notify: bool,
        /// It sends "ready" over its channel, as process.send('ready') does.
        channel: bool,
        /// It has been up this long.
        uptime: Time,
        /// Not so after this is a failure of the start. Default: "30s".
        timeout: Time,
    }
}

section! {
    /// What shows that a running instance works: exactly one of `http`, `tcp`, `exec`, `notify`.
    struct RawLive in "`live`" {
        /// A GET of this is answered with a status from 200 to 399: "http://127.0.0.1:3000/health" or ":3000/health".
        http: String,
        /// A TCP connection to this "host:port" or ":port" is accepted.
        tcp: String,
        /// This program exits with 0; it runs as the instance does, in its folder and with its environment.
        exec: Command,
        /// It says WATCHDOG=1 to NOTIFY_SOCKET by itself at least once in `every`, which stands in its WATCHDOG_USEC; a
        /// silent one gets SIGABRT.
        notify: bool,
        /// From one check to the next. Default: "5s", with `notify` "30s".
        every: Time,
        /// An answer that takes longer is a bad one. Default: "2s".
        timeout: Time,
        /// So many bad answers in a row, and the process is stopped and started again. Default: 3, with `notify` 1.
        failures: u32,
    }
}

section! {
    /// Whether a worker's process still answers.
    struct RawPings in "`live`" {
        /// It answers pings over its channel, which the SDKs do by themselves; a handler that holds Node's only thread for
        /// longer than `every` times `failures` is a hang.
        channel: bool,
        /// From one ping to the next. Default: "5s".
        every: Time,
        /// So many intervals without an answer, and the process is stopped and started again. Default: 3.
        failures: u32,
    }
}

/// A pool's `live`. `asked`: its workers can be asked at all.
pub(super) fn pings(
    said: Option<&At<RawPings>>,
    asked: bool,
    walk: &mut Walk<'_>,
) -> Option<Pings> {
    let At { span, value: keys } = said?;
    if !asked {
        walk.error(span.clone(), "raw workers and commands know nothing of pings").help(
            "`live` is for workers with an SDK, or that answer {\"$ping\":1} with {\"$pong\":1}"
                .into(),
        );
    }
    if !keys.channel.or(false) {
        walk.error(span.clone(), "`live` of a pool needs `channel = true`");
    }
    let every = interval(&keys.every, EVERY, walk);
    let failures = in_range(&keys.failures, FAILURES, 1, FAILURES_MAX, walk);
    Some(Pings { every, failures })
}

/// `ready` or `startup`, whichever `what` is.
pub(super) fn ready(
    what: &str,
    said: Option<&At<RawReady>>,
    program: &Program,
    walk: &mut Walk<'_>,
) -> Option<Ready> {
    let At { span, value: keys } = said?;
    let mut checks = Vec::new();
    if let Some(At { span, value }) = &keys.log.0 {
        if let Err(error) = regex::Regex::new(value) {
            walk.error(span.clone(), format!("not a regular expression: {}", last_line(&error)));
        }
        checks.push(ReadyCheck::Log(value.clone()));
    }
    checks.extend(keys.tcp.0.as_ref().map(|at| ReadyCheck::Tcp(tcp(at, walk))));
    checks.extend(keys.http.0.as_ref().map(|at| ReadyCheck::Http(http(at, walk))));
    checks.extend(keys.exec.0.as_ref().map(|at| ReadyCheck::Exec(exec(at, program, walk))));
    if keys.notify.or(false) {
        checks.push(ReadyCheck::Notify);
    }
    if keys.channel.or(false) {
        checks.push(ReadyCheck::Channel);
    }
    let timeout = time(&keys.timeout, READY_TIMEOUT, walk);
    if let Some(At { span, value }) = &keys.uptime.0 {
        if value.0.0 >= timeout.0 {
            walk.error(
                span.clone(),
                format!("{} is not over within the timeout of {timeout}", value.0),
            )
            .help("give it a longer `timeout`".into());
        }
        checks.push(ReadyCheck::Uptime(value.0));
    }
    if checks.len() != 1 {
        let message = format!("`{what}` needs exactly one sign, this has {}", checks.len());
        walk.error(span.clone(), message).help(
            "one of http = \":PORT/PATH\", tcp = \":PORT\", exec = [\"program\"], log = \"…\", notify = true, \
             channel = true, uptime = \"5s\""
                .into(),
        );
    }
    checks.pop().map(|check| Ready { check, timeout })
}

/// `live`.
pub(super) fn live(
    said: Option<&At<RawLive>>,
    program: &Program,
    walk: &mut Walk<'_>,
) -> Option<Live> {
    let At { span, value: keys } = said?;
    let mut checks = Vec::new();
    checks.extend(keys.tcp.0.as_ref().map(|at| LiveCheck::Tcp(tcp(at, walk))));
    checks.extend(keys.http.0.as_ref().map(|at| LiveCheck::Http(http(at, walk))));
    checks.extend(keys.exec.0.as_ref().map(|at| LiveCheck::Exec(exec(at, program, walk))));
    let notify = keys.notify.or(false);
    if notify {
        checks.push(LiveCheck::Notify);
    }
    if checks.len() != 1 {
        let message = format!("`live` needs exactly one sign, this has {}", checks.len());
        walk.error(span.clone(), message).help(
            "one of http = \":PORT/PATH\", tcp = \":PORT\", exec = [\"program\"], notify = true"
                .into(),
        );
    }
    if let Some(span) = keys.timeout.span().filter(|_| notify) {
        walk.error(span, "nothing is asked of a watchdog, so no answer has a timeout")
            .help("`every` is the longest silence".into());
    }
    let (every, failures) = match notify {
        true => (WATCHDOG_EVERY, WATCHDOG_FAILURES),
        false => (EVERY, FAILURES),
    };
    let every = interval(&keys.every, every, walk);
    let timeout = time(&keys.timeout, TIMEOUT, walk);
    let failures = in_range(&keys.failures, failures, 1, FAILURES_MAX, walk);
    checks.pop().map(|check| Live { check, every, timeout, failures })
}

fn interval(key: &Key<Time>, default: Dur, walk: &mut Walk<'_>) -> Dur {
    let every = time(key, default, walk);
    if every.0 < EVERY_MIN {
        walk.error(key.span().unwrap_or_default(), format!("{every} is too often"))
            .help(format!("at least {}", Dur(EVERY_MIN)));
    }
    every
}

fn time(key: &Key<Time>, default: Dur, walk: &mut Walk<'_>) -> Dur {
    let time = key.get().map_or(default, |time| time.0);
    not_zero(&key.span(), time, walk);
    if time.0 > TIME_MAX {
        walk.error(key.span().unwrap_or_default(), format!("{time} is too long"))
            .help(format!("at most {}", Dur(TIME_MAX)));
    }
    time
}

fn tcp(at: &At<String>, walk: &mut Walk<'_>) -> String {
    let At { span, value } = at;
    let (host, port) = value.rsplit_once(':').unwrap_or(("", ""));
    if !is_port(port) {
        walk.error(span.clone(), format!("`{value}` is not an address"))
            .help("write it like \":3000\" or \"127.0.0.1:3000\"".into());
    }
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    format!("{host}:{port}")
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn http(at: &At<String>, walk: &mut Walk<'_>) -> HttpAddress {
    let At { span, value } = at;
    match http_address(value) {
        Ok(address) => address,
        Err(why) => {
            walk.error(span.clone(), format!("`{value}` {why}"))
                .help("write it like \":3000/health\" or \"http://127.0.0.1:3000/health\"".into());
            HttpAddress { address: String::new(), path: String::new() }
        }
    }
}

fn http_address(text: &str) -> Result<HttpAddress, String> {
    let whole = match text.split_once("://") {
        Some(("http", _)) => text.to_owned(),
        Some(("https", _)) => return Err("asks for TLS, which checks don't speak".into()),
        Some((scheme, _)) => return Err(format!("is of scheme {scheme}; checks speak http")),
        None if text.starts_with(':') => format!("http://127.0.0.1{text}"),
        None => format!("http://{text}"),
    };
    let uri: Uri = whole.parse().map_err(|error| format!("is not an address: {error}"))?;
    let authority = uri.authority().ok_or("has no host")?;
    if authority.as_str().contains('@') {
        return Err("has a user in it, which checks don't send".into());
    }
    // An address of IPv6 has its colons in brackets.
    let after = authority.as_str().rsplit_once(']').map_or(authority.as_str(), |(_, after)| after);
    let address = match after.rsplit_once(':') {
        Some((_, port)) if is_port(port) => authority.as_str().to_owned(),
        Some(_) => return Err("has no port from 1 to 65535".into()),
        None => format!("{authority}:80"),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok(HttpAddress { address, path })
}

fn exec(at: &At<Command>, program: &Program, walk: &mut Walk<'_>) -> Vec<String> {
    let arguments = arguments(at, walk);
    if let Some(first) = arguments.first() {
        let path = program.env.get("PATH").or_else(|| walk.env.get("PATH")).cloned();
        let path = path.unwrap_or_default();
        super::checks::executable(first, &program.cwd, &path, at.span.clone(), walk);
    }
    arguments
}

fn last_line(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_addresses() {
        let good = |text: &str| {
            let HttpAddress { address, path } = http_address(text).unwrap();
            (address, path)
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(good(":3000/health"), pair("127.0.0.1:3000", "/health"));
        assert_eq!(good(":3000"), pair("127.0.0.1:3000", "/"));
        assert_eq!(good("http://10.0.0.7:80/a?b=c"), pair("10.0.0.7:80", "/a?b=c"));
        assert_eq!(good("http://[::1]:8080/"), pair("[::1]:8080", "/"));
        assert_eq!(good("localhost/x"), pair("localhost:80", "/x"));
        for bad in ["https://a/", "ftp://a/", "", ":0/", ":70000", "u:p@h:1/", ":x", "http:///x"] {
            assert!(http_address(bad).is_err(), "{bad}");
        }
    }
}
