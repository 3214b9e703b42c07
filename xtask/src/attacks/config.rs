//! The policies that are attacked.

use anyhow::Result;

use super::stage::Stage;
use super::walls::{Held, WALLS};

/// One policy a paragraph; `{…}` are the stage's. One whose program is not installed is left out.
const POLICIES: &str = r#"[policy.find]
program = "{bin:find}"
order = "args-first"
args = [{ path = "read", beneath = "{ro}" }]
options = { "-name" = { regex = "[a-z.]+", forms = ["separate"] } }

[policy.tar]
program = "{bin:tar}"
options = { "-c" = "flag", "-f" = { one_of = ["-"] } }
args = [{ path = "read", beneath = "{ro}" }]

[policy.untar]
program = "{bin:tar}"
options = { "-x" = "flag", "-P" = "flag", "-f" = { path = "read", beneath = "{ro}" }, "-C" = { path = "write", beneath = "{rw}" } }

[policy.git]
program = "{bin:git}"
subcommand = ["log"]
options = { "--oneline" = "flag" }

[policy.sort]
program = "{bin:sort}"
args = [{ path = "read", beneath = "{ro}" }]

[policy.cat]
program = "{bin:cat}"
args = [{ path = "read", beneath = "{ro}" }]
cwd = { beneath = "{ro}" }

[policy.ssh]
program = "{bin:ssh}"
args = [{ regex = "[a-z.]+" }]

[policy.rsync]
program = "{bin:rsync}"
options = { "-r" = "flag" }
args = [{ path = "read", beneath = "{ro}" }, { path = "write", beneath = "{rw}" }]

[policy.curl]
program = "{bin:curl}"
options = { "-s" = "flag" }
args = [{ regex = "https://[a-z.]+/[a-z]*" }]

[policy.anywhere]
program = "{bin:curl}"
options = { "-s" = "flag" }
args = [{ regex = ".*" }]

[policy.less]
program = "{bin:less}"
args = [{ path = "read", beneath = "{ro}" }]

[policy.awk]
program = "{bin:awk}"
args = [{ regex = ".*" }]
accept = ["shell"]

[policy.sed]
program = "{bin:sed}"
options = { "-n" = "flag" }
args = [{ regex = ".*" }, { path = "read", beneath = "{ro}" }]
accept = ["shell"]

[policy.env]
program = "{bin:env}"
args = [{ regex = ".*", repeat = 8 }]
accept = ["command"]

[policy.echo]
program = "{self}"
dashes = false
subcommand = ["echo"]
args = [{ regex = "[ -~]*", max = 65536, optional = true, repeat = 8 }]

[policy.variable]
program = "{self}"
dashes = false
subcommand = ["variable"]
args = [{ regex = "[A-Za-z0-9_%]+" }]

[policy.read]
program = "{self}"
dashes = false
subcommand = ["read"]
args = [{ regex = ".*" }]

[policy.say]
program = "{self}"
dashes = false
subcommand = ["say"]
args = [{ regex = ".*", optional = true }]
cwd = { beneath = "{ro}" }
env = { pass = { X = { regex = ".*" } } }

[policy.linked]
program = "{home}/linked"
dashes = false
subcommand = ["who"]

[policy.other]
program = "{home}/other"
dashes = false
subcommand = ["who"]

[policy.written]
program = "{home}/written"
dashes = false
subcommand = ["who"]

[policy.racer]
program = "{home}/racer"
dashes = false
subcommand = ["who"]

[policy.hold]
program = "{self}"
dashes = false
subcommand = ["hold"]

[policy.outlive]
program = "{self}"
dashes = false
subcommand = ["outlive"]
args = [{ int = "1..60" }]
running = 1

[policy.no-such-call]
program = "{self}"
dashes = false
subcommand = ["no-such-call"]

[policy.login]
program = "{self}"
dashes = false
subcommand = ["variable"]
options = { "--token" = { secret = true }, "-t" = { secret = true }, "-v" = "flag" }

[policy.seldom]
program = "{self}"
dashes = false
subcommand = ["say"]
rate = "1/h"

[policy.hourly]
program = "{self}"
dashes = false
subcommand = ["say"]
rate = "1/h"

[policy.theirs]
program = "{self}"
dashes = false
subcommand = ["say"]
who = { uids = [4242] }
"#;

/// The policy of attacks on the walls: what they may see is what `ganger run` shows them.
const WALL: &str = r#"program = "{self}"
dashes = false
options = { "--rw" = { path = "write", beneath = "{rw}" }, "--ro" = { path = "read", beneath = "{ro}" } }
args = [{ regex = ".*", repeat = 8 }]
env = { pass = { TORTURE_MARK = { regex = ".*" } } }
"#;

/// The whole config.
pub(super) fn text(stage: &Stage, profile: &str) -> Result<String> {
    let mut all = "version = 1\n".to_owned();
    let sandbox = format!("sandbox = \"{profile}\"\n");
    for policy in POLICIES.split("\n\n") {
        // What is missing is told by the case that wants it.
        if let Ok(policy) = stage.filled(policy, None) {
            all.push_str(&format!("{}\n{sandbox}\n", policy.trim_end()));
        }
    }
    let walls = WALLS.iter().filter(|case| case.held == Held::Limit);
    let walls = walls.map(|case| (case.policy(), format!("limits = {{ {} }}\n", case.limits)));
    for (name, limits) in walls.chain([("wall".to_owned(), String::new())]) {
        let wall = stage.filled(WALL, None)?;
        all.push_str(&format!("[policy.{name}]\n{wall}{sandbox}{limits}\n"));
    }
    Ok(all)
}
