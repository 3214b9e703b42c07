//! Any single tamper of a log is found. `GANGER_TAMPERS=10000` does more of them, `GANGER_SEED` others.

use ganger_audit::verify::{Fault, Report};
use ganger_audit::{Hash, Log};

use crate::{Home, Image, fill, image, put, runtime, segments};

/// A log with its witness, and how it was half way.
struct Case {
    name: &'static str,
    log: Image,
    witness: Image,
    /// The log's folder after half of its records.
    older: Image,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One closed in order, and one whose writer was killed: a copy taken between two appends is just that.
fn cases(home: &Home) -> Vec<Case> {
    runtime().block_on(async {
        let log = Log::open(home.options()).unwrap();
        fill(&log, 0..22).await;
        let older = image(&home.folder());
        fill(&log, 22..45).await;
        let (killed, killed_witness) = (image(&home.folder()), image(&home.witness()));
        log.close().await.unwrap();
        let closed = (image(&home.folder()), image(&home.witness()));
        vec![
            Case { name: "closed", log: closed.0, witness: closed.1, older: older.clone() },
            Case { name: "killed", log: killed, witness: killed_witness, older },
        ]
    })
}

#[test]
fn every_single_tamper_is_found() {
    let tampers = number("GANGER_TAMPERS", 500);
    let seed = number("GANGER_SEED", 1);
    let home = Home::new();
    let cases = cases(&home);
    for case in &cases {
        assert!(segments(&case.log).len() >= 4, "the log should have some segments");
        let report = check(&home, &case.log, &case.witness);
        assert_eq!((report.finding, report.unsigned), (None, 0), "{}", case.name);
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut by_kind = std::collections::BTreeMap::new();
    for n in 0..tampers {
        let case = &cases[random.usize(..cases.len())];
        let kind = random.usize(..KINDS.len());
        let (name, tamper) = KINDS[kind];
        let mut log = case.log.clone();
        tamper(&mut log, &case.older, &mut random);
        if log == case.log {
            continue;
        }
        *by_kind.entry(name).or_insert(0) += 1;
        let report = check(&home, &log, &case.witness);
        // A record put behind the signed end of a log whose writer was killed can't be told from one that the writer had
        // not signed yet: it is reported as that, and never silently. Nothing that was there is touched by that.
        let unsigned =
            case.name == "killed" && is_appended(&log, &case.log) && report.unsigned == 1;
        let told = report.finding.is_some() || unsigned;
        assert!(told, "tamper {n} ({name}) of the {} log was not found; seed {seed}", case.name);
    }
    assert!(by_kind.len() == KINDS.len() || tampers < 500, "kinds that never came: {by_kind:?}");
}

/// All that was there is there as it was, and one segment, the last, is longer.
fn is_appended(log: &Image, before: &Image) -> bool {
    let last = segments(before).pop().unwrap();
    log.keys().eq(before.keys())
        && log.iter().all(|(name, bytes)| {
            if *name == last { bytes.starts_with(&before[name]) } else { *bytes == before[name] }
        })
}

/// A bit of the second place: of its head, its checkpoints or its copy of the key.
#[test]
fn every_changed_bit_of_the_witness_is_found() {
    let tampers = number("GANGER_TAMPERS", 500) / 10;
    let home = Home::new();
    let mut random = fastrand::Rng::with_seed(number("GANGER_SEED", 1));
    for case in &cases(&home) {
        for _ in 0..tampers {
            let mut witness = case.witness.clone();
            flip(&mut witness, &case.older, &mut random);
            let report = check(&home, &case.log, &witness);
            assert!(report.finding.is_some(), "{}: {report:?}", case.name);
        }
    }
}

fn check(home: &Home, log: &Image, witness: &Image) -> Report {
    put(log, &home.folder());
    put(witness, &home.witness());
    home.verify()
}

type Tamper = fn(&mut Image, &Image, &mut fastrand::Rng);

const KINDS: [(&str, Tamper); 12] = [
    ("flip a bit", flip),
    ("delete a line", delete),
    ("swap two lines", swap),
    ("double a line", double),
    ("forge a line", forge),
    ("change and chain anew", rechain),
    ("delete and number anew", renumber),
    ("cut the tail", cut),
    ("cut the tail at a line and put an old head back", cut_with_head),
    ("delete a segment", delete_segment),
    ("swap two segments", swap_segments),
    ("put an older copy back", older_copy),
];

fn any_segment<'a>(log: &'a mut Image, random: &mut fastrand::Rng) -> &'a mut Vec<u8> {
    let names = segments(log);
    log.get_mut(&names[random.usize(..names.len())]).unwrap()
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn flip(log: &mut Image, _: &Image, random: &mut fastrand::Rng) {
    let names: Vec<String> = log
        .keys()
        .filter(|name| !["lock", "audit.key"].contains(&name.as_str()))
        .cloned()
        .collect();
    let bytes = log.get_mut(&names[random.usize(..names.len())]).unwrap();
    let at = random.usize(..bytes.len());
    bytes[at] ^= 1 << random.u8(..8);
}

fn delete(log: &mut Image, _: &Image, random: &mut fastrand::Rng) {
    let bytes = any_segment(log, random);
    let mut lines = lines(bytes);
    lines.remove(random.usize(..lines.len()));
    *bytes = lines.concat();
}

fn swap(log: &mut Image, _: &Image, random: &mut fastrand::Rng) {
    let bytes = any_segment(log, random);
    let mut lines = lines(bytes);
    let (one, other) = (random.usize(..lines.len()), random.usize(..lines.len()));
    lines.swap(one, other);
    *bytes = lines.concat();
}

fn double(log: &mut Image, _: &Image, random: &mut fastrand::Rng) {
    let bytes = any_segment(log, random);
    let mut lines = lines(bytes);
    let line = lines[random.usize(..lines.len())].clone();
    lines.insert(random.usize(..=lines.len()), line);
    *bytes = lines.concat();
}

/// A record that fits in perfectly where it stands.
fn forge(log: &mut Image, _: &Image, random: &mut fastrand::Rng) {
    let bytes = any_segment(log, random);
    let mut lines = lines(bytes);
    let at = random.usize(1..=lines.len());
    let before = lines[at - 1].clone();
    let seq = seq_of(&before) + 1;
    let forged = format!(
        "{{\"body\":{{\"reason\":\"nothing\"}},\"event\":\"stopped\",\"mono\":1,\"prev\":\"{}\",\"seq\":{seq},\"ts\":\"2026-01-01T00:00:00.000000000Z\",\"v\":1}}\n",
        Hash::of(&before)
    );
    lines.insert(at, forged.into_bytes());
    *bytes = lines.concat();
}

/// Without the key nobody can do more than this: change a record and mend the chain to the end.
fn rechain(log: &mut Image, _: &Image, random: &mut fastrand::Rng) {
    let mut all = all_lines(log);
    let at = random.usize(..all.len());
    let line = &mut all[at].1;
    let digit = line.iter().rposition(u8::is_ascii_digit).unwrap();
    let earlier = line[..digit - 8].iter().rposition(|byte| (b'1'..=b'8').contains(byte)).unwrap();
    line[earlier] += 1;
    mend(&mut all, at + 1, 0);
    put_lines(log, &all);
}

fn renumber(log: &mut Image, _: &Image, random: &mut fastrand::Rng) {
    let mut all = all_lines(log);
    let at = random.usize(1..all.len());
    all.remove(at);
    mend(&mut all, at, 1);
    put_lines(log, &all);
}

fn cut(log: &mut Image, _: &Image, random: &mut fastrand::Rng) {
    let names = segments(log);
    let last = random.usize(..names.len());
    for name in &names[last + 1..] {
        log.remove(name);
    }
    let bytes = log.get_mut(&names[last]).unwrap();
    let keep = if last + 1 == names.len() {
        random.usize(..bytes.len())
    } else {
        random.usize(..=bytes.len())
    };
    bytes.truncate(keep);
}

/// All that an attacker without the witness can do: the log as it was, head included.
fn cut_with_head(log: &mut Image, older: &Image, _: &mut fastrand::Rng) {
    let names = segments(older);
    log.retain(|name, _| !name.ends_with(".jsonl") || names.contains(name));
    let last = names.last().unwrap();
    log.insert(last.clone(), older[last].clone());
    log.insert("head".into(), older["head"].clone());
}

fn delete_segment(log: &mut Image, _: &Image, random: &mut fastrand::Rng) {
    let names = segments(log);
    log.remove(&names[random.usize(..names.len())]);
}

fn swap_segments(log: &mut Image, _: &Image, random: &mut fastrand::Rng) {
    let names = segments(log);
    let (one, other) = (&names[random.usize(..names.len())], &names[random.usize(..names.len())]);
    let (a, b) = (log[one].clone(), log[other].clone());
    log.insert(one.clone(), b);
    log.insert(other.clone(), a);
}

fn older_copy(log: &mut Image, older: &Image, _: &mut fastrand::Rng) {
    *log = older.clone();
}

fn all_lines(log: &Image) -> Vec<(String, Vec<u8>)> {
    let names = segments(log);
    names
        .iter()
        .flat_map(|name| lines(&log[name]).into_iter().map(|line| (name.clone(), line)))
        .collect()
}

fn put_lines(log: &mut Image, all: &[(String, Vec<u8>)]) {
    for name in segments(log) {
        let text = all.iter().filter(|(of, _)| *of == name).flat_map(|(_, line)| line.clone());
        log.insert(name.clone(), text.collect());
    }
}

fn seq_of(line: &[u8]) -> u64 {
    serde_json::from_slice::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap()
}

/// Makes every line from `from` on name the hash of the one before it, and a number lower by `less`.
fn mend(all: &mut [(String, Vec<u8>)], from: usize, less: u64) {
    for at in from.max(1)..all.len() {
        let hash = Hash::of(&all[at - 1].1).to_string();
        let line = String::from_utf8(all[at].1.clone()).unwrap();
        let seq = seq_of(line.as_bytes());
        let prev = line.find("\"prev\":\"").unwrap() + 8;
        let mut line = format!("{}{hash}{}", &line[..prev], &line[prev + 64..]);
        let tail = line.rfind(&format!("\"seq\":{seq},")).unwrap();
        let rest = line.split_off(tail);
        line += &rest.replacen(&format!("\"seq\":{seq},"), &format!("\"seq\":{},", seq - less), 1);
        all[at].1 = line.into_bytes();
    }
}

#[test]
fn the_first_bad_place_is_named() {
    let home = Home::new();
    let [closed, killed] = &cases(&home)[..] else { panic!("two cases") };
    let names = segments(&closed.log);
    let found = |log: &Image, case: &Case| check(&home, log, &case.witness).finding.unwrap();

    let mut log = closed.log.clone();
    let mut second = lines(&log[&names[1]]);
    let text = String::from_utf8(second[4].clone()).unwrap();
    let seq = seq_of(&second[4]);
    second[4] = text.replace("\"uid\":1", "\"uid\":2").replace("\"why\":", "\"wha\":").into_bytes();
    log.insert(names[1].clone(), second.concat());
    let finding = found(&log, closed);
    if finding.fault == Fault::Changed {
        assert_eq!((finding.segment, finding.line, finding.seq), (2, 5, Some(seq)));
    } else {
        assert_eq!((finding.segment, finding.line), (2, 5), "{finding}");
    }

    let mut log = closed.log.clone();
    let mut third = lines(&log[&names[2]]);
    let gone = seq_of(&third.remove(2));
    log.insert(names[2].clone(), third.concat());
    let finding = found(&log, closed);
    assert_eq!(finding.fault, Fault::Deleted { expected: gone, found: gone + 1 });
    assert_eq!((finding.segment, finding.line), (3, 3));

    let mut log = closed.log.clone();
    log.remove(&names[1]);
    let finding = found(&log, closed);
    assert_eq!((finding.segment, &finding.fault), (2, &Fault::SegmentMissing));

    let older = found(&killed.older, killed);
    assert!(matches!(older.fault, Fault::OlderCopy { .. }), "{older}");
    let mut log = killed.log.clone();
    let last = segments(&log).pop().unwrap();
    log.get_mut(&last).unwrap().pop();
    assert!(found(&log, killed).fault.is_rollback());
}
