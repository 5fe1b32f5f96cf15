//! [`Document`]: a text in JSON or YAML, read with one strictness.
//!
//! Both formats become the same tree of values, so that whatever is read of it is refused for the same
//! reasons in the same words. A key that is written twice is refused in both. When something is wrong with
//! the values, the text is read once more to tell the line.

use std::fmt;

use reco_core::{Error as CoreError, config_from_value};
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use serde_saphyr::{DefaultMessageFormatter, Location, MessageFormatter, Options, Spanned};

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1, in characters.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What is wrong with a document, and where.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) source: Box<CoreError>,
    pub(crate) place: Option<Place>,
}

/// A text in JSON or YAML, and what it holds.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    of: &'a str,
    text: &'a str,
    value: Value,
}

/// A step on the way to a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'a> {
    Key(&'a str),
    Position(usize),
}

impl<'a> Document<'a> {
    /// Reads JSON. `of` names what it holds in errors.
    pub(crate) fn from_json(of: &'a str, text: &'a str) -> Result<Self, Unreadable> {
        let strict: Strict = serde_json::from_str(text).map_err(|error| {
            let place = (error.line() > 0).then(|| Place {
                line: error.line() as u64,
                column: error.column() as u64,
            });
            // The place is told on its own.
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            Unreadable::new(of, reason, place)
        })?;
        Ok(Self {
            of,
            text,
            value: strict.0,
        })
    }

    /// Reads YAML 1.2: `yes` and `no` are texts.
    pub(crate) fn from_yaml(of: &'a str, text: &'a str) -> Result<Self, Unreadable> {
        let strict: Strict =
            serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
                let place = error.location().and_then(place_of);
                let reason = DefaultMessageFormatter.format_message(error.without_snippet());
                Unreadable::new(of, &reason, place)
            })?;
        Ok(Self {
            of,
            text,
            value: strict.0,
        })
    }

    pub(crate) const fn value(&self) -> &Value {
        &self.value
    }

    /// What the document holds as a type of serde.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Unreadable> {
        config_from_value(self.of, self.value.clone()).map_err(|source| self.wrong(&[], source))
    }

    /// An error with what is at the end of a way, told with its place.
    pub(crate) fn wrong(&self, way: &[At<'_>], source: CoreError) -> Unreadable {
        // JSON is YAML, but for rare escapes: then the place is not told.
        let tree: Result<Spanned<Node>, _> =
            serde_saphyr::from_str_with_options(self.text, options());
        let place = tree.ok().and_then(|tree| {
            let node = tree.value.at(tree.referenced, way)?;
            let key = match &source {
                CoreError::UnknownKey { key, .. } => node.0.key(key),
                _ => None,
            };
            place_of(key.unwrap_or(node.1))
        });
        Unreadable {
            source: Box::new(source),
            place,
        }
    }
}

impl Unreadable {
    fn new(of: &str, reason: &str, place: Option<Place>) -> Self {
        let source = Box::new(CoreError::InvalidConfig {
            of: of.to_owned(),
            reason: reason.to_owned(),
        });
        Self { source, place }
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
    }
}

fn place_of(location: Location) -> Option<Place> {
    let (line, column) = (location.line(), location.column());
    (line > 0).then_some(Place { line, column })
}

/// A value in which no key is written twice and every number is one.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict(Value::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict(Value::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict(Value::from(value)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Strict, E> {
        let number = Number::from_f64(value);
        let number = number.ok_or_else(|| E::custom(format!("{value} is not a finite number")))?;
        Ok(Strict(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
        Ok(Strict(Value::from(value)))
    }

    fn visit_string<E>(self, value: String) -> Result<Strict, E> {
        Ok(Strict(Value::String(value)))
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Strict, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(value)) = values.next_element()? {
            array.push(value);
        }
        Ok(Strict(Value::Array(array)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Strict, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("key `{key}` is there twice")));
            }
            let Strict(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(Strict(Value::Object(object)))
    }
}

