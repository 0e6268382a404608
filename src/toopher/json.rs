//! JSON as a call's answer is read: no key twice, and nothing that is taken for something else.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

const ARBITRARY_PRECISION: &str = "$serde_json::private::Number";

/// A JSON value. In an object each key occurs once: with two, what one reader takes for a refusal is a grant to
/// another.
#[derive(Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// A number that is no 64-bit integer is kept as none.
    Number(Option<i64>),
    Text(String),
    Array(Vec<Json>),
    Object(Object),
}

/// An object, whose fields are read by type.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Object(BTreeMap<String, Json>);

/// A field that is missing, or not of its type.
#[derive(Debug, PartialEq)]
pub(super) struct WrongField;

impl Json {
    /// Reads a whole document. Its depth is bounded by the parser, its size by whoever collected it.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

impl Object {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A JSON boolean, and nothing that looks like one.
    pub(super) fn bool(&self, name: &str) -> Result<bool, WrongField> {
        match self.0.get(name) {
            Some(Json::Bool(value)) => Ok(*value),
            _ => Err(WrongField),
        }
    }

    /// A boolean on which no grant hangs: also as text, as some servers spell it; none when missing.
    pub(super) fn lenient_bool(&self, name: &str) -> Result<Option<bool>, WrongField> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Bool(value)) => Ok(Some(*value)),
            Some(Json::Text(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Json::Text(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            _ => Err(WrongField),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<&str, WrongField> {
        self.optional_text(name)?.ok_or(WrongField)
    }

    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&str>, WrongField> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            _ => Err(WrongField),
        }
    }

    /// An integer, also as text; none when missing or something else.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Json::Number(number)) => *number,
            Some(Json::Text(text)) => text.parse().ok(),
            // How numbers look where some other crate has switched serde_json's `arbitrary_precision` on.
            Some(Json::Object(Object(number))) if number.len() == 1 => match number.get(ARBITRARY_PRECISION) {
                Some(Json::Text(text)) => text.parse().ok(),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<&Object>, WrongField> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Object(object)) => Ok(Some(object)),
            _ => Err(WrongField),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(Some(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.try_into().ok()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number(None))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element()? {
            array.push(element);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, Json>()? {
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom("a key is there twice"));
            }
        }
        Ok(Json::Object(Object(object)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        match Json::parse(text.as_bytes()) {
            Some(Json::Object(object)) => object,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn booleans_are_booleans() {
        let fields = object(r#"{"a":true,"b":"true","c":1,"d":null,"e":[true],"f":"True","g":"yes","h":{"x":true}}"#);
        assert_eq!(fields.bool("a"), Ok(true));
        for name in ["b", "c", "d", "e", "f", "g", "h", "missing"] {
            assert_eq!(fields.bool(name), Err(WrongField), "{name}");
        }
        assert_eq!(fields.lenient_bool("b"), Ok(Some(true)));
        assert_eq!(fields.lenient_bool("f"), Ok(Some(true)));
        assert_eq!(fields.lenient_bool("missing"), Ok(None));
        assert_eq!(fields.lenient_bool("g"), Err(WrongField));
        assert_eq!(fields.lenient_bool("c"), Err(WrongField));
    }

    #[test]
    fn integers_may_be_text() {
        let fields = object(r#"{"a":708,"b":"708","c":1e3,"d":99999999999999999999,"e":true,"f":"x"}"#);
        assert_eq!((fields.integer("a"), fields.integer("b")), (Some(708), Some(708)));
        for name in ["c", "d", "e", "f", "missing"] {
            assert_eq!(fields.integer(name), None, "{name}");
        }
    }

    #[test]
    fn documents_that_are_none() {
        for text in [
            "",
            " ",
            "{",
            "{}{}",
            "{} x",
            "{'a':1}",
            r#"{"a":1,"a":1}"#,
            r#"{"granted":false,"gr\u0061nted":true}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            "\u{feff}{}",
            "NaN",
        ] {
            assert_eq!(Json::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Json::parse(b"{\"a\":\"\xff\"}"), None);
        assert_eq!(Json::parse(("[".repeat(50_000) + &"]".repeat(50_000)).as_bytes()), None);
    }
}
