//! `[policy.NAME]`: from what is written to a policy, with every fault at its place in the file.

use std::collections::BTreeMap;
use std::ops::Range;

use ganger_policy::{
    Cwd, Deny, Disk, EnvRules, Examples, Fault, Form, Kind, Limits, Operand, Opt, Order, Policies,
    Policy, Rule, Stdin, Total, Who,
};

use super::diagnostic::Severity;
use super::policy_keys::{
    AccessWord, Argument, Exact, IntRange, OptionValue, OrderWord, Pass, RawCwd, RawDeny, RawEnv,
    RawLimits, RawPolicy, RawStdin, RawTotal, RawWho,
};
use super::sandbox::modes;
use super::walk::{At, Key, Named, Walk};

/// Bytes of a text that has to agree with a pattern, unless `max` says otherwise: a name, a title, an address.
const TEXT_MAX: u32 = 256;
/// Bytes of a secret, unless `max` says otherwise: a token with its claims.
const SECRET_MAX: u32 = 4_096;

/// What kinds are made of, of whichever section.
pub(super) struct KindKeys<'a> {
    pub(super) one_of: &'a Key<Vec<At<Exact>>>,
    pub(super) int: &'a Key<IntRange>,
    pub(super) regex: &'a Key<Exact>,
    pub(super) path: &'a Key<AccessWord>,
    pub(super) beneath: &'a Key<Exact>,
    pub(super) secret: &'a Key<bool>,
    pub(super) max: &'a Key<u32>,
    pub(super) lines: &'a Key<bool>,
}

/// What rules are made of.
pub(super) struct RuleKeys<'a> {
    pub(super) subcommand: &'a Key<Vec<At<Exact>>>,
    pub(super) args: &'a Key<Vec<At<Argument>>>,
    pub(super) options: &'a Key<Named<OptionValue>>,
    pub(super) exclusive: &'a Key<Vec<At<Vec<At<Exact>>>>>,
    pub(super) clusters: &'a Key<bool>,
    pub(super) dashes: &'a Key<bool>,
    pub(super) order: &'a Key<OrderWord>,
}

/// Where things of one policy are written, by the keys that [`Fault`]s have.
type Places = BTreeMap<String, Range<usize>>;

/// Resolves all policies, and reports what is wrong with them and, as warnings, with their programs.
pub(super) fn resolve(
    written: Option<&Named<RawPolicy>>,
    walk: &mut Walk<'_>,
) -> BTreeMap<String, Policy> {
    let mut all = BTreeMap::new();
    let mut sound = BTreeMap::new();
    let mut places = BTreeMap::new();
    for (name, raw) in written.iter().flat_map(|named| &named.0) {
        super::resolve::check_name(name, walk);
        let before = errors(walk);
        let mut own = Places::from([(String::new(), name.span.clone())]);
        let policy = one(name, &raw.value, &mut own, walk);
        places.insert(name.value.clone(), own);
        // What could not be read has been reported; what is left of it would only have false faults.
        if errors(walk) == before {
            sound.insert(name.value.clone(), policy.clone());
        }
        all.insert(name.value.clone(), policy);
    }
    match Policies::new(sound) {
        Ok(mut policies) => {
            policies.pin(&Disk);
            for (name, why) in policies.untrusted() {
                let span = place(&places, name, "program");
                walk.warning(span, format!("policy `{name}` would deny everything: {why}"));
            }
        }
        Err(faults) => faults.iter().for_each(|fault| {
            let Fault { policy, key, message } = fault;
            walk.error(place(&places, policy, key), message);
        }),
    }
    all
}

/// What is wrong with policies from elsewhere, one sentence each.
pub(super) fn verify(policies: &BTreeMap<String, Policy>) -> Vec<String> {
    let names = policies.keys().filter(|name| !super::resolve::is_name(name));
    let mut wrong: Vec<String> =
        names.map(|name| format!("policy `{name}`: this can't be a name")).collect();
    if let Err(faults) = Policies::new(policies.clone()) {
        wrong.extend(faults.iter().map(|fault| format!("{fault} ({})", fault.key)));
    }
    wrong
}

fn errors(walk: &Walk<'_>) -> usize {
    walk.found.iter().filter(|found| found.severity == Severity::Error).count()
}

/// The place of a key, or of the nearest thing around it.
fn place(places: &BTreeMap<String, Places>, policy: &str, key: &str) -> Range<usize> {
    let own = &places[policy];
    let mut key = key;
    loop {
        if let Some(span) = own.get(key) {
            return span.clone();
        }
        key = key.rsplit_once('.').map_or("", |(around, _)| around);
    }
}

