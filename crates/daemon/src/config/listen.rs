//! `listen`, `listen_mode` and `start` of a service.

use std::collections::BTreeMap;
use std::ops::Range;

use ganger_supervise::listeners::{Address, ListenMode, is_fd_name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::de::DeValue;

use super::model::{Config, LiveCheck, Ready, ReadyCheck, Service};
use super::raw;
use super::resolve::absolute;
use super::walk::{At, FromNode, Node, Walk, section};

/// Addresses of one service: each is a descriptor in every instance.
const ADDRESSES_MAX: usize = 64;
/// A Unix socket's file is for ganger's own user unless something else is written.
const FILE_MODE: u32 = 0o600;
const SCHEME_UNIX: &str = "unix://";

/// One address of `listen`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// Its name in LISTEN_FDNAMES.
    pub name: String,
    /// Permission bits of a Unix socket's file.
    #[serde(default = "file_mode")]
    pub mode: u32,
    /// Owner of a Unix socket's file, as `user` is written; `None`: ganger's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

const fn file_mode() -> u32 {
    FILE_MODE
}

section! {
    /// One address to listen on.
    struct Listener in "`listen`" {
        /// "tcp://HOST:PORT", "udp://HOST:PORT" or "unix:///path".
        address: String,
        /// Its name in LISTEN_FDNAMES. Default: the service's name.
        name: String,
        /// Permissions of a Unix socket's file, in octal. Default: "0600".
        mode: String,
        /// Owner of a Unix socket's file: a name or uid, with ":group" if it is not the user's own. Default: ganger's own
        /// user.
        owner: String,
    }
}

/// An address, or a table of one and what belongs to it.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum Entry {
    Text(String),
    Table(Box<Listener>),
}

impl FromNode for Entry {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => Listener::from_node(node, walk).map(|t| Self::Table(Box::new(t))),
            DeValue::String(_) => String::from_node(node, walk).map(Self::Text),
            _ => {
                walk.mismatch(node, "an address like \"tcp://127.0.0.1:3000\"");
                None
            }
        }
    }
}

/// `inherit`, `pass` or `reuseport`.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct ModeWord(
    #[schemars(with = "String", extend("enum" = ["inherit", "pass", "reuseport"]))]
    pub(super)  ListenMode,
);

impl FromNode for ModeWord {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let words: Vec<_> = ListenMode::ALL.iter().map(|mode| (mode.as_str(), *mode)).collect();
        walk.word(node, &words).map(Self)
    }
}

/// `auto` or `on-demand`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(inline, rename_all = "kebab-case")]
pub(super) enum StartWord {
    Auto,
    OnDemand,
}

impl FromNode for StartWord {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        walk.word(node, &[("auto", Self::Auto), ("on-demand", Self::OnDemand)])
    }
}

/// The keys of a service, resolved: addresses, mode, start on demand.
pub(super) fn resolve(
    name: &str,
    service: &raw::Service,
    walk: &mut Walk<'_>,
) -> (Vec<Listen>, ListenMode, bool) {
    let cluster = service.node_cluster.or(false);
    // Node's own primary deals connections too, unless it is told otherwise.
    let usual = if cluster { ListenMode::Pass } else { ListenMode::default() };
    let mode = service.listen_mode.get().map_or(usual, |word| word.0);
    let on_demand = service.start.get() == Some(&StartWord::OnDemand);
    let Some(At { span, value }) = &service.listen.0 else {
        let without = |span: Option<Range<usize>>, what: &str, walk: &mut Walk<'_>| {
            if let Some(span) = span.filter(|_| service.listen.is_absent()) {
                walk.error(span, format!("{what} has no meaning without `listen`"))
                    .help("listen = [\"tcp://127.0.0.1:3000\"]".into());
            }
        };
        without(service.listen_mode.span().filter(|_| !cluster), "`listen_mode`", walk);
        for why in faults(&[], mode, false, cluster).into_iter().filter(|_| cluster) {
            walk.error(service.node_cluster.span().unwrap_or_default(), why);
        }
        without(service.start.span().filter(|_| on_demand), "`start = \"on-demand\"`", walk);
        return (vec![], mode, on_demand);
    };
    let listens: Vec<Listen> = value
        .each(span)
        .into_iter()
        .filter_map(|(span, entry)| self::entry(name, entry, &span, walk))
        .collect();
    for why in faults(&listens, mode, on_demand, cluster) {
        walk.error(span.clone(), why);
    }
    (listens, mode, on_demand)
}

