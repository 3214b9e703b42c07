//! Attacks that need more than one command.

use anyhow::Result;
use std::fs;
use std::os::unix::fs::symlink;

use super::Verdict;
use super::daemon::Daemon;
use super::play::PWNED;
use super::policies::{is_denied, shown};

/// What became of one, and why.
pub(super) type Judged = Result<(Verdict, String)>;

/// One of them.
pub(super) struct Story {
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    pub(super) play: fn(&Daemon<'_>) -> Judged,
    /// It changes what others on the machine would notice.
    pub(super) alone: bool,
}

pub(super) const fn story(
    id: &'static str,
    what: &'static str,
    play: fn(&Daemon<'_>) -> Judged,
) -> Story {
    Story { id, what, play, alone: false }
}

pub(super) const STORIES: [Story; 13] = [
    story("A05", "a link to another program where the allowed one was", linked),
    story("A06", "a hard link of another program where the allowed one was", other),
    story("A06w", "another program written into the allowed one", written),
    story("A07", "another program between decision and execution", raced),
    story("C08", "a forged line of the log", forged),
    story("C09", "an escape sequence in what is shown", escapes),
    story("C09h", "markup in the report", markup),
    story("E12", "an archive with a file that belongs elsewhere", archive),
    story("G16n", "a call that no kernel has", no_such_call),
    story("J02", "more often than its rate", seldom),
    story("J12r", "a config that does not load", reloaded),
    story("J13", "a secret in the log or in what is told", secret),
    story("J15", "which paths there are, by what is told", oracle),
];

/// After everything else.
pub(super) const LAST: [Story; 1] = [story("J05", "the log after all of it", whole)];

/// Puts something where a pinned tool was: it runs by itself, and not by its policy.
fn replaced(daemon: &Daemon<'_>, name: &str, put: fn(&Daemon<'_>, &str) -> Result<()>) -> Judged {
    let honest = daemon.verb(&["exec", name, "--", "who"])?;
    if !honest.has_line("honest") {
        return Ok((Verdict::Unshown, format!("{}\nit never ran", honest.text)));
    }
    put(daemon, name)?;
    let path = daemon.path(name).display().to_string();
    let control = daemon.run(&[&path, "who"], "control")?;
    if !control.has_line(PWNED) {
        return Ok((Verdict::Void, control.text));
    }
    daemon.fresh()?;
    let said = daemon.verb(&["exec", name, "--", "who"])?;
    let new = daemon.fresh()?;
    Ok(if said.has_line(PWNED) {
        (Verdict::Hole, said.text)
    } else if is_denied(&new, "program_changed") && said.code == Some(6) {
        (Verdict::Blocked, said.text)
    } else {
        (Verdict::Unshown, format!("{}\nrecorded: [{}]", said.text, shown(&new)))
    })
}

fn linked(daemon: &Daemon<'_>) -> Judged {
    replaced(daemon, "linked", |daemon, name| {
        fs::remove_file(daemon.path(name))?;
        Ok(symlink(daemon.stage().path("attack"), daemon.path(name))?)
    })
}

fn other(daemon: &Daemon<'_>) -> Judged {
    replaced(daemon, "other", |daemon, name| {
        fs::remove_file(daemon.path(name))?;
        Ok(fs::hard_link(daemon.stage().path("ro/able"), daemon.path(name))?)
    })
}

/// The same file, with other bytes and its old times.
fn written(daemon: &Daemon<'_>) -> Judged {
    replaced(daemon, "written", |daemon, name| {
        let path = daemon.path(name);
        let times = fs::metadata(&path)?.modified()?;
        let mut bytes = fs::read(&path)?;
        let end = bytes.len() - 6;
        bytes[end..].copy_from_slice(b"FOREIN");
        fs::write(&path, bytes)?;
        Ok(fs::File::options().write(true).open(&path)?.set_modified(times)?)
    })
}

/// A link that leads to the allowed file and to another one by turns, as fast as it goes.
fn raced(daemon: &Daemon<'_>) -> Judged {
    use std::sync::atomic::{AtomicBool, Ordering};
    /// Starts by the link; enough for both outcomes.
    const RUNS: usize = 40;
    let (link, evil) = (daemon.path("racer"), daemon.stage().path("attack"));
    let (honest, fresh) = (daemon.path("racer-honest"), daemon.path("racer.new"));
    let path = link.display().to_string();
    let (done, swap) = (AtomicBool::new(false), |to: &std::path::Path| -> Result<()> {
        symlink(to, &fresh)?;
        Ok(fs::rename(&fresh, &link)?)
    });
    let (swaps, control, told) = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| -> Result<u64> {
            let mut swaps = 0;
            while !done.load(Ordering::Relaxed) {
                swap(&evil)?;
                swap(&honest)?;
                swaps += 2;
            }
            Ok(swaps)
        });
        let play = || -> Result<(bool, Vec<String>)> {
            let mut control = false;
            for _ in 0..RUNS {
                control |= daemon.run(&[&path, "who"], "control")?.has_line(PWNED);
            }
            let all = (0..RUNS).map(|_| Ok(daemon.verb(&["exec", "racer", "--", "who"])?.text));
            Ok((control, all.collect::<Result<_>>()?))
        };
        let played = play();
        done.store(true, Ordering::Relaxed);
        let swaps = swapper.join().map_err(|_| anyhow::anyhow!("the swapper panicked"))??;
        let (control, told) = played?;
        anyhow::Ok((swaps, control, told))
    })?;
    let with = |word: &str| told.iter().filter(|text| text.contains(word)).count();
    let (pwned, ran, denied) = (with(PWNED), with("honest"), with("program_changed"));
    let text = format!("{swaps} swaps: {ran} ran the allowed file, {denied} denied, of {RUNS}");
    Ok(if !control {
        (Verdict::Void, text)
    } else if pwned > 0 {
        (Verdict::Hole, text)
    } else if ran + denied == RUNS && ran > 0 && denied > 0 {
        (Verdict::Blocked, text)
    } else {
        (Verdict::Unshown, text)
    })
}

