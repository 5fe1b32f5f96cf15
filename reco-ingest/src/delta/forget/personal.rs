//! [`Personal`]: a record that may be about a person.

use std::fmt::Write as _;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use reco_core::{Event, Record};

use crate::sink::DeadLetter;

/// A person, as events name one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The shop or property; empty for a single one.
    pub tenant: String,
    /// The browser or device.
    pub client: String,
}

// Whoever is to be forgotten is not to be in a log of the host's.
impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// A record that may be about a person.
///
/// # Contract
///
/// * Whether a row is about a subject is told by the columns of [`COLUMNS`](Self::COLUMNS) alone.
pub trait Personal: Record {
    /// The columns that tell whom a row is about.
    const COLUMNS: &'static [&'static str];

    /// Which rows of a batch are about a subject.
    ///
    /// The batch has [`COLUMNS`](Self::COLUMNS) in their order and of the types that the record
    /// declares.
    #[must_use]
    fn is_about(batch: &RecordBatch, subject: &Subject) -> BooleanArray;
}

/// An event is about its client, of its tenant.
impl Personal for Event {
    const COLUMNS: &'static [&'static str] = &["tenant_id", "client_id"];

    fn is_about(batch: &RecordBatch, subject: &Subject) -> BooleanArray {
        let tenants = batch.column(0).as_string::<i32>().iter();
        let clients = batch.column(1).as_string::<i32>().iter();
        let is = |(tenant, client)| {
            tenant == Some(subject.tenant.as_str()) && client == Some(subject.client.as_str())
        };
        tenants.zip(clients).map(is).map(Some).collect()
    }
}

/// A dead letter is about whomever it mentions, since nobody could read what it says.
///
/// The client's name is looked for as it is, as JSON escapes it, and as a URL does, anywhere in the
/// payload, the reason and the source, whatever the tenant. So letters of others go too if they
/// contain the name by chance, which short names make likely; and a payload that is compressed or
/// encoded in another way is not found.
impl Personal for DeadLetter {
    const COLUMNS: &'static [&'static str] = &["source", "reason", "payload"];

    fn is_about(batch: &RecordBatch, subject: &Subject) -> BooleanArray {
        let names = spellings(&subject.client);
        let mentions = |bytes: &[u8]| names.iter().any(|name| contains(bytes, name));
        let sources = batch.column(0).as_string::<i32>();
        let reasons = batch.column(1).as_string::<i32>();
        let payloads = batch.column(2).as_binary::<i32>();
        (0..batch.num_rows())
            .map(|row| {
                Some(
                    mentions(payloads.value(row))
                        || mentions(reasons.value(row).as_bytes())
                        || mentions(sources.value(row).as_bytes()),
                )
            })
            .collect()
    }
}

// A name as it is, as JSON escapes it, and as a URL does in either case.
fn spellings(name: &str) -> Vec<Vec<u8>> {
    let json = serde_json::Value::from(name).to_string();
    let (mut upper, mut lower) = (String::new(), String::new());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            upper.push(char::from(byte));
            lower.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(upper, "%{byte:02X}");
            let _ = write!(lower, "%{byte:02x}");
        }
    }
    let mut names = vec![
        name.as_bytes().to_vec(),
        json.as_bytes()[1..json.len() - 1].to_vec(),
        upper.into_bytes(),
        lower.into_bytes(),
    ];
    names.dedup();
    names
}

fn contains(bytes: &[u8], name: &[u8]) -> bool {
    bytes.windows(name.len()).any(|window| window == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(client: &str, payload: &str, expected: bool) {
        let letter = DeadLetter {
            received_at: "2024-05-01T12:00Z".parse().unwrap(),
            source: "clicks".to_owned(),
            position: 1,
            reason: "no time".to_owned(),
            payload: payload.to_owned().into(),
        };
        let batch = DeadLetter::to_batch(&[letter]).unwrap();
        let columns = DeadLetter::COLUMNS.iter().map(|name| {
            let (at, _) = batch.schema_ref().column_with_name(name).unwrap();
            at
        });
        let batch = batch.project(&columns.collect::<Vec<_>>()).unwrap();
        let subject = Subject {
            tenant: String::new(),
            client: client.to_owned(),
        };
        let found = DeadLetter::is_about(&batch, &subject);
        assert_eq!(
            found,
            BooleanArray::from(vec![expected]),
            "{client}: {payload}"
        );
    }

    #[test]
    fn a_letter_is_about_whomever_it_mentions() {
        check("v-7", r#"{"client":"v-7"}"#, true);
        check("v-7", r#"{"client":"v-8"}"#, false);
        check("v-7", "v-", false);
        check("a\"b", r#"{"client":"a\"b"}"#, true);
        check("a b/ü", "?uid=a%20b%2F%C3%BC&x", true);
        check("a b/ü", "?uid=a%20b%2f%c3%bc&x", true);
        check("clicks", "", true);
    }

    #[test]
    fn a_subject_is_not_printed() {
        let subject = Subject {
            tenant: "shop".to_owned(),
            client: "v-7".to_owned(),
        };
        assert_eq!(format!("{subject:?}"), "Subject { .. }");
    }
}