fn entry(service: &str, entry: &Entry, span: &Range<usize>, walk: &mut Walk<'_>) -> Option<Listen> {
    let nothing = Listener::default();
    let (address, table) = match entry {
        Entry::Text(text) => (Some(text), &nothing),
        Entry::Table(table) => (table.address.get(), table.as_ref()),
    };
    let Some(text) = address else {
        if table.address.is_absent() {
            walk.error(span.clone(), "this has no `address`")
                .help("{ address = \"unix:///run/web.sock\", mode = \"0660\" }".into());
        }
        return None;
    };
    let span = table.address.span().unwrap_or_else(|| span.clone());
    let address = match full(text, walk).parse::<Address>() {
        Ok(address) => address,
        Err(error) => {
            walk.error(span, error);
            return None;
        }
    };
    let is_file = matches!(address, Address::Unix(_));
    for (key, span) in [("mode", table.mode.span()), ("owner", table.owner.span())] {
        if let Some(span) = span.filter(|_| !is_file) {
            walk.error(span, format!("`{key}` is for the file of a Unix socket; a port has none"));
        }
    }
    let name = table.name.get().map_or(service, String::as_str).to_owned();
    let mode = table.mode.0.as_ref().and_then(|mode| {
        let bits = u32::from_str_radix(&mode.value, 8).ok().filter(|bits| *bits <= 0o777);
        if bits.is_none() {
            walk.error(mode.span.clone(), format!("`{}` are no permissions", mode.value))
                .help("write them in octal, like \"0660\"".into());
        }
        bits
    });
    Some(Listen {
        address,
        name,
        mode: mode.unwrap_or(FILE_MODE),
        owner: table.owner.get().cloned(),
    })
}

/// A relative path of a Unix socket starts at the file's folder, as all paths of the file do.
fn full(text: &str, walk: &Walk<'_>) -> String {
    match text.strip_prefix(SCHEME_UNIX) {
        Some(path) if !path.is_empty() && !path.starts_with('/') => {
            format!("{SCHEME_UNIX}{}", absolute(walk.dir, path).display())
        }
        _ => text.to_owned(),
    }
}

/// What is wrong with what one service listens on, whoever wrote it.
fn faults(listens: &[Listen], mode: ListenMode, on_demand: bool, cluster: bool) -> Vec<String> {
    let mut wrong = vec![];
    if cluster && !listens.is_empty() {
        wrong.push(
            "a program of a Node cluster says itself where it listens: leave `listen` out, or `node_cluster`"
                .to_owned(),
        );
    }
    if cluster && mode == ListenMode::Reuseport {
        wrong.push(
            "the workers of a Node cluster get connections by \"pass\", or share the socket by \"inherit\"; \"reuseport\" is nothing they know"
                .to_owned(),
        );
    }
    if on_demand && listens.is_empty() {
        wrong.push("it starts with its first connection and listens on nothing".to_owned());
    }
    if listens.len() > ADDRESSES_MAX {
        wrong.push(format!("{} addresses are more than {ADDRESSES_MAX}", listens.len()));
    }
    for (at, listen) in listens.iter().enumerate() {
        let address = &listen.address;
        if mode == ListenMode::Reuseport && !matches!(address, Address::Tcp(_)) {
            wrong.push(format!(
                "{address}: `reuseport` is for TCP; UDP and Unix sockets are shared by `inherit`"
            ));
        }
        if mode == ListenMode::Pass && matches!(address, Address::Udp(_)) {
            wrong.push(format!(
                "{address}: UDP has no connections that `pass` could hand over; it is shared by `inherit`"
            ));
        }
        if !is_fd_name(&listen.name) {
            wrong.push(format!(
                "`{}` can't be a name in LISTEN_FDNAMES: visible ASCII without `:`",
                listen.name
            ));
        }
        if listen.mode > 0o777 {
            wrong.push(format!("{address}: {:o} are no permissions", listen.mode));
        }
        if !is_chosen(address) && listens[..at].iter().any(|other| other.address == *address) {
            wrong.push(format!("{address} is listed twice"));
        }
    }
    wrong
}

