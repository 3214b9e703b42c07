//! What is fed with any bytes: by cargo-fuzz (`fuzz/` in the repository's root), and by a test with a made corpus.

use std::collections::BTreeMap;
use std::io;

use ganger_policy::{
    Decision, Identify, Identity, Policies, Policy, Principal, Request, Stamp, request,
    request_under,
};

/// Every path is a program.
struct Any;

impl Identify for Any {
    fn stamp(&self, _: &str) -> io::Result<Stamp> {
        Ok(Stamp { dev: 1, ino: 1, size: 1, ctime: (1, 1) })
    }

    fn inspect(&self, path: &str, _: bool) -> io::Result<Identity> {
        Ok(Identity {
            real: path.to_owned(),
            stamp: self.stamp(path)?,
            mode: 0o100_755,
            capabilities: false,
            writable: None,
            script: None,
            sha256: None,
        })
    }
}

/// A rule with one of everything.
const POLICY: &str = r#"{ "program": "/bin/tool", "cwd": { "beneath": "/srv" }, "stdin": { "bytes": "4K" },
  "env": { "pass": { "TERM": null } },
  "allow": [
    { "id": "all", "clusters": true,
      "args": [{ "path": { "access": "read", "beneath": "/srv" } }, { "regex": { "pattern": "[^x]*", "max": 64 }, "optional": true, "repeat": 4 }],
      "options": { "-a": {}, "-b": { "repeat": 3 }, "-type": { "value": { "enum": ["x", ""] }, "forms": ["separate"] },
        "-n": { "value": { "int": { "min": -9, "max": 9 } }, "forms": ["separate", "joined"] },
        "--text": { "value": { "regex": { "pattern": ".*", "max": 64 } }, "forms": ["separate", "equals"] },
        "--key": { "value": { "secret": { "max": 16 } }, "forms": ["equals"] } },
      "exclusive": [["-a", "-b"]] },
    { "id": "sub", "subcommand": ["do", "it"], "order": "args_first", "dashes": false,
      "args": [{ "int": { "min": 0, "max": 99 } }], "options": { "-a": {} } } ],
  "deny": [{ "id": "no", "pattern": "deny" }] }"#;

/// The policies that arguments are held against.
pub fn policies() -> Policies {
    let policy: Policy = serde_json::from_str(POLICY).expect("the policy above is one");
    let mut policies =
        Policies::new(BTreeMap::from([("p".to_owned(), policy)])).expect("it has no fault");
    policies.pin(&Any);
    policies
}

/// Bytes as a request in JSON. What is one is decided too.
pub fn json(policies: &Policies, data: &[u8]) -> bool {
    // The same as a request of a path of the API, which names the policy.
    if let Ok(under) = request_under("p", data) {
        hold(policies, &under);
    }
    let Ok(request) = request(data) else { return false };
    hold(policies, &request)
}

/// Bytes as arguments, cut at 0xFE.
pub fn argv(policies: &Policies, data: &[u8]) -> bool {
    let args = data.split(|byte| *byte == 0xfe).map(<[u8]>::to_vec).collect();
    hold(policies, &Request { args, ..Request::policy("p", &[]) })
}

/// Decides, and holds what is allowed against the promise: nothing is an option that the rule does not have, and what is
/// launched is decided as the same launch.
pub fn hold(policies: &Policies, request: &Request) -> bool {
    let decision = policies.decide(&Principal::owner(), request, &Any);
    assert_eq!(policies.veiled(request).len(), request.args.len(), "{decision:?}");
    let Decision::Allowed(allowed) = &decision else { return false };
    let (_, policy) = policies.iter().next().expect("there is one");
    let id = allowed.rule.strip_prefix("p/").unwrap_or_default();
    let rule = policy.allow.iter().find(|rule| rule.id == id).expect("it names its rule");
    let launched = &allowed.launch.argv[1..];
    let mut follows_option = false;
    for argument in launched {
        let text = std::str::from_utf8(argument.bytes()).expect("it was text");
        if text == "--" && !follows_option {
            break;
        }
        let takes =
            |name: &str| rule.options.get(name).is_some_and(|option| option.value.is_some());
        let name = text.split('=').next().unwrap_or(text);
        let joined = text.get(..2).is_some_and(takes);
        let known = rule.options.contains_key(text) || takes(name) || joined;
        assert!(
            !text.starts_with('-') || text == "-" || known,
            "{text:?} became an option: {decision:?}"
        );
        follows_option = !follows_option && takes(text);
    }
    let args = launched.iter().map(|argument| argument.bytes().to_vec()).collect();
    let again = policies.decide(&Principal::owner(), &Request { args, ..request.clone() }, &Any);
    let Decision::Allowed(again) = again else {
        panic!("what is launched is denied: {decision:?}")
    };
    assert_eq!(again.launch, allowed.launch, "what is launched is read as something else");
    true
}
