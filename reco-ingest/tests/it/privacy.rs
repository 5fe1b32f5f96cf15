//! Redaction: what identifies a person is in no column and in no byte of what is written.

use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use reco_core::testing::event_sink;
use reco_core::{Event, EventSink, arrow};
use reco_ingest::import::{Import, Landing, Ledger};
use reco_ingest::privacy::{
    Column, Keyring, Opaque, Redact, Redaction, RedactionConfig, Treatment, Unreadable,
};
use reco_ingest::{DeadLetter, DeltaTable, EventSinkExt, MemoryTable};

use crate::import::{HEADER, now, views};
use crate::shop::event;

const CLIENT: &str = "1753294186.1714564800";
const USER: &str = "ada@example.org";
const IPV4: &str = "198.51.100.187";
const IPV6: &str = "2001:db8:beef:cafe:1:2:3:4";
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64)";
const ORIGINALS: [&str; 5] = [CLIENT, USER, IPV4, IPV6, AGENT];

fn keys() -> Keyring {
    Keyring::new("k1", b"a secret that only tests know").unwrap()
}

fn rules() -> Redaction {
    Redaction::new(RedactionConfig::default(), keys()).unwrap()
}

fn with_payload(payload: impl Into<String>) -> Event {
    Event {
        client: CLIENT.to_owned(),
        payload: payload.into().into(),
        ..event("e1", "2024-05-01T12:00:00Z")
    }
}

fn payload_of(event: Event) -> String {
    let redacted = event.redact(&rules(), 0).unwrap();
    String::from_utf8(redacted.payload.to_vec()).unwrap()
}

// What becomes of a payload; `{c}`, `{u}` stand for the pseudonyms of the client and the user.
fn check(payload: &str, expected: &str) {
    let expected = expected
        .replace("{c}", &keys().pseudonym(CLIENT))
        .replace("{u}", &keys().pseudonym(USER));
    assert_eq!(payload_of(with_payload(payload)), expected, "{payload}");
}

#[test]
fn forms_keep_what_no_rule_names() {
    check("", "");
    check(
        "v=1&t=pageview&dt=a%20b+c&x=%FF",
        "v=1&t=pageview&dt=a%20b+c&x=%FF",
    );
    check(
        &format!("?v=1&cid={CLIENT}&uid=ada%40example.org&uip={IPV4}&ua=Mozilla%2F5.0&&z=9"),
        "?v=1&cid={c}&uid={u}&uip=198.51.100.0&ua=&&z=9",
    );
    check(
        &format!("uip={}&v=1", IPV6.replace(':', "%3A")),
        "uip=2001%3Adb8%3Abeef%3A%3A&v=1",
    );
    // What is no address cannot be truncated.
    check("uip=localhost&v=1", "uip=&v=1");
}