fn one(name: &At<String>, raw: &RawPolicy, places: &mut Places, walk: &mut Walk<'_>) -> Policy {
    for (key, span) in [
        ("program", raw.program.span()),
        ("sha256", raw.sha256.span()),
        ("interpreter", raw.interpreter.span()),
        ("cwd", raw.cwd.span()),
        ("layers", raw.layers.span()),
        ("stdin", raw.stdin.span()),
        ("who", raw.who.span()),
        ("env", raw.env.span()),
    ] {
        places.extend(span.map(|span| (key.to_owned(), span)));
    }
    if raw.program.is_absent() {
        walk.error(name.span.clone(), format!("policy `{}` has no `program`", name.value))
            .help("program = \"/usr/bin/…\", by its absolute path".into());
    }
    let text = |key: &Key<Exact>| key.get().map(|text| text.0.clone());
    let limit = super::limits::limit(&raw.running, &raw.rate, &raw.burst, walk);
    Policy {
        program: text(&raw.program).unwrap_or_default(),
        sha256: text(&raw.sha256),
        interpreter: text(&raw.interpreter),
        allow: rules(raw, places, walk),
        deny: raw
            .deny
            .get()
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(at, deny)| denial(at, deny, places))
            .collect(),
        env: raw.env.get().map(|env| environment(env, places, walk)).unwrap_or_default(),
        cwd: match raw.cwd.get() {
            Some(RawCwd::Fixed(folder)) => Cwd::Fixed(folder.0.clone()),
            Some(RawCwd::Beneath(table)) => Cwd::Beneath(text(&table.beneath).unwrap_or_default()),
            None => Cwd::default(),
        },
        stdin: stdin(&raw.stdin, walk),
        sandbox: raw.sandbox.get().map(|word| word.0).unwrap_or_default(),
        layers: raw.layers.get().map(modes).unwrap_or_default(),
        limits: raw.limits.get().map(limits).unwrap_or_default(),
        rate: limit.rate,
        running: limit.running,
        total: raw.total.get().map(|total| bounds(total, walk)).unwrap_or_default(),
        who: raw.who.get().map(who).unwrap_or_default(),
        accept: raw.accept.get().into_iter().flatten().map(|at| at.value.0).collect(),
        examples: examples(raw, places),
    }
}

fn bounds(raw: &RawTotal, walk: &mut Walk<'_>) -> Total {
    let limit = super::limits::limit(&raw.running, &raw.rate, &raw.burst, walk);
    Total { rate: limit.rate, running: limit.running }
}

fn rules(raw: &RawPolicy, places: &mut Places, walk: &mut Walk<'_>) -> Vec<Rule> {
    let keys = raw.rule();
    let own = !keys.subcommand.is_absent()
        || !keys.args.is_absent()
        || !keys.options.is_absent()
        || (raw.allow.is_absent() && raw.deny.is_absent());
    let mut rules = Vec::new();
    if own {
        rules.push(rule(String::new(), &keys, "allow.0", places, walk));
    } else {
        let rest = [
            ("exclusive", keys.exclusive.span()),
            ("clusters", keys.clusters.span()),
            ("dashes", keys.dashes.span()),
            ("order", keys.order.span()),
        ];
        for (key, span) in rest {
            let Some(span) = span else { continue };
            walk.error(span, format!("`{key}` belongs to a rule, and none is written beside it"))
                .help("rules share nothing: write it into each [[policy.NAME.allow]]".into());
        }
    }
    for At { span, value } in raw.allow.get().into_iter().flatten() {
        let key = format!("allow.{}", rules.len());
        places.insert(key.clone(), span.clone());
        places.extend(value.id.span().map(|span| (format!("{key}.id"), span)));
        if value.id.is_absent() {
            walk.error(span.clone(), "a rule of `allow` has an `id`: decisions name it");
        }
        let id = value.id.get().map(|id| id.0.clone()).unwrap_or_default();
        rules.push(rule(id, &value.rule(), &key, places, walk));
    }
    rules
}

fn rule(
    id: String,
    keys: &RuleKeys<'_>,
    key: &str,
    places: &mut Places,
    walk: &mut Walk<'_>,
) -> Rule {
    let order = keys.order.get().map(|word| word.0).unwrap_or_default();
    places.extend(keys.dashes.span().map(|span| (format!("{key}.dashes"), span)));
    let mut args = Vec::new();
    for (at, argument) in keys.args.get().into_iter().flatten().enumerate() {
        places.insert(format!("{key}.args.{at}"), argument.span.clone());
        args.extend(operand(argument, walk));
    }
    let mut options = BTreeMap::new();
    for (name, value) in keys.options.get().iter().flat_map(|named| &named.0) {
        places.insert(format!("{key}.options.{}", name.value), name.span.clone());
        options.extend(option(&name.value, value, walk).map(|option| (name.value.clone(), option)));
    }
    let exclusive = keys.exclusive.get().into_iter().flatten();
    let exclusive = exclusive.enumerate().map(|(at, set)| {
        places.insert(format!("{key}.exclusive.{at}"), set.span.clone());
        texts(&set.value)
    });
    Rule {
        id,
        exclusive: exclusive.collect(),
        subcommand: texts_at(keys.subcommand, &format!("{key}.subcommand"), places),
        args,
        options,
        clusters: keys.clusters.or(false),
        dashes: keys.dashes.or(order == Order::OptionsFirst),
        order,
    }
}

