//! The environment of what is launched: empty, then what the policy sets, then what it lets a request pass.

use std::collections::BTreeMap;

use ganger_core::pattern;

use crate::check::kind_alone;
use crate::decision::{Code, Denied};
use crate::model::{EnvRules, Kind};
use crate::told::show;
use crate::value::{Mismatch, Reader};

/// Where programs that the program starts are looked for, unless the policy says otherwise.
const PATH: &str = "/usr/bin:/bin";
/// Nobody's files: programs read settings that run commands from their home folder.
const HOME: &str = "/nonexistent";
/// Bytes of a passed value that has no kind of its own.
const VALUE_MAX: usize = 4_096;

/// Names that make a program load code or a shell run it before it does anything. Not even a policy sets them.
const LOADERS: &[&str] = &[
    "LD_*",
    "GLIBC_TUNABLES",
    "GCONV_PATH",
    "DYLD_*",
    "MALLOC_*",
    "BASH_ENV",
    "ENV",
    "IFS",
    "PS4",
    "SHELLOPTS",
    "BASHOPTS",
    "BASH_FUNC_*",
    "PROMPT_COMMAND",
    "BASH_XTRACEFD",
    "ZDOTDIR",
    "NODE_OPTIONS",
    "PYTHONSTARTUP",
    "PYTHONINSPECT",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONBREAKPOINT",
    "PYTHONWARNINGS",
    "PYTHONUSERBASE",
    "PERL5OPT",
    "PERL5LIB",
    "PERLLIB",
    "PERL5DB",
    "RUBYOPT",
    "RUBYLIB",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "DOTNET_STARTUP_HOOKS",
    "CORECLR_*",
    "COR_*",
    "LUA_INIT*",
    "AWKLIBPATH",
    "PHP_INI_SCAN_DIR",
    "PHPRC",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "GANGER_*",
    "LISTEN_*",
    "NOTIFY_SOCKET",
    "NODE_CHANNEL_*",
];

/// Names that lead a program to other files, hosts or helpers. A policy may set them, a request never.
const LEADERS: &[&str] = &[
    "PATH",
    "HOME",
    "TMPDIR",
    "TMP",
    "TEMP",
    "SHELL",
    "CDPATH",
    "GLOBIGNORE",
    "NODE_*",
    "PYTHON*",
    "PERL*",
    "RUBY*",
    "GEM_*",
    "BUNDLE_*",
    "JAVA_*",
    "CLASSPATH",
    "DOTNET_*",
    "LUA_*",
    "AWKPATH",
    "GIT_*",
    "SSH_*",
    "RSYNC_*",
    "TAR_OPTIONS",
    "GZIP",
    "BZIP2",
    "XZ_OPT",
    "XZ_DEFAULTS",
    "ZIPOPT",
    "UNZIP",
    "GREP_OPTIONS",
    "MAKEFLAGS",
    "MAKEFILES",
    "MFLAGS",
    "CC",
    "CXX",
    "LESS*",
    "MORE",
    "PAGER",
    "MANPAGER",
    "MANOPT",
    "BAT_*",
    "EDITOR",
    "VISUAL",
    "FCEDIT",
    "BROWSER",
    "SUDO_*",
    "VIMINIT",
    "EXINIT",
    "VIM*",
    "NVIM*",
    "SCREENRC",
    "INPUTRC",
    "TERMINFO*",
    "TERMCAP",
    "TERMPATH",
    "NLSPATH",
    "LOCPATH",
    "LOCALDOMAIN",
    "HOSTALIASES",
    "RES_OPTIONS",
    "RESOLV_*",
    "TZDIR",
    "KRB5*",
    "CURL_HOME",
    "CURL_*",
    "WGETRC",
    "NETRC",
    "SSL_*",
    "SSLKEYLOGFILE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "ftp_proxy",
    "no_proxy",
    "npm_*",
    "NPM_*",
    "YARN_*",
    "PIP_*",
    "UV_*",
    "CARGO_*",
    "RUSTC*",
    "RUSTFLAGS",
    "RUSTUP_*",
    "GO*",
    "CGO_*",
    "XDG_*",
    "DBUS_*",
    "DISPLAY",
    "WAYLAND_*",
    "XAUTHORITY",
    "DOCKER_*",
    "KUBECONFIG",
    "AWS_*",
    "GOOGLE_*",
    "AZURE_*",
    "PG*",
    "MYSQL_*",
    "R_*",
    "JULIA_*",
    "ERL_*",
    "ELIXIR_*",
    "GNUPGHOME",
    "FPATH",
    "HISTFILE",
    "MAIL*",
    "OLDPWD",
    "PWD",
    "COLUMNS_*",
    "GETCONF_DIR",
    "NIS_PATH",
    "QT_*",
    "GTK_*",
    "GIO_*",
];

/// How dangerous a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Danger {
    Loads,
    Leads,
}

/// Whether a variable of this name changes what programs load, run or reach.
pub(crate) fn danger(name: &str) -> Option<Danger> {
    let among = |list: &[&str]| list.iter().any(|pattern| pattern::matches(pattern, name));
    if among(LOADERS) {
        Some(Danger::Loads)
    } else if among(LEADERS) {
        Some(Danger::Leads)
    } else {
        None
    }
}

/// True for a name that programs take for a variable's.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.as_bytes()[0].is_ascii_digit()
}

