//! `Import::run_folder`: every file once, whatever happens in between.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use reco_core::{Event, RawTable, Record, TimeWindow, object_store};
use reco_ingest::import::{FileOutcome, FolderReport, Import, Landing, Ledger, LedgerEntry};
use reco_ingest::{DeadLetter, DeltaTable, Error};

use crate::import::{HEADER, now, views};
use crate::shop::{collect, ids};

// An import in small batches, so that a crash can be in the middle of a file.
fn import() -> Import {
    Import {
        batch_rows: 3,
        ..views()
    }
}

// A file of `n` events of a client, and a row that cannot be read.
fn file(client: &str, n: usize) -> String {
    let row = |i| format!("{client},view,hat-{i},9.5,{}\n", 1_714_564_800 + i);
    let rows: String = (0..n).map(row).collect();
    format!("{HEADER}{rows}{client},reads,this,9.5,1714564800\n")
}

async fn landing() -> Landing {
    async fn table<E: Record>(name: &str) -> DeltaTable<E> {
        let store = Arc::new(object_store::memory::InMemory::new());
        DeltaTable::open(store, name).await.unwrap()
    }
    Landing {
        events: table("events").await,
        dead_letters: table("letters").await,
        ledger: Ledger::new(table("ledger").await),
        redaction: None,
    }
}

fn folder(files: &[(&str, String)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

async fn run(import: &Import, folder: &Path, landing: &Landing) -> Result<FolderReport, Error> {
    import.run_folder(folder, now(), landing, |_| {}).await
}

// The clients and items of the table, and how many dead letters there are.
async fn landed(landing: &Landing) -> (Vec<String>, usize) {
    let events = collect::<Event>(landing.events.scan(TimeWindow::ALL).await.unwrap());
    let letters = collect::<DeadLetter>(landing.dead_letters.scan(TimeWindow::ALL).await.unwrap());
    let name = |event: Event| format!("{} {}", event.client, event.item.unwrap().as_str());
    let events = events.await.unwrap().into_iter().map(name);
    (events.collect(), letters.await.unwrap().len())
}

fn hats(client: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{client} hat-{i}")).collect()
}

#[tokio::test]
async fn a_folder_is_imported_once() {
    let folder = folder(&[
        ("b.csv", file("v2", 4)),
        ("2024/a.csv", file("v1", 2)),
        (".hidden", file("v3", 2)),
        ("_SUCCESS", String::new()),
    ]);
    let landing = landing().await;
    let mut seen = Vec::new();
    let first = import()
        .run_folder(folder.path(), now(), &landing, |progress| {
            seen.push((progress.path.to_owned(), progress.files, progress.file.rows));
        })
        .await
        .unwrap();
    let expected = ([hats("v1", 2), hats("v2", 4)].concat(), 2);
    assert_eq!(landed(&landing).await, expected);
    let paths: Vec<_> = first.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["2024/a.csv", "b.csv"]);
    assert_eq!(first.n_events(), 6);
    let at = |path: &str, files, rows| (path.to_owned(), files, rows);
    assert_eq!(
        seen,
        [at("2024/a.csv", 0, 3), at("b.csv", 1, 3), at("b.csv", 1, 5)]
    );

    let version = landing.events.version().await.unwrap();
    let second = run(&import(), folder.path(), &landing).await.unwrap();
    assert_eq!(second.n_events(), 0);
    let there = |file: &str| FileOutcome::AlreadyThere {
        path: file.to_owned(),
    };
    let outcomes: Vec<_> = second.files.into_iter().map(|file| file.outcome).collect();
    assert_eq!(outcomes, [there("2024/a.csv"), there("b.csv")]);
    assert_eq!(landing.events.version().await.unwrap(), version);
    assert_eq!(landed(&landing).await, expected);
}

#[tokio::test]
async fn another_process_knows_what_was_imported() {
    let folder = folder(&[("a.csv", file("v1", 2))]);
    let landing = landing().await;
    let other = Landing {
        ledger: Ledger::new(landing.ledger.table().clone()),
        ..landing.clone()
    };
    run(&import(), folder.path(), &landing).await.unwrap();
    let report = run(&import(), folder.path(), &other).await.unwrap();
    assert_eq!(report.n_events(), 0);
}

#[tokio::test]
async fn a_file_that_was_changed_is_new_and_a_copy_is_not() {
    let folder = folder(&[("a.csv", file("v1", 2))]);
    let landing = landing().await;
    let first = run(&import(), folder.path(), &landing).await.unwrap();
    std::fs::write(folder.path().join("a.csv"), file("v1", 3)).unwrap();
    std::fs::write(folder.path().join("copy.csv"), file("v1", 3)).unwrap();
    let second = run(&import(), folder.path(), &landing).await.unwrap();
    let FileOutcome::Imported {
        report,
        changed_from,
        n_passed_over,
    } = &second.files[0].outcome
    else {
        panic!("{second:?}");
    };
    assert_eq!((report.events, *n_passed_over), (3, 0));
    assert_eq!(changed_from.as_ref(), Some(&first.files[0].sha256));
    let copied = FileOutcome::AlreadyThere {
        path: "a.csv".to_owned(),
    };
    assert_eq!(second.files[1].outcome, copied);
    // As another file, its events have other ids: none is taken for one of the former.
    let ids = ids(&landing.events, TimeWindow::ALL).await;
    assert_eq!(
        (ids.len(), ids.iter().collect::<BTreeSet<_>>().len()),
        (5, 5)
    );
}

#[tokio::test]
async fn an_import_goes_on_after_a_crash() {
    let folder = folder(&[("a.csv", file("v1", 7)), ("b.csv", file("v2", 4))]);
    let expected = ([hats("v1", 7), hats("v2", 4)].concat(), 2);
    for crash_after in 0.. {
        let landing = landing().await;
        let (path, into) = (folder.path().to_owned(), landing.clone());
        let crashed = tokio::spawn(async move {
            let mut n = 0;
            let progress = |_: reco_ingest::import::FolderProgress<'_>| {
                assert!(n < crash_after, "a crash in the middle");
                n += 1;
            };
            import()
                .run_folder(path, now(), &into, progress)
                .await
                .unwrap();
        });
        let has_crashed = crashed.await.is_err();
        // What the process knew is gone.
        let after = Landing {
            ledger: Ledger::new(landing.ledger.table().clone()),
            ..landing
        };
        let report = run(&import(), folder.path(), &after).await.unwrap();
        assert_eq!(
            landed(&after).await,
            expected,
            "after {crash_after} batches"
        );
        if !has_crashed {
            assert_eq!((report.n_events(), crash_after), (0, 5));
            return;
        }
        assert!(report.n_events() > 0);
    }
}

