//! `[server]`: where the daemon listens.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::raw;
use super::walk::{At, Walk};

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Where others ask for commands; none: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_socket: Option<ExecSocket>,
}

impl Server {
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// A socket for others than the daemon's own user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSocket {
    /// Absolute.
    pub path: PathBuf,
    /// Group that may connect, by name or number; none: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Where clients look for it without being told.
const EXEC_SOCKET: &str = "/run/ganger/exec.sock";
/// `sun_path` holds 108 bytes with the closing NUL (unix(7)), and the socket is made under a longer name first.
const PATH_MAX: usize = 100;

pub(super) fn resolve(keys: Option<&raw::Server>, walk: &mut Walk<'_>) -> Server {
    let Some(keys) = keys else { return Server::default() };
    if let Some(At { span, value }) = &keys.listen.0 {
        for (span, entry) in value.each(span).into_iter().filter(|(_, entry)| *entry != "unix") {
            walk.error(span, format!("listening on `{entry}` is not in this version of ganger"))
                .label("not yet".into())
                .help(
                    "the API listens on the Unix socket in the state folder only: leave this out"
                        .into(),
                );
        }
    }
    Server { exec_socket: keys.exec_socket.get().map(|socket| exec_socket(socket, walk)) }
}

fn exec_socket(keys: &raw::RawExecSocket, walk: &mut Walk<'_>) -> ExecSocket {
    let path = keys.path.get().map_or(EXEC_SOCKET, String::as_str);
    if let Some(span) = keys.path.span() {
        if !Path::new(path).is_absolute() || path.split('/').any(|part| part == ".." || part == ".")
        {
            walk.error(span, "a socket for others needs an absolute path without `.` and `..`");
        } else if path.len() > PATH_MAX {
            walk.error(span, format!("the path of a socket has at most {PATH_MAX} bytes here"));
        }
    }
    ExecSocket { path: path.into(), group: keys.group.get().cloned() }
}