/// The control is a log that is written as it comes.
fn forged(daemon: &Daemon<'_>) -> Judged {
    const LINE: &str = r#"{"event":"allowed"}"#;
    let argument = format!("{{ro}}\n{LINE}");
    let control = daemon.run(&["printf", "%s\\n", &argument], "control")?;
    if !control.has_line(LINE) {
        return Ok((Verdict::Void, control.text));
    }
    let said = daemon.verb(&["exec", "find", "--", &argument])?;
    let log = daemon.log()?;
    let shown = daemon.verb(&["audit", "tail"])?;
    let forged = log.lines().any(|line| line == LINE);
    let verdict = if forged || [&said, &shown].iter().any(|it| it.has_line(LINE)) {
        Verdict::Hole
    } else if said.code == Some(6) && log.contains(r#"\u000a{\"event\":\"allowed\"}"#) {
        Verdict::Blocked
    } else {
        Verdict::Unshown
    };
    Ok((verdict, said.text))
}

/// Title of the window, a C1 control, text that runs the other way.
fn escapes(daemon: &Daemon<'_>) -> Judged {
    const TEXT: &str = "\u{1b}]0;title\u{7}\u{9b}31m\u{202e}gnorw";
    let wild = |text: &str| text.chars().any(|c| TEXT.contains(c) && !c.is_ascii_graphic());
    if !wild(&daemon.run(&["printf", "%s\\n", TEXT], "control")?.text) {
        return Ok((Verdict::Void, "printf shows none".to_owned()));
    }
    daemon.fresh()?;
    let mut told = daemon.verb(&["exec", "echo", "--", "echo", TEXT])?.text;
    told += &daemon.verb(&["exec", TEXT, "--", "echo"])?.text;
    let denied = daemon.fresh()?.len();
    for verb in [&["audit", "tail"][..], &["audit", "search"], &["incident", "list"]] {
        told += &daemon.verb(verb)?.text;
    }
    told += &daemon.log()?.replace('\n', " ");
    Ok(if wild(&told) {
        (Verdict::Hole, told)
    } else if denied == 2 {
        (Verdict::Blocked, "written out wherever it is shown".to_owned())
    } else {
        (Verdict::Unshown, told)
    })
}

fn markup(daemon: &Daemon<'_>) -> Judged {
    const TEXT: &str = "<script>PWNED</script>";
    daemon.verb(&["exec", TEXT, "--", TEXT])?;
    daemon.verb(&["exec", "cat", "--", TEXT])?;
    let page = daemon.path("report.html");
    let out = page.display().to_string();
    let said = daemon.verb(&["report", "security", "--format", "html", "--output", &out])?;
    let html = fs::read_to_string(&page).unwrap_or_default();
    Ok(if html.contains(TEXT) {
        (Verdict::Hole, html)
    } else if html.contains("&lt;script&gt;PWNED") {
        (Verdict::Blocked, "escaped in the page".to_owned())
    } else {
        (
            Verdict::Unshown,
            format!("{}\nthe page of {} bytes does not show it", said.text, html.len()),
        )
    })
}

fn archive(daemon: &Daemon<'_>) -> Judged {
    let planted = daemon.stage().path("home/planted");
    let there = || fs::remove_file(&planted).is_ok();
    let control = daemon.run(&["tar", "-xPf", "{ro}/evil.tar", "-C", "{rw}"], "control")?;
    if !there() {
        return Ok((Verdict::Void, control.text));
    }
    daemon.fresh()?;
    let said =
        daemon.verb(&["exec", "untar", "--", "-x", "-P", "-f", "{ro}/evil.tar", "-C", "{rw}"])?;
    let new = daemon.fresh()?;
    let ran = new
        .iter()
        .any(|record| record["event"] == "outcome" && record["body"]["end"]["how"] == "exited");
    Ok(if there() {
        (Verdict::Hole, said.text)
    } else if ran && said.code != Some(0) {
        (Verdict::Blocked, said.text)
    } else {
        (Verdict::Unshown, format!("{}\nrecorded: [{}]", said.text, shown(&new)))
    })
}