#[tokio::test]
async fn an_import_that_was_begun_is_not_finished_with_other_settings() {
    let folder = folder(&[("a.csv", file("v1", 7))]);
    let (path, landing) = (folder.path().to_owned(), landing().await);
    let into = landing.clone();
    let crashed = tokio::spawn(async move {
        let progress = |_: reco_ingest::import::FolderProgress<'_>| panic!("a crash in the middle");
        import()
            .run_folder(path, now(), &into, progress)
            .await
            .unwrap();
    });
    assert!(crashed.await.is_err());
    let error = run(&views(), folder.path(), &landing).await.unwrap_err();
    assert!(matches!(&error, Error::BegunOtherwise { path } if path.ends_with("a.csv")));
    run(&import(), folder.path(), &landing).await.unwrap();
    // Once it is there, it is there for any settings.
    assert_eq!(
        run(&views(), folder.path(), &landing)
            .await
            .unwrap()
            .n_events(),
        0
    );
    assert_eq!(landed(&landing).await, (hats("v1", 7), 1));
}

#[tokio::test]
async fn the_ledger_is_a_table() {
    let folder = folder(&[("a.csv", file("v1", 2))]);
    let landing = landing().await;
    run(&import(), folder.path(), &landing).await.unwrap();
    let entries = landing.ledger.table().scan(TimeWindow::ALL).await.unwrap();
    let entries = collect::<LedgerEntry>(entries).await.unwrap();
    let [begun, ended] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    assert_eq!(begun.report, None);
    let report = ended.report.unwrap();
    assert_eq!((report.rows, report.events, report.dead_letters), (3, 2, 1));
    assert_eq!(ended.size, file("v1", 2).len() as u64);
    assert_eq!((ended.path.as_str(), ended.recorded_at), ("a.csv", now()));
}

#[tokio::test]
async fn files_do_not_share_a_name() {
    let named = Import {
        source: Some("views".to_owned()),
        ..import()
    };
    let folder = folder(&[]);
    let error = run(&named, folder.path(), &landing().await)
        .await
        .unwrap_err();
    let expected = "the import is invalid: `source` is one name, which the files would share";
    assert_eq!(error.to_string(), expected);
}
