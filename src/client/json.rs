//! A strict JSON reader for responses: it rejects repeated keys and does not convert types.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::base_url::is_segment;

const ARBITRARY_PRECISION: &str = "$serde_json::private::Number";

/// A JSON value. Each key of an object occurs once: of two equal keys, one parser reads the first, another the second,
/// so one would read a denial where the other reads a grant.
#[derive(Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// `None` if the number is not a 64-bit integer.
    Number(Option<i64>),
    Text(String),
    Array(Vec<Self>),
    Object(Object),
}

/// An object, with accessors by type.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Object(BTreeMap<String, Json>);

/// A field is missing or has another type.
#[derive(Debug, PartialEq)]
pub(super) struct InvalidField;

impl Json {
    /// Parses a whole document. The parser limits its depth, the caller its size.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Reads each element of a list of objects.
    pub(super) fn read_list<T>(
        &self,
        read: impl Fn(&Object) -> Result<T, InvalidField>,
    ) -> Result<Vec<T>, InvalidField> {
        let Self::Array(elements) = self else { return Err(InvalidField) };
        elements
            .iter()
            .map(|element| match element {
                Self::Object(fields) => read(fields),
                _ => Err(InvalidField),
            })
            .collect()
    }
}

impl Object {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A JSON boolean, and no text or number in its place.
    pub(super) fn bool(&self, name: &str) -> Result<bool, InvalidField> {
        match self.0.get(name) {
            Some(Json::Bool(value)) => Ok(*value),
            _ => Err(InvalidField),
        }
    }

    /// A boolean that no grant depends on: `true` and `false` as text are accepted as well, because some servers send
    /// them. `None` if it is missing.
    pub(super) fn lenient_bool(&self, name: &str) -> Result<Option<bool>, InvalidField> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Bool(value)) => Ok(Some(*value)),
            Some(Json::Text(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Json::Text(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            _ => Err(InvalidField),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<&str, InvalidField> {
        self.optional_text(name)?.ok_or(InvalidField)
    }

    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&str>, InvalidField> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            _ => Err(InvalidField),
        }
    }

    /// The field `id`. It becomes a segment of the path of later calls, so an id that is not one segment is invalid.
    pub(super) fn id(&self) -> Result<String, InvalidField> {
        self.optional_id()?.ok_or(InvalidField)
    }

    /// As [`id`](Self::id), or `None` if the field is missing.
    pub(super) fn optional_id(&self) -> Result<Option<String>, InvalidField> {
        match self.optional_text("id")? {
            None => Ok(None),
            Some(id) if is_segment(id) => Ok(Some(id.to_owned())),
            Some(_) => Err(InvalidField),
        }
    }

    /// An integer, as a number or as text. `None` if it is missing or has another type.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Json::Number(number)) => *number,
            Some(Json::Text(text)) => text.parse().ok(),
            // The form of a number if another crate enables serde_json's feature `arbitrary_precision`.
            Some(Json::Object(Self(number))) if number.len() == 1 => match number.get(ARBITRARY_PRECISION) {
                Some(Json::Text(text)) => text.parse().ok(),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<&Self>, InvalidField> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Object(object)) => Ok(Some(object)),
            _ => Err(InvalidField),
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
                return Err(A::Error::custom("repeated key"));
            }
        }
        Ok(Json::Object(Object(object)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        let Some(Json::Object(object)) = Json::parse(text.as_bytes()) else { return Object::default() };
        object
    }

    #[test]
    fn only_json_booleans_are_booleans() {
        let fields = object(r#"{"a":true,"b":"true","c":1,"d":null,"e":[true],"f":"True","g":"yes","h":{"x":true}}"#);
        assert_eq!(fields.bool("a"), Ok(true));
        for name in ["b", "c", "d", "e", "f", "g", "h", "missing"] {
            assert_eq!(fields.bool(name), Err(InvalidField), "{name}");
        }
        assert_eq!(fields.lenient_bool("b"), Ok(Some(true)));
        assert_eq!(fields.lenient_bool("f"), Ok(Some(true)));
        assert_eq!(fields.lenient_bool("missing"), Ok(None));
        assert_eq!(fields.lenient_bool("g"), Err(InvalidField));
        assert_eq!(fields.lenient_bool("c"), Err(InvalidField));
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
    fn invalid_documents_are_rejected() {
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
