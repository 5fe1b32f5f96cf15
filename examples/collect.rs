//! # A collector in one binary
//!
//! A shop's pages send their events here: as JSON to `POST /collect`, or as hits of Google Analytics'
//! snippet to `/pixel`. They are synced to disk in a spool before the answer, and drain into a Delta table
//! that any engine reads; what cannot be read lands in a second one, with its bytes and the reason.
//!
//! You will see the address that it listens on, and an answer of 202 once an event is on disk. Ctrl-C or
//! SIGTERM stops it: no request is accepted any more, those that are being served are finished, and
//! everything that was acknowledged is in the table when the process ends. Kill it instead, and the next
//! start finds what was acknowledged in the spool.
//!
//! ```sh
//! cargo run --all-features --example collect -- --listen 127.0.0.1:8080 --table shop/events
//! curl -d '{"id":"e1","kind":"detail","client":"c1","item":"hat"}' http://127.0.0.1:8080/collect
//! ```

use std::future::Future;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use jiff::Timestamp;
use mimalloc::MiMalloc;
use reco_core::{Event, config_from_json};
use reco_ingest::http::{self, Collector, TenantConfig};
use reco_ingest::metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use reco_ingest::{DeadLetter, DeltaTable, DrainConfig, SpoolConfig, axum, metric};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

// An event is read on one thread and freed by another: a case that this allocator is made for, and where the
// threads of glibc's wait for one another.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Takes events over HTTP and puts them into a Delta table.
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen; port 0 is any that is free.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The folder of the events' table.
    #[arg(long, value_name = "DIR")]
    table: PathBuf,
    /// The folder of the table of what cannot be read. Default: the table's with `.dead_letters`.
    #[arg(long, value_name = "DIR")]
    dead_letters: Option<PathBuf>,
    /// The folder of the spools. Default: the table's with `.spool`.
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// The most seconds that an acknowledged event waits for others, to be written to the table together.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    max_age: f64,
    /// A JSON file of the shops that may send: `[{"id": "shop-1", "keys": ["…"], "rate": null}]`.
    #[arg(long, value_name = "FILE")]
    tenants: Option<PathBuf>,
    /// The longest body in bytes.
    #[arg(long, default_value_t = 1 << 20)]
    body_limit: usize,
    /// The most bytes of bodies that are served at a time.
    #[arg(long, default_value_t = 64 << 20)]
    in_flight_limit: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // ## What a library never does
    //
    // Logs, sockets, signals and the environment belong to the host. `RUST_LOG` says what is logged.
    let filter = EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("warn,collect=info")))
        .with_writer(std::io::stderr)
        .init();
    let recorder = PrometheusBuilder::new().install_recorder()?;
    metric::describe();

    // ## The tables
    let beside = |suffix: &str| beside(&args.table, suffix);
    let dead_letters = args
        .dead_letters
        .clone()
        .unwrap_or_else(|| beside(".dead_letters"));
    let events = DeltaTable::<Event>::open_local(&args.table).await?;
    let dead_letters = DeltaTable::<DeadLetter>::open_local(&dead_letters).await?;

    // ## The spools
    //
    // What is acknowledged is on disk: a table that is away, or a process that is killed, loses nothing.
    let spool = args.spool.clone().unwrap_or_else(|| beside(".spool"));
    let max_age = Duration::try_from_secs_f64(args.max_age).context("`--max-age` is no time")?;
    let config = |name: &str| SpoolConfig {
        drain: DrainConfig {
            max_age,
            ..DrainConfig::default()
        },
        ..SpoolConfig::at(spool.join(name))
    };
    let events = events.spooled(config("events")).await?;
    let dead_letters = dead_letters.spooled(config("dead_letters")).await?;

    // ## The collector
    //
    // A handle of each spool stays here, to close it in the end.
    let sinks = (Arc::new(events.clone()), Arc::new(dead_letters.clone()));
    let mut builder = Collector::builder(sinks.0, sinks.1, Timestamp::now)
        .body_limit(args.body_limit)
        .in_flight_limit(args.in_flight_limit);
    if let Some(path) = &args.tenants {
        builder = builder.tenants(tenants(path)?);
    }
    let collector = builder.build()?;

    // ## The server
    //
    // `GET /metrics` shows what was counted, to Prometheus. Standard output has the address and nothing else, so that a script can read it.
    let shutdown = stop_signal()?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    writeln!(stdout(), "listening on http://{}", listener.local_addr()?)?;
    stdout().flush()?;
    drop(tokio::spawn(upkeep(recorder.clone())));
    let routes = collector.router().merge(http::metrics(recorder));
    axum::serve(listener, routes)
        .with_graceful_shutdown(shutdown)
        .await?;

    // ## The end
    //
    // Clients that went away may have left writes behind. Only then are the spools drained and closed.
    collector.drained().await;
    events.close().await?;
    dead_letters.close().await?;
    tracing::info!("everything that was acknowledged is in the tables");
    Ok(())
}

// Without it, the recorder would keep every value of a histogram until somebody asks.
async fn upkeep(recorder: PrometheusHandle) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        recorder.run_upkeep();
    }
}

fn beside(table: &Path, suffix: &str) -> PathBuf {
    let mut name = table.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn tenants(path: &Path) -> anyhow::Result<Vec<TenantConfig>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the tenants of `{}`", path.display()))?;
    Ok(config_from_json("tenants", &text)?)
}

// Ends on SIGTERM, which orchestrators send, or Ctrl-C. The handlers are in place once it returns.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    })
}
