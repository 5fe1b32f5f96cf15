//! `Import`: every row of a file becomes events, a dead letter, or is skipped.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use reco_core::{Event, EventKind, TimeWindow, Timestamp, arrow};
use reco_ingest::import::{
    Format, Import, ImportReport, KindMapping, Mapping, Otherwise, Progress, ReceivedAt,
    TimeFormat, TimeMapping, Value,
};
use reco_ingest::{DeltaTable, Error, MemoryTable};

use crate::shop::{ids, ids_of};

/// What an import of a file did.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) report: ImportReport,
    pub(crate) events: Vec<Event>,
    /// As `position: payload: reason`.
    pub(crate) dead_letters: Vec<String>,
}

pub(crate) fn now() -> Timestamp {
    "2024-06-01T00:00Z".parse().unwrap()
}

/// Imports a file of some bytes.
pub(crate) async fn import(import: &Import, name: &str, bytes: &[u8]) -> Result<Imported, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let (events, dead_letters) = (MemoryTable::new(), MemoryTable::new());
    let mut seen: Vec<Progress> = Vec::new();
    let progress = |progress| seen.push(progress);
    let report = import
        .run(&path, now(), &events, &dead_letters, progress)
        .await?;
    assert!(
        seen.iter()
            .all(|progress| progress.bytes_total == bytes.len() as u64)
    );
    assert!(seen.is_sorted_by_key(|progress| (progress.rows, progress.bytes_read)));
    assert_eq!(report.bytes, bytes.len() as u64);
    let dead_letters: Vec<_> = dead_letters
        .records()
        .into_iter()
        .map(|letter| {
            assert_eq!((letter.source.as_str(), letter.received_at), (name, now()));
            let payload = String::from_utf8_lossy(&letter.payload).into_owned();
            format!("{}: {payload}: {}", letter.position, letter.reason)
        })
        .collect();
    let events = events.records();
    assert_eq!(report.events, events.len() as u64);
    assert_eq!(report.dead_letters, dead_letters.len() as u64);
    Ok(Imported {
        report,
        events,
        dead_letters,
    })
}

pub(crate) fn views() -> Import {
    let time = TimeMapping::Column {
        name: "at".to_owned(),
        format: TimeFormat::Seconds,
    };
    let kind = KindMapping::Column {
        name: "action".to_owned(),
        values: [("view".to_owned(), EventKind::Detail)].into(),
        otherwise: Otherwise::Reject,
    };
    let mapping = Mapping {
        client: Some(Value::column("visitor")),
        item: Some(Value::column("sku")),
        price: Some(Value::column("price")),
        currency: Some(Value::Constant("EUR".to_owned())),
        ..Mapping::new(time, kind)
    };
    Import::new(Format::csv(','), mapping)
}

pub(crate) const HEADER: &str = "visitor,action,sku,price,at\n";

#[tokio::test]
async fn a_row_becomes_an_event_with_its_bytes() {
    let file = format!("\u{feff}{HEADER}v1,view,hat,9.5,1714564800\r\nv1,view,,,1714564801");
    let imported = import(&views(), "views.csv", file.as_bytes())
        .await
        .unwrap();
    assert_eq!(imported.dead_letters, [""; 0]);
    let [first, second] = imported.events.as_slice() else {
        panic!("{imported:?}");
    };
    let time: Timestamp = "2024-05-01T12:00Z".parse().unwrap();
    let expected = Event {
        // Python 3.12: `u = uuid.uuid5; u(u(uuid.NAMESPACE_URL, file), "9:views.csv:2:0")`.
        id: "1730e4c7-cf67-5e25-aae9-64d2af1ad00f".to_owned(),
        received_at: time,
        occurred_at: time,
        tenant: String::new(),
        client: "v1".to_owned(),
        session: None,
        kind: EventKind::Detail,
        item: Some("hat".into()),
        query: None,
        price: Some(9.5),
        quantity: None,
        currency: Some("EUR".to_owned()),
        payload: "v1,view,hat,9.5,1714564800".into(),
    };
    assert_eq!(first, &expected);
    assert_eq!((&second.item, second.price), (&None, None));
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter() {
    let rows = [
        "v1,view,hat,9.5,1714564800",
        "v1,view,hat",
        "v1,stare,hat,9.5,1714564800",
        "v1,view,hat,cheap,1714564800",
        "v1,view,hat,NaN,1714564800",
        "v1,view,hat,9.5,",
        "",
        "v1,view,\"hat,9.5,1714564800",
        "v1,view,hat,9.5,1714564",
    ];
    let file = format!("{HEADER}{}", rows.join("\n"));
    let mut bytes = file.into_bytes();
    bytes.extend(b"\nv1,view,h\xfft,9.5,1714564800\n");
    let strict = Import {
        mapping: Mapping {
            earliest: "2000-01-01T00:00Z".parse().ok(),
            ..views().mapping
        },
        ..views()
    };
    let imported = import(&strict, "views.csv", &bytes).await.unwrap();
    assert_eq!(
        imported.dead_letters,
        [
            "3: v1,view,hat: 3 fields where 5 are declared",
            "4: v1,stare,hat,9.5,1714564800: column `action`: `stare` is not one of the kinds of the mapping",
            "5: v1,view,hat,cheap,1714564800: price `cheap` is no number",
            "6: v1,view,hat,NaN,1714564800: price `NaN` is no number",
            "7: v1,view,hat,9.5,: column `at` has no value",
            "9: v1,view,\"hat,9.5,1714564800: a quoted field is not closed",
            "10: v1,view,hat,9.5,1714564: its time 1970-01-20T20:16:04Z is before the earliest allowed",
            "11: v1,view,h\u{fffd}t,9.5,1714564800: not UTF-8 from byte 10 on",
        ]
    );
    let report = imported.report;
    assert_eq!(
        (
            report.rows,
            report.events,
            report.skipped,
            report.dead_letters
        ),
        (10, 1, 1, 8)
    );
}

#[tokio::test]
async fn a_misspelt_column_is_named_before_anything_is_written() {
    let file = b"visitor,action,sku,prise,at\nv1,view,hat,9.5,1714564800\n";
    let error = import(&views(), "views.csv", file).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("views.csv` has no column `price`; did you mean `prise`?"),
        "{error}"
    );
}