fn operand(argument: &At<Argument>, walk: &mut Walk<'_>) -> Option<Operand> {
    match &argument.value {
        Argument::Text(text) => {
            Some(Operand { kind: Kind::Literal(text.0.clone()), optional: false, repeat: 1 })
        }
        Argument::Table(table) => {
            let kind = kind(&table.kind(), &argument.span, walk);
            if kind.is_none() && table.kind().written() == 0 {
                says_nothing(&argument.span, walk);
            }
            Some(Operand {
                kind: kind?,
                optional: table.optional.or(false),
                repeat: table.repeat.or(1),
            })
        }
    }
}

fn option(name: &str, value: &At<OptionValue>, walk: &mut Walk<'_>) -> Option<Opt> {
    let table = match &value.value {
        OptionValue::Flag(_) => {
            return Some(Opt { value: None, forms: Vec::new(), repeat: 1, required: false });
        }
        OptionValue::Table(table) => table,
    };
    let flag = table.kind().is_absent();
    let kind = if flag { None } else { Some(kind(&table.kind(), &value.span, walk)?) };
    let usual = if name.len() == 2 { Form::Separate } else { Form::Equals };
    let forms = match table.forms.get() {
        Some(forms) => forms.iter().map(|form| form.value.0).collect(),
        None if flag => Vec::new(),
        None => vec![usual],
    };
    Some(Opt { value: kind, forms, repeat: table.repeat.or(1), required: table.required.or(false) })
}

impl KindKeys<'_> {
    /// Nothing is said at all: also no bound, which would need something to bound.
    fn is_absent(&self) -> bool {
        let Self { max, lines, beneath, .. } = self;
        self.written() == 0 && max.is_absent() && lines.is_absent() && beneath.is_absent()
    }

    fn written(&self) -> usize {
        let KindKeys { one_of, int, regex, path, secret, .. } = self;
        let absent = [
            one_of.is_absent(),
            int.is_absent(),
            regex.is_absent(),
            path.is_absent(),
            secret.is_absent(),
        ];
        absent.iter().filter(|absent| !**absent).count()
    }
}

fn says_nothing(span: &Range<usize>, walk: &mut Walk<'_>) {
    walk.error(span.clone(), "this does not say what it may be")
        .help("one of: one_of = […], int = \"1..9\", regex = \"…\", path = \"read\" with beneath = \"/…\", secret = true".into());
}

fn kind(keys: &KindKeys<'_>, span: &Range<usize>, walk: &mut Walk<'_>) -> Option<Kind> {
    if keys.written() > 1 {
        walk.error(span.clone(), "this says more than once what it may be")
            .help("exactly one of `one_of`, `int`, `regex`, `path` and `secret`".into());
        return None;
    }
    let bounded = |usual| keys.max.or(usual);
    let lines = keys.lines.or(false);
    let unused = |key: bool, what: &str, walk: &mut Walk<'_>| {
        if key {
            walk.error(span.clone(), format!("`{what}` has no meaning here"));
        }
    };
    let text = !keys.regex.is_absent() || !keys.secret.is_absent();
    unused(!keys.max.is_absent() && !text, "max", walk);
    unused(!keys.lines.is_absent() && !text, "lines", walk);
    unused(!keys.beneath.is_absent() && keys.path.is_absent(), "beneath", walk);
    if let Some(all) = keys.one_of.get() {
        return Some(Kind::Enum(texts(all)));
    }
    if let Some(IntRange((min, max))) = keys.int.get() {
        return Some(Kind::Int { min: *min, max: *max });
    }
    if let Some(pattern) = keys.regex.get() {
        return Some(Kind::Regex { pattern: pattern.0.clone(), max: bounded(TEXT_MAX), lines });
    }
    if let Some(access) = keys.path.get() {
        let Some(beneath) = keys.beneath.get() else {
            if keys.beneath.is_absent() {
                walk.error(span.clone(), "a path needs the folder it is beneath")
                    .help("{ path = \"read\", beneath = \"/srv/data\" }".into());
            }
            return None;
        };
        return Some(Kind::Path { access: access.0, beneath: beneath.0.clone() });
    }
    match keys.secret.get() {
        Some(true) => Some(Kind::Secret { max: bounded(SECRET_MAX), lines }),
        Some(false) => {
            says_nothing(span, walk);
            None
        }
        None => None,
    }
}

