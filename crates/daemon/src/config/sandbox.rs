//! `sandbox` of a service or pool: a profile's name, or a table of it and what is otherwise.

use std::collections::BTreeMap;

use ganger_sandbox::{Access, Mode, Net, ProfileName, Sandbox, Shown, Wall};
use schemars::JsonSchema;
use toml::de::DeValue;

use super::resolve::absolute;
use super::values::Bytes;
use super::walk::{At, FromNode, Key, Node, Walk, section};

section! {
    /// What a program may reach.
    struct SandboxTable in "`sandbox`" {
        /// "strict", "build", "standard" or "none". Default: "standard".
        profile: ProfileText,
        /// Files and folders that it may read, relative to this file.
        read: Vec<At<String>>,
        /// Files and folders that it may read and change; nothing there can be executed.
        write: Vec<At<String>>,
        /// Files and folders that it may read and execute.
        execute: Vec<At<String>>,
        /// Folders that it may read, change and execute from.
        work: Vec<At<String>>,
        /// "none", "host", or `{ connect = [443], bind = [8080] }` for TCP ports of the machine's network. Default: the profile's.
        net: NetValue,
        /// Layers that are treated otherwise than the profile does.
        layers: LayerModes,
        /// Bytes of its private /tmp, home and shared memory together. Default: "64M" of "strict", "256M" of "standard", "1G" of
        /// "build".
        disk: Bytes,
    }
}

section! {
    /// Layers: "require" refuses to start without it, "prefer" starts and says so, "off" leaves it out.
    struct LayerModes in "`layers`" {
        /// A user namespace.
        user: ModeText,
        /// A mount namespace with a root of its own.
        mount: ModeText,
        /// A pid namespace.
        pid: ModeText,
        /// A network namespace.
        net: ModeText,
        /// System V and POSIX IPC of its own.
        ipc: ModeText,
        /// A host name of its own.
        uts: ModeText,
        /// A cgroup namespace.
        cgroup: ModeText,
        /// Capabilities dropped.
        capabilities: ModeText,
        /// no_new_privs.
        no_new_privs: ModeText,
        /// Landlock.
        landlock: ModeText,
        /// A filter of system calls.
        seccomp: ModeText,
    }
}

section! {
    /// TCP ports.
    struct Ports in "`net`" {
        /// Ports that it may connect to. Default: none.
        connect: Vec<At<u16>>,
        /// Ports that it may listen on. Default: none.
        bind: Vec<At<u16>>,
    }
}

/// A profile's name.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct ProfileText(
    #[schemars(with = "String", extend("enum" = ["strict", "build", "standard", "none"]))]
    ProfileName,
);

impl FromNode for ProfileText {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        walk.word(node, &ProfileName::ALL).map(Self)
    }
}

/// What is done about a layer.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct ModeText(
    #[schemars(with = "String", extend("enum" = ["require", "prefer", "off"]))] Mode,
);

impl FromNode for ModeText {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        walk.word(node, &Mode::ALL).map(Self)
    }
}

/// `net`: a word or ports.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum NetValue {
    /// `"host"` (true) or `"none"`.
    Word(#[schemars(with = "String", extend("enum" = ["none", "host"]))] bool),
    Ports(Ports),
}

impl FromNode for NetValue {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => Ports::from_node(node, walk).map(Self::Ports),
            _ => walk.word(node, &[("none", false), ("host", true)]).map(Self::Word),
        }
    }
}

/// `sandbox`: a name or a table.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum SandboxValue {
    Profile(ProfileText),
    Table(Box<SandboxTable>),
}

impl FromNode for SandboxValue {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => {
                SandboxTable::from_node(node, walk).map(|table| Self::Table(Box::new(table)))
            }
            _ => ProfileText::from_node(node, walk).map(Self::Profile),
        }
    }
}

/// The sandbox of a program; `None` for no walls at all.
pub(super) fn sandbox(key: &Key<SandboxValue>, walk: &Walk<'_>) -> Option<Sandbox> {
    let sandbox = match key.get()? {
        SandboxValue::Profile(profile) => Sandbox::of(profile.0),
        SandboxValue::Table(table) => of_table(table, walk),
    };
    (!sandbox.is_nothing()).then_some(sandbox)
}

fn of_table(table: &SandboxTable, walk: &Walk<'_>) -> Sandbox {
    let lists = [
        (&table.read, Access::Read),
        (&table.write, Access::Write),
        (&table.execute, Access::Execute),
        (&table.work, Access::Work),
    ];
    let mut paths = Vec::new();
    for (list, access) in lists {
        for path in list.get().into_iter().flatten() {
            let path = absolute(walk.dir, &path.value).display().to_string();
            paths.push(Shown { path, beneath: None, access });
        }
    }
    let ports = |key: &Key<Vec<At<u16>>>| -> Vec<u16> {
        key.get().into_iter().flatten().map(|port| port.value).collect()
    };
    let net = table.net.get().map(|net| match net {
        NetValue::Word(false) => Net::None,
        NetValue::Word(true) => Net::Host,
        NetValue::Ports(found) => {
            Net::Ports { connect: ports(&found.connect), bind: ports(&found.bind) }
        }
    });
    Sandbox {
        profile: table.profile.get().map_or(ProfileName::Standard, |profile| profile.0),
        paths,
        net,
        layers: table.layers.get().map(modes).unwrap_or_default(),
        program: None,
        disk: table.disk.get().map(|bytes| bytes.0.0),
        watched: false,
    }
}

pub(super) fn modes(layers: &LayerModes) -> BTreeMap<Wall, Mode> {
    let all = [
        (Wall::User, &layers.user),
        (Wall::Mount, &layers.mount),
        (Wall::Pid, &layers.pid),
        (Wall::Net, &layers.net),
        (Wall::Ipc, &layers.ipc),
        (Wall::Uts, &layers.uts),
        (Wall::Cgroup, &layers.cgroup),
        (Wall::Capabilities, &layers.capabilities),
        (Wall::NoNewPrivs, &layers.no_new_privs),
        (Wall::Landlock, &layers.landlock),
        (Wall::Seccomp, &layers.seccomp),
    ];
    let said = all.into_iter().filter_map(|(wall, key)| Some((wall, key.get()?.0)));
    said.collect()
}
