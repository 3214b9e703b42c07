//! One field out of a payload, without building the rest.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The text of a string, number or truth value at this path (`user.id`). `None`: not there, or something else.
pub(crate) fn text_at(payload: &[u8], path: &str) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_slice(payload);
    // What follows the field does not matter; the payload was checked to be JSON when it was pushed.
    At(path).deserialize(&mut reader).ok().flatten()
}

/// What is left of the path; empty: the value itself.
struct At<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (name, rest) = self.0.split_once('.').unwrap_or((self.0, ""));
        let mut found = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if !name.is_empty() && key == name && found.is_none() {
                found = map.next_value_seed(At(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| text.to_owned()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| n.to_string()))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| n.to_string()))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| n.to_string()))
    }

    fn visit_bool<E>(self, is: bool) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| is.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_at_any_depth() {
        let json = br#"{"list":[{"a":1}],"tenant":"acme","user":{"x":null,"id":42},"on":true}"#;
        assert_eq!(text_at(json, "tenant").as_deref(), Some("acme"));
        assert_eq!(text_at(json, "user.id").as_deref(), Some("42"));
        assert_eq!(text_at(json, "on").as_deref(), Some("true"));
        for path in ["user", "user.x", "list", "list.a", "tenant.name", "none", ""] {
            assert_eq!(text_at(json, path), None, "{path}");
        }
        assert_eq!(text_at(b"7", "tenant"), None);
    }
}
