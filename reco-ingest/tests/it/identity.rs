//! What an import makes of names: of files, rows, clients, and of rows that repeat them without end.

use std::sync::Arc;

use reco_core::{Event, object_store};
use reco_ingest::import::{Format, Import, Mapping};
use reco_ingest::{DeltaTable, MemoryTable};

use crate::import::{HEADER, import, now, views};
use crate::shop::ids_of;

#[tokio::test]
async fn a_second_file_under_a_taken_writer_name_is_counted() {
    let table = DeltaTable::<Event>::open(Arc::new(object_store::memory::InMemory::new()), "raw")
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut passed_over = Vec::new();
    for item in ["hat", "shoe"] {
        let path = folder.path().join(item);
        std::fs::write(&path, format!("{HEADER}v1,view,{item},9.5,1714564800\n")).unwrap();
        let sink = table.clone().numbered("views");
        views()
            .run(&path, now(), &sink, &MemoryTable::new(), |_| {})
            .await
            .unwrap();
        passed_over.push(sink.n_passed_over());
    }
    assert_eq!(passed_over, [0, 1]);
}

// The ids of the events of a file, with a source of its own or none.
async fn event_ids(source: Option<&str>, file: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.csv");
    std::fs::write(&path, file).unwrap();
    let events = MemoryTable::new();
    let import = Import {
        source: source.map(ToOwned::to_owned),
        mapping: Mapping {
            clicks: Some("clicks".to_owned()),
            ..views().mapping
        },
        ..views()
    };
    import
        .run(&path, now(), &events, &MemoryTable::new(), |_| {})
        .await
        .unwrap();
    ids_of(&events.records())
}

#[tokio::test]
async fn ids_follow_from_the_file_and_the_row() {
    let header = "visitor,action,sku,price,at,clicks\n";
    let file = format!("{header}v1,view,hat,9.5,1714564800,\"a,b\"\n");
    let other = format!("{header}v2,view,hat,9.5,1714564800,\"a,b\"\n");
    assert_eq!(event_ids(None, &file).await, event_ids(None, &file).await);
    // Two files of one name.
    assert_ne!(event_ids(None, &file).await, event_ids(None, &other).await);
    // A file that has a name may grow.
    let longer = format!("{file}v1,view,hat,9.5,1714564800,\n");
    let (short, long) = (
        event_ids(Some("a"), &file).await,
        event_ids(Some("a"), &longer).await,
    );
    assert_eq!(short, long[..3]);
    // The second row of `a:2` is not the second click of the second row of `a`.
    let of_other = event_ids(Some("a:2"), &longer).await;
    let mut all: Vec<_> = long.iter().chain(&of_other).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 8);
}

#[tokio::test]
async fn a_row_without_its_client_is_a_dead_letter() {
    let file = format!("{HEADER},view,hat,9.5,1714564800\nv1,view,hat,9.5,1714564800\n");
    let imported = import(&views(), "views.csv", file.as_bytes())
        .await
        .unwrap();
    assert_eq!(
        imported.dead_letters,
        ["2: ,view,hat,9.5,1714564800: column `visitor` has no value"]
    );
    assert_eq!(imported.events.len(), 1);
}

#[tokio::test]
async fn a_name_that_would_be_rounded_is_a_dead_letter() {
    let json = Import {
        format: Format::JsonLines { nested: None },
        ..views()
    };
    let line = |client: &str| {
        format!("{{\"visitor\":{client},\"action\":\"view\",\"price\":9.5,\"at\":1714564800}}\n")
    };
    let file = [
        "1234567890.1714564800",
        "1234567890.1714564801",
        "123456789012345678901",
        "18446744073709551615",
        "\"1234567890.1714564800\"",
    ]
    .map(line)
    .concat();
    let imported = import(&json, "views.jsonl", file.as_bytes()).await.unwrap();
    assert_eq!(imported.dead_letters.len(), 3);
    assert!(
        imported.dead_letters[0].ends_with(
            "member `visitor` names something, and is a number that cannot be kept as it is written"
        ),
        "{imported:?}"
    );
    let clients: Vec<_> = imported.events.iter().map(|e| e.client.as_str()).collect();
    assert_eq!(clients, ["18446744073709551615", "1234567890.1714564800"]);
}

#[tokio::test]
async fn a_row_that_grows_with_the_square_of_its_length_is_a_dead_letter() {
    let nested = Import {
        format: Format::JsonLines {
            nested: Some("events".to_owned()),
        },
        ..views()
    };
    let inner = vec![r#"{"action":"view","at":1714564800}"#; 200].join(",");
    let visitor = "v".repeat(500_000);
    let line = format!("{{\"visitor\":\"{visitor}\",\"events\":[{inner}]}}\n");
    let imported = import(&nested, "views.jsonl", line.as_bytes())
        .await
        .unwrap();
    let reason = "its records take more than 67108864 bytes";
    assert_eq!(imported.events.len(), 0);
    assert!(imported.dead_letters[0].ends_with(reason));

    let clicks = Import {
        mapping: Mapping {
            clicks: Some("price".to_owned()),
            price: None,
            ..views().mapping
        },
        ..views()
    };
    let items = "x,".repeat(1000);
    let file = format!("{HEADER}{visitor},view,hat,\"{items}\",1714564800\n");
    let imported = import(&clicks, "views.csv", file.as_bytes()).await.unwrap();
    assert_eq!(imported.events.len(), 0);
    assert!(imported.dead_letters[0].ends_with(reason));
}
