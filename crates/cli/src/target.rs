//! What verbs point at: `web`, `web#2`, `web=4`.

use std::str::FromStr;

/// A service or pool, or one slot of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The service's or pool's name.
    pub(crate) name: String,
    /// One slot; all when absent.
    pub(crate) slot: Option<u32>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (name, slot) = match s.split_once('#') {
            None => (s, None),
            Some((name, slot)) => match slot.parse::<u32>() {
                Ok(slot) if slot > 0 => (name, Some(slot)),
                _ => return Err("slots are numbers from 1, as in web#2".to_owned()),
            },
        };
        if name.is_empty() {
            return Err("a name is missing".to_owned());
        }
        Ok(Self { name: name.to_owned(), slot })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        self.slot.map_or(Ok(()), |slot| write!(f, "#{slot}"))
    }
}

/// `NAME=N` of `scale`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scale {
    /// The service's or pool's name.
    pub(crate) name: String,
    /// How many processes it shall have.
    pub(crate) count: u32,
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let wrong = || "write NAME=N, as in web=3".to_owned();
        let (name, count) = s.split_once('=').ok_or_else(wrong)?;
        let count = count.parse().map_err(|_| wrong())?;
        if name.is_empty() { Err(wrong()) } else { Ok(Self { name: name.to_owned(), count }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        assert_eq!("web".parse(), Ok(Target { name: "web".into(), slot: None }));
        assert_eq!("web#2".parse::<Target>().unwrap().to_string(), "web#2");
        for wrong in ["", "#1", "web#0", "web#x"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn scales() {
        assert_eq!("web=3".parse(), Ok(Scale { name: "web".into(), count: 3 }));
        assert!("web".parse::<Scale>().is_err() && "=3".parse::<Scale>().is_err());
    }
}