/// As on a kernel that lacks it, so that programs fall back. There is no way in which it could succeed.
fn no_such_call(daemon: &Daemon<'_>) -> Judged {
    let said = daemon.verb(&["exec", "no-such-call", "--", "no-such-call"])?;
    let verdict = if said.has_line("ENOSYS") { Verdict::Blocked } else { Verdict::Unshown };
    Ok((verdict, said.text))
}

/// The first is the control: it is allowed.
fn seldom(daemon: &Daemon<'_>) -> Judged {
    limited(daemon, "seldom", || Ok(()))
}

/// Asks twice, with something between.
pub(super) fn limited(daemon: &Daemon<'_>, name: &str, between: fn() -> Result<()>) -> Judged {
    let ask = || daemon.verb(&["exec", name, "--", "say"]);
    let first = ask()?;
    between()?;
    daemon.fresh()?;
    let second = ask()?;
    let verdict = if !first.has_line(PWNED) {
        Verdict::Void
    } else if second.has_line(PWNED) {
        Verdict::Hole
    } else if second.code == Some(LIMITED) && is_denied(&daemon.fresh()?, "rate") {
        Verdict::Blocked
    } else {
        Verdict::Unshown
    };
    Ok((verdict, second.text))
}

/// "Too often or too many at once".
pub(super) const LIMITED: i32 = 10;

/// The policies that are in force stay so.
fn reloaded(daemon: &Daemon<'_>) -> Judged {
    let file = daemon.path("ganger.toml");
    let good = fs::read_to_string(&file)?;
    let wide = good.replace("uids = [4242]", "uids = [0, 65534]\nnonsense = true");
    fs::write(&file, wide)?;
    let loaded = daemon.verb(&["up", "-d"])?;
    let theirs = daemon.verb(&["exec", "theirs", "--", "say"])?;
    let ours = daemon.verb(&["exec", "say", "--", "say"])?;
    fs::write(&file, good)?;
    Ok(if theirs.has_line(PWNED) {
        (Verdict::Hole, theirs.text)
    } else if loaded.code == Some(3) && ours.has_line(PWNED) && theirs.code == Some(6) {
        (Verdict::Blocked, loaded.text.lines().next().unwrap_or_default().to_owned())
    } else {
        (Verdict::Unshown, format!("{}{}{}", loaded.text, theirs.text, ours.text))
    })
}

/// A secret where it belongs, and where no rule expects one. The control is a word of a policy that knows of no secret.
fn secret(daemon: &Daemon<'_>) -> Judged {
    const SECRET: &str = "hunter2hunter2";
    const WORD: &str = "everybodys-word";
    daemon.verb(&["exec", "echo", "--", "echo", WORD])?;
    let mut told = String::new();
    for args in [
        &["exec", "login", "--", "variable", "--token=hunter2hunter2"][..],
        &["exec", "login", "--", "variable", "--token", SECRET],
        &["exec", "login", "--", "variable", "--tokn=hunter2hunter2"],
        &["exec", "login", "--", "variable", "-thunter2hunter2"],
        &["exec", "login", "--json", "--", "variable", "-v", "--toke", SECRET],
    ] {
        told += &daemon.verb(args)?.text;
    }
    let log = daemon.log()?;
    let verdict = if !log.contains(WORD) {
        Verdict::Void
    } else if log.contains(SECRET) || told.contains(SECRET) {
        Verdict::Hole
    } else {
        Verdict::Blocked
    };
    Ok((verdict, told))
}

/// What is there and may not be had, and what is not there; whose policy it is, and none. To the programs themselves they differ.
fn oracle(daemon: &Daemon<'_>) -> Judged {
    let cat = |name: &str| daemon.run(&["cat", &format!("{{ro}}/{name}")], "control");
    if cat("link")?.text == cat("lost")?.text.replace("lost", "link") {
        return Ok((Verdict::Void, "cat tells them alike".to_owned()));
    }
    let path = |name: &str| daemon.verb(&["exec", "cat", "--", &format!("{{ro}}/{name}")]);
    let policy = |name: &str| daemon.verb(&["exec", name, "--", "say"]);
    let pairs = [
        (path("link")?, path("lost")?, ["link", "lost"]),
        (path("away/secret")?, path("gone/secret")?, ["away", "gone"]),
        (policy("theirs")?, policy("nobody")?, ["theirs", "nobody"]),
    ];
    for (there, not, [is, none]) in pairs {
        let told = not.text.replace(none, is);
        if there.text != told || there.code != not.code {
            return Ok((Verdict::Hole, format!("{}{}", there.text, not.text)));
        }
        if there.code != Some(6) {
            return Ok((Verdict::Unshown, there.text));
        }
    }
    Ok((Verdict::Blocked, "told alike".to_owned()))
}

fn whole(daemon: &Daemon<'_>) -> Judged {
    let said = daemon.verb(&["audit", "verify"])?;
    let verdict = if said.code == Some(0) { Verdict::Blocked } else { Verdict::Unshown };
    Ok((verdict, said.text))
}
