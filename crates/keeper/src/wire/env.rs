//! The environment of a child, shared where it is the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The whole environment of a child, by name.
///
/// Children that inherit the same variables share them, so a thousand services of one `up` hold one copy and not a
/// thousand. On the wire it is a list of pairs.
#[derive(Clone, Default)]
pub struct Env {
    inherited: Arc<BTreeMap<String, String>>,
    own: BTreeMap<String, String>,
}

impl Env {
    /// What all of these children inherit.
    #[must_use]
    pub const fn inheriting(inherited: Arc<BTreeMap<String, String>>) -> Self {
        Self { inherited, own: BTreeMap::new() }
    }

    /// Sets a variable of this child alone.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.own.insert(name.into(), value.into());
    }

    /// Takes a variable of this child alone away again.
    pub fn unset(&mut self, name: &str) {
        self.own.remove(name);
    }

    /// A variable's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.own.get(name).or_else(|| self.inherited.get(name)).map(String::as_str)
    }

    /// Every variable once.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let inherited = self.inherited.iter().filter(|(name, _)| !self.own.contains_key(*name));
        inherited.chain(&self.own).map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let own = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { inherited: Arc::default(), own }
    }
}

/// The same variables, however they are shared.
impl PartialEq for Env {
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.inherited, &other.inherited) && self.own == other.own {
            return true;
        }
        let sorted = |env: &Self| -> BTreeMap<String, String> {
            env.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        sorted(self) == sorted(other)
    }
}

impl Eq for Env {}

/// Names only: values may be secret.
impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

impl Serialize for Env {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Env {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<(String, String)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_variables_hide_inherited_ones_and_sharing_is_invisible() {
        let inherited = Arc::new(BTreeMap::from([
            ("PATH".to_owned(), "/bin".to_owned()),
            ("PORT".to_owned(), "1".to_owned()),
        ]));
        let mut env = Env::inheriting(Arc::clone(&inherited));
        env.set("PORT", "2");
        assert_eq!(env.get("PORT"), Some("2"));
        assert_eq!(env.get("PATH"), Some("/bin"));
        let flat: Env = [("PORT", "2"), ("PATH", "/bin")].into_iter().collect();
        assert_eq!(env, flat);
        assert_ne!(Env::inheriting(inherited), flat);
        let text = serde_json::to_string(&env).unwrap();
        assert_eq!(text, r#"[["PATH","/bin"],["PORT","2"]]"#);
        assert_eq!(serde_json::from_str::<Env>(&text).unwrap(), env);
        assert!(!format!("{env:?}").contains("/bin"));
    }
}