/// The kernel chooses the port: a different one each time.
fn is_chosen(address: &Address) -> bool {
    address.place().is_some_and(|place| place.port == 0)
}

/// Addresses that two services want: name of the second, the address, name of the first.
fn shared(services: &BTreeMap<String, Service>) -> Vec<(String, Address, String)> {
    let mut first: BTreeMap<&Address, &str> = BTreeMap::new();
    let mut shared = vec![];
    for (name, service) in services {
        for address in service.listen.iter().map(|l| &l.address).filter(|a| !is_chosen(a)) {
            match first.get(address).filter(|other| *other != name) {
                Some(other) => shared.push((name.clone(), address.clone(), (*other).to_owned())),
                None => drop(first.insert(address, name)),
            }
        }
    }
    shared
}

/// What only shows when all services are known.
pub(super) fn check(
    services: &[(&At<String>, &raw::Service)],
    config: &Config,
    walk: &mut Walk<'_>,
) {
    let span = |name: &str| {
        let (at, service) = services.iter().find(|(at, _)| at.value == name)?;
        Some(service.listen.span().unwrap_or_else(|| at.span.clone()))
    };
    for (name, address, other) in shared(&config.services) {
        walk.error(span(&name).unwrap_or_default(), format!("{address} is `{other}`'s already"))
            .help("one service has an address; its replicas share it".into());
    }
    for (at, raw) in services {
        let Some(service) = config.services.get(&at.value) else { continue };
        let check = |said: &Option<Ready>| match said.as_ref().map(|said| &said.check) {
            Some(ReadyCheck::Tcp(address)) => Some(address.clone()),
            _ => None,
        };
        let live = match service.live.as_ref().map(|live| &live.check) {
            Some(LiveCheck::Tcp(address)) => Some(address.clone()),
            _ => None,
        };
        for (key, span, address) in [
            ("ready", raw.ready.span(), check(&service.ready)),
            ("startup", raw.startup.span(), check(&service.startup)),
            ("live", raw.live.span(), live),
        ] {
            if let Some(address) = address {
                says_nothing(key, span.unwrap_or_default(), &address, &service.listen, walk);
            }
        }
    }
}

/// A connection to a port that ganger holds is taken before the service can serve it.
fn says_nothing(
    key: &str,
    span: Range<usize>,
    address: &str,
    listens: &[Listen],
    walk: &mut Walk<'_>,
) {
    let Some((host, port)) = address.rsplit_once(':') else { return };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().unwrap_or(0);
    if let Some(held) = listens.iter().find(|listen| listen.address.takes_tcp(host, port)) {
        let message = format!(
            "`{key}.tcp` says nothing here: ganger itself listens on {}, so a connection is taken before its service can serve it",
            held.address
        );
        walk.warning(span, message)
            .help(format!("{key} = {{ http = \"…\" }} or {{ notify = true }}"));
    }
}

/// The same for a configuration that came ready-made.
pub(super) fn verify(config: &Config) -> Vec<String> {
    let own = config.services.iter().flat_map(|(name, service)| {
        let faults =
            faults(&service.listen, service.listen_mode, service.on_demand, service.node_cluster);
        faults.into_iter().map(move |why| format!("service `{name}`: {why}"))
    });
    let shared = shared(&config.services).into_iter();
    own.chain(shared.map(|(name, address, other)| {
        format!("service `{name}`: {address} is `{other}`'s already")
    }))
    .collect()
}
