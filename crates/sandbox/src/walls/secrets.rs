//! What nobody behind walls may look into where the machine's files are seen: keys, passwords, other people's homes, sockets of whoever
//! has more rights.

use std::path::{Path, PathBuf};

use super::paths::View;

/// Of the machine.
const MACHINE: &[&str] = &[
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssl/private",
    "/etc/krb5.keytab",
    "/etc/ganger",
    "/boot",
    "/lost+found",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/security",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/ganger",
    "/var/spool/cron",
    "/var/backups",
    "/var/log",
    "/run/docker.sock",
    "/run/containerd",
    "/run/podman",
    "/run/crio",
    "/run/dbus",
    "/run/user",
    "/run/ganger",
    "/run/secrets",
    "/run/systemd/private",
    "/run/snapd.socket",
    "/run/libvirt",
];
/// Of a home that is seen because the program or its folder lies in it.
const HOME: &[&str] = &[
    ".ssh",
    ".aws",
    ".gnupg",
    ".azure",
    ".kube",
    ".docker",
    ".config/gcloud",
    ".config/gh",
    ".config/ganger",
    ".local/share/ganger",
    ".local/share/keyrings",
    ".local/state/ganger",
    ".netrc",
    ".git-credentials",
    ".npmrc",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".cargo/credentials.toml",
    ".bash_history",
    ".zsh_history",
    ".mozilla",
    ".password-store",
    ".vault-token",
    ".terraform.d",
];

/// Files (false) and folders (true) to be hidden: those that are there, and in which nothing lies that is to be seen.
pub(super) fn hidden(view: &View, more: &[PathBuf]) -> Vec<(PathBuf, bool)> {
    let mut hide = Vec::new();
    let machine = MACHINE.iter().map(PathBuf::from);
    for path in machine.chain(more.iter().cloned()) {
        add(&mut hide, view, path);
    }
    for key in listed("/etc/ssh").into_iter().filter(|path| is_key(path)) {
        add(&mut hide, view, key);
    }
    for home in listed("/home").into_iter().chain([PathBuf::from("/root")]) {
        if view.uses(&home) {
            HOME.iter().for_each(|secret| add(&mut hide, view, home.join(secret)));
        } else {
            add(&mut hide, view, home);
        }
    }
    hide
}

fn is_key(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("ssh_host_") && name.ends_with("_key")
}

fn listed(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn add(hide: &mut Vec<(PathBuf, bool)>, view: &View, path: PathBuf) {
    // By links (/var/run) it is found under its own name; what isn't there needs no hiding.
    let Ok(real) = path.canonicalize() else { return };
    let known = hide.iter().any(|(above, _)| real.starts_with(above));
    if !known && !view.uses(&real) {
        let folder = real.is_dir();
        hide.push((real, folder));
    }
}
