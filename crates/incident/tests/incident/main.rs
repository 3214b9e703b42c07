//! Stories of attacks and days of honest work, told as records.
#![expect(clippy::unwrap_used, reason = "the whole program is a test")]

mod benign;
mod life;
mod model;
mod stories;

use ganger_audit::{
    Degraded, Denied, Ending, Entry, Event, Handling, Hash, IncidentState, Intent, Limits, Outcome,
    Own, PolicyLoaded, Principal, Program, Record, RunId, Started, Usage,
};
use ganger_incident::{Change, Detector, Raised, Settings};

/// Tells a story: makes entries as the log would have them, and hands them to a detector.
struct Story {
    detector: Detector,
    seq: u64,
    /// Nanoseconds since boot and since 1970 go together.
    now_ns: u64,
    log: Vec<Entry>,
    raised: Vec<Raised>,
}

/// Monday, 9 o'clock.
const BEGIN_S: i64 = 1_795_424_400;

fn who(name: &str) -> Principal {
    Principal { name: name.into(), uid: 1000, ..Principal::default() }
}

impl Story {
    fn new(settings: Settings) -> Self {
        let mut story = Self {
            detector: Detector::new(settings).of_whole_log(),
            seq: 0,
            now_ns: 0,
            log: Vec::new(),
            raised: Vec::new(),
        };
        let started = Started { boot_id: Some("b1".into()), ..Started::default() };
        story.event(None, None, Event::Record(Record::Started(started)));
        story
    }

    fn plain() -> Self {
        Self::new(Settings::default())
    }

    fn wait_ms(&mut self, ms: u64) -> &mut Self {
        self.now_ns += ms * 1_000_000;
        self
    }

    fn event(&mut self, principal: Option<&Principal>, run: Option<RunId>, event: Event) -> u64 {
        self.seq += 1;
        let nanos = i128::from(BEGIN_S) * 1_000_000_000 + i128::from(self.now_ns);
        let ts = ganger_time(nanos);
        let entry = Entry {
            seq: self.seq,
            ts,
            mono_ns: 5_000_000_000 + self.now_ns,
            prev: Hash([0; 32]),
            run,
            principal: principal.cloned(),
            event,
        };
        let raised = self.detector.see(&entry);
        self.log.push(entry.clone());
        // As the daemon does it: what is raised is recorded, and comes back.
        for raised in &raised {
            self.seq += 1;
            let event = Event::Record(Record::Incident(Box::new(raised.incident.clone())));
            let entry = Entry {
                seq: self.seq,
                event,
                principal: raised.principal.clone(),
                ..entry.clone()
            };
            assert_eq!(self.detector.see(&entry), []);
            self.log.push(entry);
        }
        self.raised.extend(raised);
        entry.seq
    }

    fn record(&mut self, principal: &Principal, run: Option<RunId>, record: Record) -> u64 {
        self.event(Some(principal), run, Event::Record(record))
    }

    fn denied(&mut self, name: &str, reason: &str, change: impl FnOnce(&mut Denied)) -> u64 {
        let mut denied = Denied {
            policy: "fetch".into(),
            rule: None,
            reason: reason.into(),
            message: format!("denied for {reason}"),
            program: Some("/usr/bin/git".into()),
            argv: vec!["git".into(), "log".into()],
            at: None,
            flags: Vec::new(),
            allow: None,
            danger: None,
        };
        change(&mut denied);
        self.record(&who(name), None, Record::Denied(Box::new(denied)))
    }

    /// A whole run, which takes 20 ms and ends so.
    fn run(&mut self, name: &str, program: &str, end: Ending) -> u64 {
        self.run_as(&who(name), program, end, |_| {}, |_| {})
    }

    fn run_as(
        &mut self,
        principal: &Principal,
        program: &str,
        end: Ending,
        intent: impl FnOnce(&mut Intent),
        outcome: impl FnOnce(&mut Outcome),
    ) -> u64 {
        let run = RunId(u128::from(self.seq).to_be_bytes());
        let mut begun = begun(program);
        intent(&mut begun);
        self.record(principal, Some(run), Record::Intent(Box::new(begun)));
        self.wait_ms(20);
        let mut over = Outcome {
            policy: "fetch".into(),
            end,
            pid: Some(7),
            usage: Usage::default(),
            enforced: vec!["landlock".into(), "seccomp".into()],
            degraded: Vec::new(),
            breach: None,
            output_cut: false,
            flags: Vec::new(),
        };
        outcome(&mut over);
        self.record(principal, Some(run), Record::Outcome(Box::new(over)))
    }

    fn load(&mut self, sha256: &str, replaces: Option<&str>) -> u64 {
        let loaded = PolicyLoaded {
            policy: "fetch".into(),
            sha256: Some(sha256.into()),
            replaces: replaces.map(str::to_owned),
            ..PolicyLoaded::default()
        };
        self.event(None, None, Event::Record(Record::PolicyLoaded(loaded)))
    }

    fn handle(&mut self, id: &str, state: Handling) {
        let changed = IncidentState { id: id.into(), state, note: None };
        self.record(&who("root"), None, Record::IncidentState(Box::new(changed)));
    }

    /// Rules that opened incidents, in order.
    fn opened(&self) -> Vec<&str> {
        let opened = self.raised.iter().filter(|raised| raised.change == Change::Opened);
        opened.map(|raised| raised.incident.rule.as_str()).collect()
    }

    fn only(&self) -> &Raised {
        assert_eq!(self.raised.len(), 1, "{:?}", self.raised);
        &self.raised[0]
    }
}

fn begun(program: &str) -> Intent {
    Intent {
        policy: "fetch".into(),
        rule: "fetch/log".into(),
        policy_sha256: None,
        program: Program {
            path: program.into(),
            dev: 1,
            ino: 2,
            size: 3,
            ctime_ns: 4,
            sha256: None,
            interpreter: None,
        },
        argv: vec![program.into()],
        env: Vec::new(),
        cwd: "/".into(),
        profile: "strict".into(),
        layers: std::collections::BTreeMap::new(),
        limits: Limits::default(),
        flags: Vec::new(),
    }
}

const OK: Ending = Ending::Exited { code: 0 };

fn violation(what: &str) -> Ending {
    Ending::SandboxViolation { what: what.into() }
}

fn missing(what: &str) -> Degraded {
    Degraded { what: what.into(), why: "the kernel has none".into() }
}

fn recovered() -> Event {
    let left = ganger_audit::Recovered { torn_bytes: 0, unsigned: 3, head_lost: true };
    Event::Own(Own::Recovered(left))
}

fn ganger_time(nanos: i128) -> String {
    jiff::Timestamp::from_nanosecond(nanos).unwrap().to_string()
}
