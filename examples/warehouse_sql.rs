//! # The warehouse, for whatever speaks to PostgreSQL
//!
//! A DAG publishes tables into a folder. This serves them over the wire protocol of PostgreSQL, for
//! reading: to `psql`, Grafana, Metabase, JDBC, a notebook. New versions are there as soon as a run has
//! published them.
//!
//! ```sh
//! cargo run --all-features --example shop_dashboard -- --out shop       # makes a warehouse
//! printf 'a long password' > password
//! cargo run --all-features --example warehouse_sql -- --warehouse shop/warehouse --user ana --password-file password
//! PGPASSWORD='a long password' psql -h 127.0.0.1 -p 5433 -U ana prod
//! ```
//!
//! Then `\dt` lists the tables, `select * from reco.runs` the runs, and Ctrl-C ends the server when the
//! statements that are running have been answered.

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use reco_transform::{PROD, PgConfig, PgServer, Warehouse};
use tokio::net::TcpListener;

/// Serves a warehouse to clients of PostgreSQL.
#[derive(Debug, Parser)]
struct Args {
    /// The folder of the warehouse.
    #[arg(long)]
    warehouse: String,
    /// The environment to show; clients name it as their database.
    #[arg(long, default_value = PROD)]
    environment: String,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:5433")]
    listen: String,
    /// Who may log in.
    #[arg(long)]
    user: String,
    /// A file with the password, so that it is in no list of processes.
    #[arg(long)]
    password_file: PathBuf,
    /// A chain of certificates in PEM; then clients must use TLS.
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// The key of the certificate in PEM.
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let password = std::fs::read_to_string(&args.password_file)
        .with_context(|| format!("cannot read {}", args.password_file.display()))?;

    // ## What is served
    //
    // One environment of the warehouse. A server without users does not start.
    let warehouse = Warehouse::at(args.warehouse.as_str())?.environment(&args.environment)?;
    let tables = warehouse.catalog().await?.tables();
    let mut server = PgServer::new(warehouse)
        .user(args.user.as_str(), password.trim_end_matches(['\r', '\n']))
        .config(PgConfig {
            require_tls: args.certificate.is_some(),
            ..PgConfig::default()
        });
    if let (Some(certificate), Some(key)) = (&args.certificate, &args.key) {
        server = server.tls(&std::fs::read(certificate)?, &std::fs::read(key)?)?;
    }

    // ## The host owns the socket and says when to stop
    let listener = TcpListener::bind(&args.listen).await?;
    let mut out = stdout();
    writeln!(
        out,
        "{} tables of {} on {}: psql -h {} -p {} -U {} {}",
        tables.len(),
        args.environment,
        listener.local_addr()?,
        listener.local_addr()?.ip(),
        listener.local_addr()?.port(),
        args.user,
        args.environment,
    )?;
    out.flush()?;
    let stop = async {
        // Without a handler for it, Ctrl-C ends the process at once, as it should then.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    server.serve(listener, stop).await?;
    writeln!(out, "all statements were answered")?;
    Ok(())
}