#[tokio::test]
async fn an_empty_file_is_an_empty_import() {
    let imported = import(&views(), "views.csv", b"").await.unwrap();
    assert_eq!(imported.report, ImportReport::default());
    let imported = import(&views(), "views.csv", HEADER.as_bytes())
        .await
        .unwrap();
    assert_eq!((imported.report.rows, imported.events.len()), (0, 0));
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let (sink, letters) = (MemoryTable::<Event>::new(), MemoryTable::new());
    let error = views()
        .run("no/such.csv", now(), &sink, &letters, |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "`no/such.csv` cannot be read");
}

#[tokio::test]
async fn a_sink_that_fails_ends_the_import() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.csv");
    let rows = "v1,view,hat,9.5,1714564800\n".repeat(100);
    std::fs::write(&path, format!("{HEADER}{rows}")).unwrap();
    let sink = reco_ingest::Buffered::new(MemoryTable::<Event>::new(), Default::default()).unwrap();
    sink.close().await.unwrap();
    let import = Import {
        batch_rows: 10,
        ..views()
    };
    let error = import
        .run(&path, now(), &sink, &MemoryTable::new(), |_| {})
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Core(reco_core::Error::SinkClosed { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn an_import_that_is_repeated_writes_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.csv");
    let rows: String = (0..25)
        .map(|i| format!("v{i},view,hat,9.5,{}\n", i * 86_400))
        .collect();
    std::fs::write(&path, format!("{HEADER}{rows}")).unwrap();
    let table = DeltaTable::<Event>::open_local(folder.path().join("raw"))
        .await
        .unwrap();
    let import = Import {
        batch_rows: 10,
        ..views()
    };
    for _ in 0..2 {
        let sink = table.clone().numbered("views.csv");
        let report = import
            .run(&path, now(), &sink, &MemoryTable::new(), |_| {})
            .await
            .unwrap();
        assert_eq!(report.events, 25);
    }
    let memory = MemoryTable::new();
    import
        .run(&path, now(), &memory, &MemoryTable::new(), |_| {})
        .await
        .unwrap();
    assert_eq!(
        ids(&table, TimeWindow::ALL).await,
        ids_of(&memory.records())
    );
    assert_eq!(table.version().await.unwrap(), 3);
}

#[tokio::test]
async fn events_count_as_received_when_told() {
    let file = format!("{HEADER}v1,view,hat,9.5,1714564800\n");
    let live = Import {
        received_at: ReceivedAt::Imported,
        ..views()
    };
    let imported = import(&live, "views.csv", file.as_bytes()).await.unwrap();
    assert_eq!(imported.events[0].received_at, now());
}

#[tokio::test]
async fn json_lines_are_rows() {
    let json = Import {
        format: Format::JsonLines { nested: None },
        ..views()
    };
    let lines = [
        r#"{"visitor":"v1","action":"view","sku":"hat","price":9.5,"at":1714564800}"#,
        r#"{"visitor":7,"action":"view","sku":null,"at":"1714564801"}"#,
        "",
        r#"{"visitor":"v1","action":"view","#,
        "[1]",
    ];
    let imported = import(&json, "views.jsonl", lines.join("\n").as_bytes())
        .await
        .unwrap();
    assert_eq!(imported.events[0].payload, lines[0]);
    assert_eq!(imported.events[0].price, Some(9.5));
    assert_eq!(imported.events[1].client, "7");
    assert_eq!(imported.events[1].item, None);
    assert_eq!(imported.report.skipped, 1);
    let [cut, array] = imported.dead_letters.as_slice() else {
        panic!("{imported:?}");
    };
    assert!(
        cut.starts_with(&format!("4: {}: no JSON object: EOF", lines[3])),
        "{cut}"
    );
    assert!(
        array.starts_with("5: [1]: no JSON object: invalid type"),
        "{array}"
    );
}

#[tokio::test]
async fn parquet_rows_are_rows() {
    let text =
        |values: [Option<&str>; 2]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let at: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_714_564_800_025, 0]));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("visitor", text([Some("v1"), Some("v2")]), true),
        ("action", text([Some("view"), None]), true),
        ("sku", text([Some("hat"), None]), true),
        (
            "price",
            Arc::new(Int64Array::from(vec![Some(9), None])),
            true,
        ),
        ("at", at, true),
    ])
    .unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();

    let time = TimeMapping::Column {
        name: "at".to_owned(),
        format: TimeFormat::Rfc3339,
    };
    let parquet = Import {
        format: Format::Parquet,
        mapping: Mapping {
            time,
            ..views().mapping
        },
        ..views()
    };
    let imported = import(&parquet, "views.parquet", &bytes).await.unwrap();
    assert_eq!(imported.events.len(), 1);
    assert_eq!(
        imported.events[0].occurred_at.to_string(),
        "2024-05-01T12:00:00.025Z"
    );
    assert_eq!(imported.events[0].price, Some(9.0));
    assert_eq!(
        imported.events[0].payload,
        r#"{"action":"view","at":"2024-05-01T12:00:00.025Z","price":"9","sku":"hat","visitor":"v1"}"#
    );
    assert!(
        imported.dead_letters[0].contains("column `action`: ``"),
        "{imported:?}"
    );

    let narrow = Import {
        max_row_bytes: 80,
        ..parquet.clone()
    };
    let imported = import(&narrow, "views.parquet", &bytes).await.unwrap();
    assert!(
        imported.dead_letters[0].ends_with("the line is too long: its last 8 bytes are left out"),
        "{imported:?}"
    );

    // Damage after the footer was read.
    let mut damaged = bytes.clone();
    damaged[4..200].fill(0xff);
    let error = import(&parquet, "views.parquet", &damaged)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Parquet { .. }), "{error}");
    let error = import(&parquet, "views.parquet", &bytes[..bytes.len() / 2])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Parquet { .. }), "{error}");
    let error = import(
        &Import {
            mapping: Mapping {
                item: Some(Value::column("skuu")),
                ..parquet.mapping.clone()
            },
            ..parquet
        },
        "v.parquet",
        &bytes,
    )
    .await
    .unwrap_err();
    assert!(
        matches!(error, Error::UnknownColumn { nearest: Some(nearest), .. } if nearest == "sku")
    );
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let none = Import {
        batch_rows: 0,
        ..views()
    };
    let error = import(&none, "views.csv", b"").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the import is invalid: `batch_rows` is 0"
    );
    let wide = Import {
        format: Format::csv('é'),
        ..views()
    };
    let error = import(&wide, "views.csv", b"").await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the import is invalid: `delimiter`")
    );
}

