//! Tables in a store that speaks the protocol of S3: the suites, and writers at the same time.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, body};
use hyper_util::rt::TokioIo;
use reco_core::testing::raw_table;
use reco_core::{Durability, EventSink, TimeWindow, Timestamp};
use reco_ingest::delta::{CompactConfig, Subject};
use reco_ingest::{BatchId, DeltaTable, Error, Written};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::shop::{events, ids};

/// A server on loopback, as long as its runtime runs.
struct Server {
    endpoint: String,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("shop")).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single("key", "secret"));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, service));
        Self {
            endpoint,
            _folder: folder,
        }
    }

    fn options(&self) -> HashMap<String, String> {
        [
            ("AWS_ENDPOINT", self.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ALLOW_HTTP", "true"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    async fn open(&self, prefix: &str) -> DeltaTable {
        let url = format!("s3://shop/{prefix}");
        DeltaTable::open_url(&url, self.options()).await.unwrap()
    }
}

async fn serve(listener: TcpListener, service: S3Service) {
    // The file system behind it looks whether an object is there and then writes it, which S3 does as
    // one step: so writes take turns.
    let turn = Arc::new(Mutex::new(()));
    while let Ok((socket, _)) = listener.accept().await {
        let service = service.clone();
        let turn = Arc::clone(&turn);
        let in_turn = service_fn(move |request: Request<body::Incoming>| {
            let service = service.clone();
            let turn = Arc::clone(&turn);
            async move {
                let _turn = match *request.method() {
                    Method::PUT => Some(turn.lock_owned().await),
                    _ => None,
                };
                Service::call(&service, request).await
            }
        });
        // A client may hang up.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), in_turn));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suites_hold() {
    let server = Server::start().await;
    let table = server.open("raw/table").await;
    assert_eq!(table.durability(), Durability::Durable);
    // The suite of sinks is part of it.
    raw_table(&table).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_the_same_time_all_commit() {
    let server = Arc::new(Server::start().await);
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let table = server.open("raw").await;
                for i in 0..5 {
                    let id = BatchId::new(format!("writer-{writer}"), i).unwrap();
                    let batch = events(&format!("{writer}-{i}"), 1);
                    let written = table.write_batch(&id, batch.clone()).await.unwrap();
                    assert!(matches!(written, Written::Committed { .. }));
                    let again = table.write_batch(&id, batch).await.unwrap();
                    assert_eq!(again, Written::AlreadyThere);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let table = server.open("raw").await;
    assert_eq!(table.version().await.unwrap(), 10);
    assert_eq!(ids(&table, TimeWindow::ALL).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_maintained_there_too() {
    let server = Server::start().await;
    let table = server.open("raw").await;
    for i in 0..3 {
        table.write(events(&i.to_string(), 1)).await.unwrap();
    }
    let now: Timestamp = "2200-01-01T00:00Z".parse().unwrap();
    let compaction = table
        .compact(&CompactConfig::default(), TimeWindow::ALL, now)
        .await
        .unwrap();
    assert_eq!((compaction.n_removed, compaction.n_added), (3, 1));
    assert_eq!(table.checkpoint().await.unwrap(), 4);
    assert_eq!(ids(&table, TimeWindow::ALL).await, ["0-0", "1-0", "2-0"]);
    let vacuumed = table.vacuum(&Default::default(), now).await.unwrap();
    assert_eq!(vacuumed, Default::default());
    let subject = Subject {
        tenant: String::new(),
        client: "c1".to_owned(),
    };
    let erasure = table.forget(&subject, now).await.unwrap();
    assert_eq!((erasure.n_rows, erasure.n_files_deleted), (3, 4));
    assert_eq!(
        ids(&server.open("raw").await, TimeWindow::ALL).await,
        [""; 0]
    );
}

#[tokio::test]
async fn an_option_that_the_store_does_not_have_is_refused() {
    let options = [("AWS_REGOIN".to_owned(), "eu-central-1".to_owned())].into();
    let error = DeltaTable::<reco_core::Event>::open_url("s3://shop/raw", options).await;
    assert!(matches!(error, Err(Error::Location { .. })), "{error:?}");
}