/// Where the parts of a document are.
enum Node {
    Leaf,
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl Node {
    /// The part at the end of a way, and where it is.
    fn at(&self, location: Location, way: &[At<'_>]) -> Option<(&Self, Location)> {
        let Some((first, rest)) = way.split_first() else {
            return Some((self, location));
        };
        let next = match (self, first) {
            (Self::List(parts), At::Position(position)) => parts.get(*position),
            (Self::Map(entries), At::Key(key)) => {
                let entry = entries.iter().find(|(name, _)| name.value == *key);
                entry.map(|(_, part)| part)
            }
            _ => None,
        };
        next.and_then(|next| next.value.at(next.referenced, rest))
    }

    /// Where a key is first, here or in the parts of this one.
    fn key(&self, key: &str) -> Option<Location> {
        match self {
            Self::Leaf => None,
            Self::List(parts) => parts.iter().find_map(|part| part.value.key(key)),
            Self::Map(entries) => {
                let here = entries.iter().find(|(name, _)| name.value == key);
                here.map(|(name, _)| name.referenced)
                    .or_else(|| entries.iter().find_map(|(_, part)| part.value.key(key)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Node, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = values.next_element()? {
            parts.push(part);
        }
        Ok(Node::List(parts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut parts = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            parts.push(entry);
        }
        Ok(Node::Map(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(text: &str) -> [Result<Value, String>; 2] {
        let told = |error: Unreadable| {
            let place = error
                .place
                .map_or_else(String::new, |place| place.to_string());
            format!("{} @ {place}", error.source)
        };
        [
            Document::from_json("it", text),
            Document::from_yaml("it", text),
        ]
        .map(|read| read.map(|document| document.value).map_err(told))
    }

    #[test]
    fn json_is_the_same_in_both() {
        let text = r#"{"a": [1, -2, 1.5, 18446744073709551615, true, null, "yes", "1"], "b": {}}"#;
        let [json, yaml] = both(text);
        assert_eq!(json.unwrap(), serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(yaml.unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn what_yaml_leaves_open_is_a_text() {
        let document =
            Document::from_yaml("it", "[yes, no, on, 2024-05-01, 1:30, ~, 0.5]").unwrap();
        let expected = serde_json::json!(["yes", "no", "on", "2024-05-01", "1:30", null, 0.5]);
        assert_eq!(*document.value(), expected);
    }

    #[test]
    fn what_is_not_well_formed_is_told_with_its_place() {
        for read in both("{\"a\": 1,\n \"a\": 2}") {
            let error = read.unwrap_err();
            assert!(
                error.contains('a') && error.contains("line 2, column "),
                "{error}"
            );
        }
        for read in both("{\"a\": [1,\n}") {
            let error = read.unwrap_err();
            assert!(error.contains(" @ line "), "{error}");
        }
        let error = Document::from_yaml("it", "a: .nan").unwrap_err();
        let told = error.source.to_string();
        assert!(told.contains("finite"), "{told}");
    }

    #[test]
    fn a_wrong_key_is_told_with_its_place() {
        let text = "tests:\n  - name: a\n  - nmae: b\n    given:\n      x: 1\n";
        let unknown = |key: &str| CoreError::UnknownKey {
            of: "test".to_owned(),
            key: key.to_owned(),
            nearest: None,
        };
        let document = Document::from_yaml("tests", text).unwrap();
        let check = |way: &[At<'_>], source, line, column| {
            let place = document.wrong(way, source).place;
            assert_eq!(place, Some(Place { line, column }), "{way:?}");
        };
        check(&[At::Key("tests"), At::Position(1)], unknown("nmae"), 3, 5);
        check(&[At::Key("tests"), At::Position(1)], unknown("x"), 5, 7);
        check(&[At::Key("tests"), At::Position(1)], unknown("y"), 3, 5);
        check(&[], unknown("tests"), 1, 1);
    }
}