fn denial(at: usize, deny: &At<RawDeny>, places: &mut Places) -> Deny {
    let At { span, value } = deny;
    let key = format!("deny.{at}");
    places.insert(key.clone(), span.clone());
    for (name, span) in [
        ("id", value.id.span()),
        ("options", value.options.span()),
        ("pattern", value.pattern.span()),
    ] {
        places.extend(span.map(|span| (format!("{key}.{name}"), span)));
    }
    let text = |key: &Key<Exact>| key.get().map(|text| text.0.clone());
    Deny {
        id: text(&value.id).unwrap_or_default(),
        reason: text(&value.reason),
        subcommand: value.subcommand.get().map(|list| texts(list)).unwrap_or_default(),
        options: value.options.get().map(|list| texts(list)).unwrap_or_default(),
        pattern: text(&value.pattern),
    }
}

fn environment(env: &RawEnv, places: &mut Places, walk: &mut Walk<'_>) -> EnvRules {
    let mut rules = EnvRules {
        refuse: env.refuse.get().map(|list| texts(list)).unwrap_or_default(),
        ..EnvRules::default()
    };
    for (name, value) in env.set.get().iter().flat_map(|named| &named.0) {
        places.insert(format!("env.set.{}", name.value), name.span.clone());
        rules.set.insert(name.value.clone(), value.value.0.clone());
    }
    match env.pass.get() {
        Some(Pass::Names(names)) => {
            for name in names {
                places.insert(format!("env.pass.{}", name.value.0), name.span.clone());
                rules.pass.insert(name.value.0.clone(), None);
            }
        }
        Some(Pass::Table(table)) => {
            for (name, value) in &table.0 {
                places.insert(format!("env.pass.{}", name.value), name.span.clone());
                let keys = value.value.kind();
                let kind = if keys.is_absent() { None } else { kind(&keys, &value.span, walk) };
                rules.pass.insert(name.value.clone(), kind);
            }
        }
        None => {}
    }
    rules
}

fn stdin(key: &Key<RawStdin>, walk: &mut Walk<'_>) -> Stdin {
    let Some(RawStdin::Table(table)) = key.get() else { return Stdin::None };
    match (table.bytes.get(), table.beneath.get()) {
        (Some(bytes), None) => Stdin::Bytes(bytes.0),
        (None, Some(folder)) => Stdin::File(folder.0.clone()),
        // What could not be read has been reported.
        _ if table.bytes.is_absent() != table.beneath.is_absent() => Stdin::None,
        _ => {
            let span = key.span().unwrap_or_default();
            walk.error(span, "`stdin` has either `bytes` or `beneath`")
                .help("{ bytes = \"64K\" } for bytes of the request, { beneath = \"/srv/in\" } for a file".into());
            Stdin::None
        }
    }
}

fn limits(raw: &RawLimits) -> Limits {
    Limits {
        time: raw.time.get().map(|time| time.0),
        cpu_time: raw.cpu_time.get().map(|time| time.0),
        cpu: raw.cpu.get().map(|cores| cores.0),
        memory: raw.memory.get().map(|size| size.0),
        pids: raw.pids.get().copied(),
        files: raw.files.get().copied(),
        file_size: raw.file_size.get().map(|size| size.0),
        disk: raw.disk.get().map(|size| size.0),
        output: raw.output.get().map(|size| size.0),
        require: raw.require.or(false),
    }
}

fn who(raw: &RawWho) -> Who {
    let ids =
        |key: &Key<Vec<At<u32>>>| key.get().into_iter().flatten().map(|at| at.value).collect();
    Who {
        uids: ids(&raw.uids),
        gids: ids(&raw.gids),
        tokens: raw.tokens.get().map(|list| texts(list)).unwrap_or_default(),
    }
}

fn examples(raw: &RawPolicy, places: &mut Places) -> Examples {
    let Some(examples) = raw.examples.get() else { return Examples::default() };
    let mut calls = |word: &str, key: &Key<Vec<At<Vec<At<Exact>>>>>| {
        let list = key.get().into_iter().flatten().enumerate();
        list.map(|(at, call)| {
            places.insert(format!("examples.{word}.{at}"), call.span.clone());
            texts(&call.value)
        })
        .collect()
    };
    Examples { allow: calls("allow", &examples.allow), deny: calls("deny", &examples.deny) }
}

fn texts(list: &[At<Exact>]) -> Vec<String> {
    list.iter().map(|at| at.value.0.clone()).collect()
}

fn texts_at(key: &Key<Vec<At<Exact>>>, name: &str, places: &mut Places) -> Vec<String> {
    let list = key.get().map_or(&[][..], Vec::as_slice);
    places.extend(
        list.iter().enumerate().map(|(at, text)| (format!("{name}.{at}"), text.span.clone())),
    );
    texts(list)
}
