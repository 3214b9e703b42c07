//! `user = "name:group"` as numbers, from the passwd(5) and group(5) files.
//!
//! Only the files are read: asking nsswitch would load foreign code into the daemon. Users from elsewhere are written
//! as numbers.

use std::path::Path;

use ganger_sandbox::Identity;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A user that can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    /// No such name.
    #[error("there is no {what} `{name}` in {file}: write a name from there, or a number")]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// As written.
        name: String,
        /// Where it was looked for.
        file: String,
    },
    /// A number without a group, and no entry that would say which.
    #[error("user {0} has no entry in {PASSWD}: write its group too, like `{0}:{0}`")]
    NoGroup(u32),
}

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) identity: Identity,
    /// Name and home folder, for `USER`, `LOGNAME` and `HOME`.
    pub(crate) entry: Option<(String, String)>,
}

/// Looks up `user` or `user:group`; names or numbers.
pub(crate) fn look_up(text: &str) -> Result<User, IdentityError> {
    let read = |file: &str| std::fs::read_to_string(Path::new(file)).unwrap_or_default();
    look_up_in(text, &read(PASSWD), &read(GROUP))
}

/// The number of a group, by name or number.
pub(crate) fn look_up_group(text: &str) -> Result<u32, IdentityError> {
    group_id(text, &std::fs::read_to_string(GROUP).unwrap_or_default())
}

/// Name and groups of a user by the files; `None`: it has no entry.
pub(crate) fn look_up_user(uid: u32) -> Option<(String, Vec<u32>)> {
    let user = look_up(&uid.to_string()).ok()?;
    let (name, _) = user.entry?;
    let Identity { gid, mut groups, .. } = user.identity;
    groups.insert(0, gid);
    Some((name, groups))
}

fn look_up_in(text: &str, passwd: &str, group: &str) -> Result<User, IdentityError> {
    let (user, wanted_group) = text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g)));
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| {
        fields.len() >= 6 && (fields[0] == user || user.parse::<u32>().is_ok() && fields[2] == user)
    });
    let number = |text: &str| text.parse::<u32>().ok();
    let uid =
        entry.as_ref().and_then(|e| number(e[2])).or_else(|| number(user)).ok_or_else(|| {
            IdentityError::Unknown { what: "user", name: user.to_owned(), file: PASSWD.to_owned() }
        })?;
    let gid = match wanted_group {
        Some(name) => group_id(name, group)?,
        None => entry.as_ref().and_then(|e| number(e[3])).ok_or(IdentityError::NoGroup(uid))?,
    };
    // A group that was named replaces the user's own ones.
    let groups = match &entry {
        Some(fields) if wanted_group.is_none() => member_of(fields[0], group),
        _ => Vec::new(),
    };
    let entry = entry.map(|fields| (fields[0].to_owned(), fields[5].to_owned()));
    Ok(User { identity: Identity { uid, gid, groups }, entry })
}

fn group_id(name: &str, group: &str) -> Result<u32, IdentityError> {
    let fields = |line: &str| -> Option<(String, u32)> {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    let known = group.lines().filter_map(fields).find(|(known, _)| known == name);
    known.map(|(_, gid)| gid).or_else(|| name.parse().ok()).ok_or_else(|| IdentityError::Unknown {
        what: "group",
        name: name.to_owned(),
        file: GROUP.to_owned(),
    })
}

fn member_of(user: &str, group: &str) -> Vec<u32> {
    let member = |line: &str| -> Option<u32> {
        let mut fields = line.split(':').skip(2);
        let gid = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|name| name == user).then_some(gid)
    };
    group.lines().filter_map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD_TEXT: &str = "root:x:0:0:root:/root:/bin/sh\nana:x:1000:1000::/home/ana:/bin/sh\n";
    const GROUP_TEXT: &str = "root:x:0:\nana:x:1000:\ndocker:x:99:bob,ana\naudio:x:29:bob\n";

    fn ids(text: &str) -> Result<(u32, u32, Vec<u32>), IdentityError> {
        look_up_in(text, PASSWD_TEXT, GROUP_TEXT)
            .map(|user| (user.identity.uid, user.identity.gid, user.identity.groups))
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(ids("ana"), Ok((1000, 1000, vec![99])));
        assert_eq!(ids("1000"), Ok((1000, 1000, vec![99])));
        assert_eq!(ids("ana:audio"), Ok((1000, 29, vec![])));
        assert_eq!(ids("7:8"), Ok((7, 8, vec![])));
        assert_eq!(ids("7"), Err(IdentityError::NoGroup(7)));
        assert!(ids("nobody").unwrap_err().to_string().contains("no user `nobody`"));
        assert!(ids("ana:x").unwrap_err().to_string().contains("no group `x`"));
    }
}