/// Rules, ready to decide.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    fixed: BTreeMap<String, String>,
    pass: BTreeMap<String, Option<Reader>>,
    refuse: Vec<String>,
}

impl Environment {
    /// What is wrong: where, and why.
    pub(crate) fn new(rules: &EnvRules) -> Result<Self, Vec<(String, String)>> {
        let mut wrong = Vec::new();
        let mut fixed = BTreeMap::from([("PATH", PATH), ("HOME", HOME)])
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<BTreeMap<_, _>>();
        for (name, value) in &rules.set {
            if !is_name(name) {
                wrong.push((
                    format!("env.set.{name}"),
                    "this can't be the name of a variable".into(),
                ));
            } else if danger(name) == Some(Danger::Loads) {
                let why = format!("{name} makes programs load or run code: it is never set");
                wrong.push((format!("env.set.{name}"), why));
            } else if value.chars().any(|c| c == '\0') {
                wrong.push((format!("env.set.{name}"), "a NUL ends a value early".into()));
            }
            fixed.insert(name.clone(), value.clone());
        }
        if fixed["PATH"].split(':').any(|folder| !folder.starts_with('/')) {
            let why = "every part of PATH must be an absolute path".to_owned();
            wrong.push(("env.set.PATH".into(), why));
        }
        let mut pass = BTreeMap::new();
        for (name, kind) in &rules.pass {
            let key = || format!("env.pass.{name}");
            if !is_name(name) {
                wrong.push((key(), "this can't be the name of a variable".into()));
            } else if danger(name).is_some() {
                let why = format!(
                    "{name} changes what programs load, run or reach: a request may not set it. `env.set` may, unless it loads code"
                );
                wrong.push((key(), why));
            } else if rules.set.contains_key(name) {
                wrong.push((key(), format!("{name} is fixed by `env.set`")));
            }
            match kind {
                Some(Kind::Secret { .. }) => {
                    let why = "a secret in the environment is seen by every process of the run: pass it on stdin";
                    wrong.push((key(), why.to_owned()));
                }
                Some(Kind::Path { .. }) => {
                    let why = "a path in a variable can't be opened beforehand, so nothing holds it beneath a folder: make it an argument";
                    wrong.push((key(), why.to_owned()));
                }
                Some(kind) => kind_alone(kind, &mut |why| wrong.push((key(), why))),
                None => {}
            }
            match kind.as_ref().map(Reader::new).transpose() {
                Ok(reader) => drop(pass.insert(name.clone(), reader)),
                Err(why) => wrong.push((key(), why)),
            }
        }
        let refuse = rules.refuse.clone();
        if wrong.is_empty() { Ok(Self { fixed, pass, refuse }) } else { Err(wrong) }
    }

    /// The environment of a request.
    pub(crate) fn decide(
        &self,
        asked: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Denied> {
        let mut env = self.fixed.clone();
        for (name, value) in asked {
            self.one(name, value)?;
            env.insert(name.clone(), value.clone());
        }
        Ok(env)
    }

    fn one(&self, name: &str, value: &str) -> Result<(), Denied> {
        let shown = show(name);
        let deny = |code, why: String| Err(Denied::new(code, why));
        if danger(name).is_some() {
            return deny(
                Code::EnvDanger,
                format!("variable {shown} changes what programs load, run or reach"),
            );
        }
        if let Some(pattern) = self.refuse.iter().find(|pattern| pattern::matches(pattern, name)) {
            return deny(Code::Env, format!("variable {shown} is refused by `{pattern}`"));
        }
        let Some(reader) = self.pass.get(name) else {
            let allow = is_name(name).then(|| format!("env = {{ pass = [\"{name}\"] }}"));
            let why = format!("variable {shown} is not one that may be passed");
            return Err(Denied { allow, ..Denied::new(Code::Env, why) });
        };
        match reader {
            None if value.len() > VALUE_MAX => {
                deny(Code::Env, format!("the value of {shown} has more than {VALUE_MAX} bytes"))
            }
            None if value.contains(['\n', '\r', '\t']) => {
                deny(Code::Env, format!("the value of {shown} has newlines or tabs"))
            }
            None => Ok(()),
            Some(reader) => match reader.read(value, "/") {
                Ok(read) if read.text() == value => Ok(()),
                Ok(_)
                | Err(Mismatch::Kind | Mismatch::Lines | Mismatch::Long | Mismatch::Path(_)) => {
                    deny(Code::Env, format!("the value of {shown} is not {}", reader.kind))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_load_or_lead_are_known() {
        for name in
            ["LD_PRELOAD", "BASH_ENV", "BASH_FUNC_x%%", "GLIBC_TUNABLES", "NODE_OPTIONS", "IFS"]
        {
            assert_eq!(danger(name), Some(Danger::Loads), "{name}");
        }
        for name in
            ["PATH", "HOME", "GIT_SSH_COMMAND", "PAGER", "PYTHONDONTWRITEBYTECODE", "HOSTALIASES"]
        {
            assert_eq!(danger(name), Some(Danger::Leads), "{name}");
        }
        for name in ["LANG", "LC_ALL", "TERM", "TZ", "USER", "CI", "RAILS_ENV", "DEBUG", "COLUMNS"]
        {
            assert_eq!(danger(name), None, "{name}");
        }
    }
}
