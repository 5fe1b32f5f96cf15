//! A warehouse over the PostgreSQL protocol, read by `psql` and by a driver.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::{Command, Output};
use std::time::Duration;

use reco_transform::{Dag, Error, Materialization, PgConfig, PgServer, Warehouse};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const PASSWORD: &str = "correct horse";

/// A server that runs until it is stopped.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<reco_transform::Result<()>>,
}

impl Running {
    async fn start(server: PgServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { _ = stopped.await };
        let task = tokio::spawn(server.serve(listener, shutdown));
        Self {
            address,
            stop,
            task,
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    async fn connect_as(
        &self,
        user: &str,
        password: &str,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(self.address.port())
            .user(user)
            .password(password)
            .dbname(database)
            .connect(NoTls)
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn connect(&self) -> Client {
        self.connect_as("ana", PASSWORD, "prod").await.unwrap()
    }

    /// What `psql` prints; none on a machine that has none.
    #[expect(
        clippy::print_stderr,
        reason = "whoever reads the log sees what was not tested"
    )]
    async fn psql(&self, settings: &[(&str, &str)], command: &str) -> Option<Output> {
        let mut psql = Command::new("psql");
        psql.args([
            "-X",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-v",
            "VERBOSITY=verbose",
            "-c",
            command,
        ])
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", self.address.port().to_string())
        .envs([
            ("PGUSER", "ana"),
            ("PGPASSWORD", PASSWORD),
            ("PGDATABASE", "prod"),
        ])
        .envs(settings.iter().copied());
        match tokio::task::spawn_blocking(move || psql.output())
            .await
            .unwrap()
        {
            Ok(output) => Some(output),
            Err(error) => {
                eprintln!("psql cannot be run ({error}): what it prints was not tested");
                None
            }
        }
    }
}

fn clicks(rows: &str) -> Dag {
    Dag::builder()
        .sql("clicks", format!("select item, price, to_timestamp_micros(at * 1000000) as at from (values {rows}) as t (item, price, at)"))
        .sql("items", "select item, count(*) as n from clicks group by item order by item")
        .materialize_others(Materialization::Delta)
        .build()
        .unwrap()
}

async fn shop() -> Warehouse {
    let warehouse = Warehouse::in_memory();
    clicks("('hat', 9.5, 0), ('scarf', 20.0, 60), ('hat', 9.5, 120)")
        .run(&warehouse)
        .await
        .unwrap();
    warehouse
}

fn server(warehouse: &Warehouse) -> PgServer {
    PgServer::new(warehouse.clone()).user("ana", PASSWORD)
}

fn text(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn simple(client: &Client, query: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(query).await;
    let messages = messages.unwrap_or_else(|error| panic!("{query}\n{error:?}"));
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|i| row.get(i).map(ToOwned::to_owned))
                .collect(),
        ),
        _ => None,
    });
    rows.collect()
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("no code", SqlState::code)
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_reads_tables_and_describes_them() {
    let running = Running::start(server(&shop().await)).await;
    let check = async |command: &str, expected: &[&str]| {
        let Some(output) = running.psql(&[], command).await else {
            return;
        };
        let text = text(&output);
        for part in expected {
            assert!(text.contains(part), "{command}: no `{part}` in\n{text}");
        }
    };
    check(
        "select item, n from items order by item",
        &["hat|2\nscarf|1\n"],
    )
    .await;
    check("select version()", &["PostgreSQL 16.6 (reco "]).await;
    check("show server_version", &["16.6 (reco "]).await;
    check(
        "select current_database(), current_schema()",
        &["prod|public"],
    )
    .await;
    check(r"\dt", &["public|clicks|table", "public|items|table"]).await;
    check(r"\d", &["public|clicks|table"]).await;
    check(r"\d items", &["item|text", "n|bigint"]).await;
    check(r"\dn", &["public", "reco"]).await;
    check(r"\l", &["prod|"]).await;
    check(
        "select table_name, n_rows from reco.tables order by 1",
        &["clicks|3\nitems|2\n"],
    )
    .await;
    check("select status from reco.runs", &["succeeded"]).await;
    check("begin; select 1; commit", &["1"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_have_parameters_and_see_new_versions() {
    let warehouse = shop().await;
    let running = Running::start(server(&warehouse)).await;
    let client = running.connect().await;
    let of_item = client
        .prepare("select count(*) from clicks where item = $1 and price < $2")
        .await
        .unwrap();
    let n = async || -> i64 {
        client
            .query_one(&of_item, &[&"hat", &10.0_f64])
            .await
            .unwrap()
            .get(0)
    };
    assert_eq!(n().await, 2);
    clicks("('hat', 9.5, 0), ('hat', 1.0, 1), ('hat', 2.0, 2)")
        .run(&warehouse)
        .await
        .unwrap();
    assert_eq!(n().await, 3, "without preparing or connecting again");
    assert_eq!(
        simple(&client, "select count(*) from clicks").await,
        [[Some("3".to_owned())]]
    );
    // A time in binary.
    let row = client
        .query_one("select max(at) from clicks", &[])
        .await
        .unwrap();
    let time: std::time::SystemTime = row.get(0);
    assert_eq!(time, std::time::UNIX_EPOCH + Duration::from_secs(2));

    let other = Dag::builder().sql("clicks", "select 'hat' as item, 'dear' as price");
    other
        .materialize_others(Materialization::Delta)
        .build()
        .unwrap()
        .run(&warehouse)
        .await
        .unwrap();
    let error = client
        .query(&of_item, &[&"hat", &10.0_f64])
        .await
        .unwrap_err();
    assert_eq!(code(&error), "0A000", "{error:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_and_errors_have_their_codes() {
    let running = Running::start(server(&shop().await)).await;
    let client = running.connect().await;
    let check = async |query: &str, expected: &str| {
        let error = client.batch_execute(query).await.unwrap_err();
        assert_eq!(code(&error), expected, "{query}: {error:?}");
        // The same when it is prepared.
        let error = match client.prepare(query).await {
            Ok(statement) => client.query(&statement, &[]).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(code(&error), expected, "prepared {query}: {error:?}");
    };
    check("insert into clicks values ('x', 1.0, now())", "25006").await;
    check("update clicks set price = 1", "25006").await;
    check("delete from clicks", "25006").await;
    check("drop table clicks", "25006").await;
    check("create table t (a int)", "25006").await;
    check("create table t as select 1", "25006").await;
    check("copy clicks to '/tmp/never.csv'", "25006").await;
    check("set datafusion.execution.batch_size = 1", "42501").await;
    check("select * from nothing", "42P01").await;
    check("select nothing from clicks", "42703").await;
    check("select nothing(item) from clicks", "42883").await;
    check("selec 1", "42601").await;
    check("select cast(item as bigint) from clicks", "22P02").await;
    check("select n / (n - n) from items", "22012").await;
    // The connection goes on, and the tables are as they were.
    assert_eq!(
        simple(&client, "select count(*) from clicks").await,
        [[Some("3".to_owned())]]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_connect_is_told_why() {
    let one = PgConfig {
        max_connections: NonZeroUsize::MIN,
        ..PgConfig::default()
    };
    let running = Running::start(server(&shop().await).config(one)).await;
    let refused = async |user: &str, password: &str, database: &str| {
        let connected = running.connect_as(user, password, database).await;
        code(&connected.err().unwrap()).to_owned()
    };
    // The one before is gone soon, and then there is room for one.
    let refused_in_turn = async |user: &str, password: &str, database: &str| loop {
        match refused(user, password, database).await.as_str() {
            "53300" => {}
            code => break code.to_owned(),
        }
    };
    assert_eq!(refused_in_turn("ana", "wrong", "prod").await, "28P01");
    assert_eq!(refused_in_turn("nobody", PASSWORD, "prod").await, "28P01");
    assert_eq!(refused_in_turn("ana", PASSWORD, "dev").await, "3D000");
    let patient = async || loop {
        match running.connect_as("ana", PASSWORD, "prod").await {
            Ok(client) => break client,
            Err(error) => assert_eq!(code(&error), "53300", "{error:?}"),
        }
    };
    let first = patient().await;
    assert_eq!(refused("ana", PASSWORD, "prod").await, "53300");
    drop(first);
    let next = patient().await;
    drop(next);
    running.stop().await;

    let nobody = PgServer::new(Warehouse::in_memory());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = nobody
        .serve(listener, std::future::pending())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Serve {
                operation: "start",
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_end_in_time_and_can_be_cancelled() {
    let limits = PgConfig {
        statement_timeout: Duration::from_millis(300),
        ..PgConfig::default()
    };
    let endless = "select count(*) from generate_series(1, 1000000000000)";
    let running = Running::start(server(&shop().await).config(limits)).await;
    let client = running.connect().await;
    let error = client.simple_query(endless).await.unwrap_err();
    assert_eq!(code(&error), "57014", "{error:?}");
    // It is the server that says so, whatever the client wishes.
    client
        .batch_execute("set statement_timeout = 0")
        .await
        .unwrap();
    assert_eq!(
        code(&client.query(endless, &[]).await.unwrap_err()),
        "57014"
    );
    assert_eq!(simple(&client, "select 1").await, [[Some("1".to_owned())]]);
    running.stop().await;

    let running = Running::start(server(&shop().await)).await;
    let client = running.connect().await;
    // A client that has had enough, before the statement begins or after.
    let cancel = client.cancel_token();
    let enough = tokio::spawn(async move {
        loop {
            cancel.cancel_query(NoTls).await.unwrap();
        }
    });
    let error = client.simple_query(endless).await.unwrap_err();
    assert_eq!(code(&error), "57014", "{error:?}");
    let error = client.query(endless, &[]).await.unwrap_err();
    assert_eq!(code(&error), "57014", "{error:?}");
    enough.abort();
    let client = running.connect().await;
    client
        .batch_execute("set statement_timeout = 200")
        .await
        .unwrap();
    assert_eq!(
        code(&client.simple_query(endless).await.unwrap_err()),
        "57014"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_answers_what_it_has_begun() {
    let running = Running::start(server(&shop().await)).await;
    let (idle, client) = (running.connect().await, running.connect().await);
    let slow = "select count(*) from generate_series(1, 3000) a, generate_series(1, 3000) b where (a.value * b.value) % 7 = 3";
    let answer = tokio::spawn(async move { simple(&client, slow).await });
    // The statement has begun once the catalogue of another connection is read after it was sent.
    simple(&idle, "select 1").await;
    running.stop().await;
    assert!(idle.simple_query("select 1").await.is_err());
    // Either it had begun, and was answered to the end, or the connection was closed before.
    if let Ok(rows) = answer.await {
        assert_eq!(rows.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_psql_comes_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (key, certificate) = (
        dir.path().join("key.pem"),
        dir.path().join("certificate.pem"),
    );
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    let (Ok(key), Ok(certificate)) = (std::fs::read(key), std::fs::read(certificate)) else {
        eprintln!("openssl makes no certificate ({made:?}): TLS was not tested");
        return;
    };
    let config = PgConfig {
        require_tls: true,
        ..PgConfig::default()
    };
    let secure = server(&shop().await)
        .config(config)
        .tls(&certificate, &key)
        .unwrap();
    let running = Running::start(secure).await;
    if let Some(output) = running
        .psql(&[("PGSSLMODE", "require")], "select count(*) from clicks")
        .await
    {
        assert_eq!(text(&output), "3\n");
    }
    let error = running
        .connect_as("ana", PASSWORD, "prod")
        .await
        .err()
        .unwrap();
    assert_eq!(code(&error), "28000");
    running.stop().await;
    let error = server(&shop().await)
        .tls(b"no", b"certificate")
        .unwrap_err();
    assert!(matches!(
        error,
        Error::Serve {
            operation: "use its certificate",
            ..
        }
    ));
}

/// What Metabase (PostgreSQL JDBC) and Grafana ask before they show anything, as recorded in the
/// tests of `datafusion-postgres` 0.19 and in Grafana's `postgresMetaQuery.ts`.
#[tokio::test(flavor = "multi_thread")]
async fn tools_find_the_tables() {
    let running = Running::start(server(&shop().await)).await;
    let client = running.connect().await;
    let check = async |query: &str, expected: &str| {
        let rows = simple(&client, query).await;
        let text = format!("{rows:?}");
        assert!(
            text.contains(expected),
            "{query}\nno `{expected}` in {text}"
        );
    };
    // Metabase.
    check("SET extra_float_digits = 2", "[]").await;
    check("SET application_name = 'Metabase v0.55.1'", "[]").await;
    check("SHOW TRANSACTION ISOLATION LEVEL", "read").await;
    check(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
        "[]",
    )
    .await;
    check(r#"SELECT nspname AS "TABLE_SCHEM", current_database() AS "TABLE_CATALOG" FROM pg_catalog.pg_namespace WHERE nspname <> 'pg_toast' AND (nspname !~ '^pg_temp_' OR nspname = (pg_catalog.current_schemas(true))[1]) AND (nspname !~ '^pg_toast_temp_' OR nspname = replace((pg_catalog.current_schemas(true))[1], 'pg_temp_', 'pg_toast_temp_')) ORDER BY "TABLE_SCHEM""#, "\"public\"").await;
    check(r#"SELECT "n"."nspname" AS "schema", "c"."relname" AS "name", CASE "c"."relkind" WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE' WHEN 'v' THEN 'VIEW' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END AS "type", "d"."description" AS "description", "stat"."n_live_tup" AS "estimated_row_count" FROM "pg_catalog"."pg_class" AS "c" INNER JOIN "pg_catalog"."pg_namespace" AS "n" ON "c"."relnamespace" = "n"."oid" LEFT JOIN "pg_catalog"."pg_description" AS "d" ON ("c"."oid" = "d"."objoid") AND ("d"."objsubid" = '0') AND ("d"."classoid" = 'pg_class'::regclass) LEFT JOIN "pg_stat_user_tables" AS "stat" ON ("n"."nspname" = "stat"."schemaname") AND ("c"."relname" = "stat"."relname") WHERE ("c"."relnamespace" = "n"."oid") AND ("n"."nspname" !~ '^pg_') AND ("n"."nspname" <> 'information_schema') AND c.relkind in ('r', 'p', 'v', 'f', 'm') AND ("n"."nspname" IN ('public')) ORDER BY "type" ASC, "schema" ASC, "name" ASC"#, "\"clicks\"").await;
    // Grafana.
    check(
        "SELECT current_setting('server_version_num')::int/100 as version",
        "1600",
    )
    .await;
    check(r#"SELECT CASE WHEN quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END FROM generate_series(array_lower(string_to_array(current_setting('search_path'),','),1), array_upper(string_to_array(current_setting('search_path'),','),1)) as i, string_to_array(current_setting('search_path'),',') s) THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table" FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache') ORDER BY 1"#, "clicks").await;
    check("SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns WHERE quote_ident(table_name) = 'clicks'", "\"price\"").await;
    // JDBC, `DatabaseMetaData.getColumns` in short, and what drivers ask for types.
    check("SELECT n.nspname, c.relname, a.attname, t.typname FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid) JOIN pg_catalog.pg_attribute a ON (a.attrelid = c.oid) JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid) WHERE n.nspname = 'public' AND c.relname = 'clicks' AND a.attnum > 0 ORDER BY a.attnum", "\"price\"").await;
    check("SELECT t.typname, t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE n.nspname = 'pg_catalog' AND t.typname = 'timestamptz'", "timestamptz").await;
    // SQLAlchemy and others.
    check("select pg_catalog.version()", "PostgreSQL 16.6").await;
    check("show standard_conforming_strings", "on").await;
    check("show transaction_read_only", "on").await;
    running.stop().await;
}