#[test]
fn json_keeps_every_other_byte() {
    // The order of keys, white space, a number that no float holds, a key that comes twice.
    let same = r#" {"z": 1.10000000000000000001, "a":[1e400 , {"b":null}],"a":"\u00e9\/" } "#;
    check(same, same);
    check(
        &format!(r#"{{"b":{{"cid" : "{CLIENT}","x":1}},"User-Agent":"{AGENT}","uip":"{IPV6}"}}"#),
        r#"{"b":{"cid" : "{c}","x":1},"User-Agent":null,"uip":"2001:db8:beef::"}"#,
    );
    check(
        &format!(r#"[{{"userId":{{"name":"x"}},"ip":["{IPV4}"],"uid":true}},{{"uid":null}}]"#),
        r#"[{"userId":null,"ip":null,"uid":null},{"uid":null}]"#,
    );
    // A key that is written with escapes, a value that is a number.
    check(r#"{"u\u0069d":"ada@example.org"}"#, r#"{"u\u0069d":"{u}"}"#);
    let number = keys().pseudonym("12345678");
    check(r#"{"cid":12345678}"#, &format!(r#"{{"cid":"{number}"}}"#));
}

#[test]
fn texts_within_texts_are_read() {
    check(
        &format!(r#"{{"dl":"https://shop/hat?q=red+hat&cid={CLIENT}#uid=ada%40example.org"}}"#),
        r#"{"dl":"https://shop/hat?q=red+hat&cid={c}#uid={u}"}"#,
    );
    check(
        &format!("v=1&dl=https%3A%2F%2Fshop%2F%3Fcid%3D{CLIENT}"),
        "v=1&dl=https%3A%2F%2Fshop%2F%3Fcid%3D{c}",
    );
    check(
        &format!(r#"{{"body":"{{\"cid\":\"{CLIENT}\",\"n\":1}}","raw":"t=event&cid={CLIENT}"}}"#),
        r#"{"body":"{\"cid\":\"{c}\",\"n\":1}","raw":"t=event&cid={c}"}"#,
    );
}

#[test]
fn what_cannot_be_vouched_for_is_dropped() {
    check("v1,view,hat,9.5,1714564800", "");
    check("aGVsbG8gd29ybGQ=", "");
    check("{\"cid\":1", "");
    check("{\"a\":1}\n{\"a\":2}", "");
    check("v=1\ncid=2", "");
    check("hello", "");
    check("\"text\"", "");
    check("{\"a\":\"\\ud800\"}", "");
    // The client stands where no rule looks: plainly, or written in another way.
    check(&format!(r#"{{"note":"seen {CLIENT} again"}}"#), "");
    check(&format!(r#"{{"{CLIENT}":1}}"#), "");
    check(&format!("v=1&el=client%20{CLIENT}"), "");
    let escaped = CLIENT.replace('.', "\\u002e");
    check(&format!(r#"{{"note":"seen {escaped}"}}"#), "");
    let escaped = CLIENT.replace('.', "%2E");
    check(&format!("v=1&el={escaped}"), "");
    check(&format!("v=1&ua={0}&el={0}", AGENT.replace(' ', "+")), "");
    let binary = Event {
        payload: vec![0xff, 0xfe].into(),
        ..with_payload("")
    };
    assert_eq!(payload_of(binary), "");
}

#[test]
fn what_cannot_be_vouched_for_is_refused_where_rules_say_so() {
    let config = RedactionConfig {
        unreadable: Unreadable::Refuse,
        ..RedactionConfig::default()
    };
    let rules = Redaction::new(config, keys()).unwrap();
    let error = with_payload("hello").redact(&rules, 3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "table `event`, column `payload`, row 3: it is neither JSON nor a form"
    );
}

#[test]
fn columns_are_treated_and_searched() {
    let columns = [
        (Column::Client, Treatment::Hash),
        (Column::Query, Treatment::Drop),
        (Column::Tenant, Treatment::TruncateIp),
    ];
    let config = RedactionConfig {
        columns: columns.into(),
        ..RedactionConfig::default()
    };
    let rules = Redaction::new(config, keys()).unwrap();
    let sent = Event {
        id: format!("{CLIENT}-17"),
        tenant: IPV4.to_owned(),
        session: Some(format!("s.{CLIENT}")),
        query: Some("gift for ada".to_owned()),
        ..with_payload("")
    };
    let pseudonym = |text: &str| keys().pseudonym(text);
    let expected = Event {
        id: pseudonym(&sent.id),
        tenant: "198.51.100.0".to_owned(),
        client: pseudonym(CLIENT),
        session: sent.session.as_deref().map(pseudonym),
        query: None,
        ..sent.clone()
    };
    assert_eq!(sent.redact(&rules, 0).unwrap(), expected);
}

#[tokio::test]
async fn the_same_client_has_one_pseudonym_a_key() {
    let (keys, table) = (keys(), MemoryTable::new());
    let rules = Redaction::new(RedactionConfig::default(), keys.clone()).unwrap();
    let sink = table.clone().redacted(rules);
    sink.write(vec![with_payload(""), with_payload("")])
        .await
        .unwrap();
    keys.rotate("k2", b"another secret of the tests").unwrap();
    sink.write(vec![with_payload("")]).await.unwrap();
    let clients: Vec<String> = table
        .records()
        .into_iter()
        .map(|e: Event| e.client)
        .collect();
    let [new, old] = keys.pseudonyms(CLIENT).try_into().unwrap();
    assert_ne!(new, old);
    assert_eq!(clients, [old.clone(), old, new]);
}

#[test]
fn rules_that_cannot_be_followed_are_refused() {
    let check = |config: RedactionConfig, expected: &str| {
        let error = Redaction::new(config, keys()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the redaction is invalid: {expected}")
        );
    };
    let config = RedactionConfig {
        columns: [(Column::Id, Treatment::Drop)].into(),
        ..RedactionConfig::default()
    };
    check(config, "`id` can be hashed only");
    let both = [("user-id", Treatment::Hash), ("userId", Treatment::Drop)];
    let config = RedactionConfig {
        payload_keys: both.map(|(key, rule)| (key.to_owned(), rule)).into(),
        ..RedactionConfig::default()
    };
    check(config, "payload key `userId` has two treatments");
    let config: Result<RedactionConfig, _> =
        reco_core::config_from_json("redaction", r#"{"payload_key": {}}"#);
    assert!(
        config
            .unwrap_err()
            .to_string()
            .contains("did you mean `payload_keys`?")
    );
}

#[tokio::test]
async fn dead_letters_are_emptied_or_kept() {
    let letter = DeadLetter {
        received_at: now(),
        source: "clicks.csv".to_owned(),
        position: 7,
        reason: format!("time `{CLIENT}`: it is no number"),
        payload: CLIENT.into(),
    };
    for (dead_letters, payload, reason) in [
        (Opaque::Drop, "", "time …: it is no number"),
        (Opaque::Keep, CLIENT, letter.reason.as_str()),
    ] {
        let config = RedactionConfig {
            dead_letters,
            ..RedactionConfig::default()
        };
        let table = MemoryTable::new();
        let sink = table
            .clone()
            .redacted(Redaction::new(config, keys()).unwrap());
        sink.write(vec![letter.clone()]).await.unwrap();
        let found: &DeadLetter = &table.records()[0];
        assert_eq!(
            (&found.payload[..], found.reason.as_str()),
            (payload.as_bytes(), reason)
        );
    }
}

#[tokio::test]
async fn a_redacted_sink_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let table = DeltaTable::open_local(folder.path()).await.unwrap();
    event_sink(&table.redacted(rules())).await;
}

// Every file of a folder, those of its folders too.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

// The bytes of a file, and if it is Parquet, those of the values in it, which are compressed there.
fn bytes_of(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    if path
        .extension()
        .is_none_or(|extension| extension != "parquet")
    {
        return bytes;
    }
    let file = std::fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    for batch in reader {
        for column in batch.unwrap().columns() {
            match column.data_type() {
                DataType::Utf8 => bytes.extend(column.as_string::<i32>().value_data()),
                DataType::Binary => bytes.extend(column.as_binary::<i32>().value_data()),
                other => assert!(other.is_numeric() || other.is_temporal(), "{other}"),
            }
        }
    }
    bytes
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

fn all_bytes(folder: &Path) -> Vec<u8> {
    let mut found = Vec::new();
    files(folder, &mut found);
    found.iter().flat_map(|path| bytes_of(path)).collect()
}

fn events_that_identify() -> Vec<Event> {
    let agent = AGENT.replace(' ', "+");
    let payloads = [
        format!("v=1&cid={CLIENT}&uid={USER}&uip={IPV4}&ua={agent}"),
        format!(
            r#"{{"context":{{"client_id":"{CLIENT}","user_ip":"{IPV6}","userAgent":"{AGENT}"}}}}"#
        ),
        format!(r#"{{"headers":{{"X-Forwarded-For":"{IPV4}, {IPV6}","Cookie":"id={USER}"}}}}"#),
        format!("{CLIENT},{USER},{IPV4}"),
    ];
    payloads.map(with_payload).to_vec()
}

#[tokio::test]
async fn no_byte_on_disk_is_of_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let plain = DeltaTable::<Event>::open_local(path("plain"))
        .await
        .unwrap();
    plain.write(events_that_identify()).await.unwrap();
    let redacted = DeltaTable::<Event>::open_local(path("redacted"))
        .await
        .unwrap();
    let sink = redacted.redacted(rules());
    sink.write(events_that_identify()).await.unwrap();

    let (plain, redacted) = (all_bytes(&path("plain")), all_bytes(&path("redacted")));
    for original in ORIGINALS {
        assert!(
            holds(&plain, original),
            "the search finds `{original}` where it is"
        );
        assert!(!holds(&redacted, original), "`{original}` is on disk");
    }
    assert!(holds(&redacted, &keys().pseudonym(CLIENT)));
    assert!(holds(&redacted, "198.51.100.0"));
}

#[tokio::test]
async fn a_folder_is_imported_without_what_identifies() {
    let (source, tables) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rows = format!("{CLIENT},view,hat,9.5,1714564800\n{CLIENT},view,hat,{USER},1714564800\n");
    std::fs::write(source.path().join("views.csv"), format!("{HEADER}{rows}")).unwrap();
    let path = |name: &str| tables.path().join(name);
    let landing = Landing {
        events: DeltaTable::open_local(path("events")).await.unwrap(),
        dead_letters: DeltaTable::open_local(path("letters")).await.unwrap(),
        ledger: Ledger::new(DeltaTable::open_local(path("ledger")).await.unwrap()),
        redaction: Some(rules()),
    };
    let import: Import = views();
    let report = import
        .run_folder(source.path(), now(), &landing, |_| {})
        .await
        .unwrap();
    assert_eq!(report.n_events(), 1);
    let bytes = all_bytes(tables.path());
    assert!(
        holds(&bytes, "price …"),
        "the reason of the dead letter is there"
    );
    for original in [CLIENT, USER] {
        assert!(!holds(&bytes, original), "`{original}` is on disk");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_redacted_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let event = Event { payload: bytes.into(), ..with_payload("") };
        event.redact(&rules(), 0).unwrap();
    }

    // Whatever is around it, the client is gone.
    #[test]
    fn the_client_is_nowhere(
        before in r#"[\{\}\[\]":,a-z=&?%+ \\]{0,12}"#,
        key in "(cid|uid|el|note)",
        after in r#"[\{\}\[\]":,a-z=&?%+ \\]{0,12}"#,
        form in any::<bool>(),
    ) {
        let payload = if form {
            format!("{before}{key}={CLIENT}{after}")
        } else {
            format!(r#"{{"x":"{before}","{key}":"{CLIENT}{after}"}}"#)
        };
        prop_assert!(!payload_of(with_payload(payload)).contains(CLIENT));
    }

    // JSON stays JSON, and its other members stay.
    #[test]
    fn json_stays_json(text in ".{0,20}", number in any::<f64>(), cid in ".{0,20}") {
        let sent = serde_json::json!({"t": text, "n": [number], "cid": cid, "z": {"ua": cid}});
        let event = Event { client: String::new(), ..with_payload(sent.to_string()) };
        let redacted = event.redact(&rules(), 0).unwrap().payload;
        if !redacted.is_empty() {
            let found: serde_json::Value = serde_json::from_slice(&redacted).unwrap();
            prop_assert_eq!(&found["z"]["ua"], &serde_json::Value::Null);
            // Digit by digit, which reading it would not show.
            let number = format!(r#""n":{}"#, sent["n"]);
            prop_assert!(std::str::from_utf8(&redacted).unwrap().contains(&number));
        }
    }
}