#[test]
fn settings_come_from_json() {
    let import: Import = reco_core::config_from_value(
        "import",
        serde_json::to_value(Import {
            batch_rows: 7,
            ..views()
        })
        .unwrap(),
    )
    .unwrap();
    assert_eq!(
        import,
        Import {
            batch_rows: 7,
            ..views()
        }
    );
    for mapping in [
        r#"{"time": {"date": {"year": "y", "month": "m", "day": "d", "second": "s"}}, "kind": {"constant": "detail"}}"#,
        r#"{"time": {"order": {"base": "2024-05-01T00:00Z", "seconds": "s"}}, "kind": {"column": {"name": "k", "values": {}, "otherwise": "reject", "default": "detail"}}}"#,
    ] {
        let error = reco_core::config_from_json::<Mapping>("mapping", mapping).unwrap_err();
        let unknown = ["second", "default"];
        assert!(
            matches!(&error, reco_core::Error::UnknownKey { key, .. } if unknown.contains(&key.as_str())),
            "{error}"
        );
    }
    let error = reco_core::config_from_json::<Import>("import", r#"{"batch_row": 7}"#).unwrap_err();
    assert!(
        error.to_string().ends_with("did you mean `batch_rows`?"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Whatever the bytes: no row is lost, and the batch size changes nothing.
    #[test]
    fn every_row_is_accounted_for(
        lines in prop::collection::vec("[a-z,\"\\r]{0,12}|v1,view,hat,[0-9]{1,3},[0-9]{1,9}", 0..30),
        batch_rows in 1_usize..8,
    ) {
        let file = format!("{HEADER}{}", lines.join("\n"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let whole = import(&views(), "views.csv", file.as_bytes()).await.unwrap();
            let report = whole.report;
            assert_eq!(report.rows, report.events + report.skipped + report.dead_letters);
            let small = Import { batch_rows, ..views() };
            let small = import(&small, "views.csv", file.as_bytes()).await.unwrap();
            assert_eq!(small.events, whole.events);
            assert_eq!(small.dead_letters, whole.dead_letters);
            assert_eq!(small.report, whole.report);
        });
    }
}
