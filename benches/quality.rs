//! A hundred expectations on a table of clicks beside one scan of it: rows per second, from Parquet.
//!
//! Prints how much longer the audit takes than reading all columns does. `RECO_BENCH_ROWS` sets the number
//! of rows, 20 000 by default.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench without its set-up measures nothing, and tells what it measured"
)]

use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::{StreamExt, TryStreamExt};
use reco_transform::datafusion::dataframe::DataFrameWriteOptions;
use reco_transform::datafusion::prelude::{ParquetReadOptions, SessionContext};
use reco_transform::{
    Expectation, MatchOn, Profile, ProfileConfig, accepted_values, audit_table, between,
    column_max, column_mean, column_median, column_min, column_not_null_share, column_quantile,
    column_stdev, column_sum, column_type, columns_match_ordered, distinct_values_in, expect_sql,
    matches_like, matches_regex, matches_regex_list, not_matches_like, not_null, pair_equal,
    pair_greater, rejected_values, row_count, unique, unique_within_record, value_lengths,
};
use tokio::runtime::Runtime;

const COLUMNS: [&str; 12] = [
    "id",
    "tenant",
    "client",
    "session",
    "kind",
    "item",
    "query",
    "price",
    "quantity",
    "country",
    "occurred_at",
    "received_at",
];

#[expect(clippy::disallowed_methods, reason = "a bench is the host")]
fn n_rows() -> usize {
    let rows = std::env::var("RECO_BENCH_ROWS");
    rows.map_or(20_000, |rows| rows.parse().unwrap())
}

/// Clicks as a shop has them: texts, a few numbers, two times.
async fn clicks(folder: &std::path::Path, n_rows: usize) -> SessionContext {
    let session = SessionContext::new();
    let query = format!(
        "select md5(cast(value as varchar)) as id,
                concat('shop-', value % 3) as tenant,
                concat('client-', lpad(cast(value * 7919 % {clients} as varchar), 8, '0')) as client,
                concat('session-', lpad(cast(value / 8 as varchar), 8, '0')) as session,
                case value % 10 when 0 then 'purchase' when 1 then 'add' when 2 then 'search' else 'detail' end as kind,
                case when value % 10 = 2 then null else concat('sku-', lpad(cast(value * 104729 % 40000 as varchar), 6, '0')) end as item,
                case when value % 10 = 2 then concat('hat ', value % 500) end as query,
                case when value % 20 = 3 then null else value * 7907 % 30000 / 100.0 end as price,
                value % 5 + 1 as quantity,
                case value % 4 when 0 then 'DE' when 1 then 'FR' when 2 then 'IT' else 'PL' end as country,
                to_timestamp_micros(1714550400000000 + value * 1000) as occurred_at,
                to_timestamp_micros(1714550400000000 + value * 1000 + value % 977) as received_at
         from generate_series(1, {n_rows})",
        clients = n_rows / 20 + 1,
    );
    let path = folder.join("clicks.parquet");
    let path = path.to_str().unwrap();
    let clicks = session.sql(&query).await.unwrap();
    clicks
        .write_parquet(path, DataFrameWriteOptions::new(), None)
        .await
        .unwrap();
    let options = ParquetReadOptions::default();
    session
        .register_parquet("clicks", path, options)
        .await
        .unwrap();
    session
}

/// A hundred things to expect of clicks, of which none takes a pass of its own.
fn hundred() -> Vec<Expectation> {
    let mut all: Vec<Expectation> = COLUMNS
        .iter()
        .map(|column| not_null(*column).mostly(0.05))
        .collect();
    all.extend(COLUMNS.map(|column| column_not_null_share(column, 0.05..=1.0)));
    for (i, kind) in ["detail", "add", "purchase", "search"]
        .into_iter()
        .enumerate()
    {
        let low = i as f64;
        let of_kind = format!("kind = '{kind}'");
        all.extend([
            between("price", 0.0..=1000.0 + low).when(&of_kind),
            between("quantity", 1..=9).when(&of_kind),
            column_mean("price", low..1000.0).when(&of_kind),
            not_null("price").mostly(0.5).when(&of_kind),
            expect_sql(
                format!("times of {kind}"),
                format!("received_at >= occurred_at or kind <> '{kind}'"),
            ),
            row_count(1..).when(&of_kind),
            value_lengths("client", 10..=20).when(&of_kind),
            rejected_values("country", [format!("X{i}"), "YY".to_owned()]),
        ]);
    }
    for i in 0..5_u32 {
        let quantile = f64::from(i) / 4.0;
        all.extend([
            column_quantile("price", quantile, 0.0, 1000.0),
            column_quantile("quantity", quantile, 0.0, 10.0),
            between("price", -f64::from(i)..),
            column_sum("quantity", f64::from(i)..),
        ]);
    }
    all.extend([
        accepted_values("kind", ["detail", "add", "purchase", "search"]),
        accepted_values("country", ["DE", "FR", "IT", "PL"]),
        accepted_values("tenant", ["shop-0", "shop-1", "shop-2"]),
        distinct_values_in("kind", ["detail", "add", "purchase", "search"]),
        matches_regex("id", "^[0-9a-f]{32}$"),
        matches_regex_list("item", ["^sku-[0-9]{6}$", "^old-"], MatchOn::Any),
        matches_like("session", "session-%"),
        matches_like("client", "client-%"),
        not_matches_like("query", "%script%"),
        value_lengths("id", 32..=32),
        value_lengths("item", 5..=12),
        pair_greater("received_at", "occurred_at", true),
        pair_equal("id", "id"),
        unique_within_record(["kind", "country", "tenant"]),
        column_min("price", 0.0..),
        column_max("price", ..1000.0),
        column_mean("price", 0.0..1000.0),
        column_median("price", 0.0..1000.0),
        column_stdev("price", 0.0..1000.0),
        column_min("occurred_at", "2024-01-01"..),
        column_max("received_at", .."2054-01-01"),
        column_type("price", ["float"]),
        columns_match_ordered(COLUMNS),
        row_count(1..),
    ]);
    assert_eq!(all.len(), 100);
    all
}

async fn audit(session: &SessionContext, expectations: &[Expectation]) {
    let report = audit_table(session, "clicks", expectations).await.unwrap();
    assert!(report.passed(), "{report}");
}

/// Reads all columns of all rows.
async fn scan(session: &SessionContext) -> usize {
    let clicks = session.table("clicks").await.unwrap();
    let parts = clicks.execute_stream_partitioned().await.unwrap();
    let rows = parts
        .into_iter()
        .map(|part| tokio::spawn(part.try_fold(0, async |n, batch| Ok(n + batch.num_rows()))));
    let rows = futures::stream::iter(rows).then(async |part| part.await.unwrap().unwrap());
    rows.fold(0, async |all, n| all + n).await
}

fn quality(c: &mut Criterion) {
    #[expect(clippy::disallowed_methods, reason = "a bench is the host")]
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let n_rows = n_rows();
    let session = runtime.block_on(clicks(folder.path(), n_rows));
    assert_eq!(runtime.block_on(scan(&session)), n_rows);

    let hundred = hundred();
    let key = [unique(["id"])];
    let mut group = c.benchmark_group("quality, rows/s");
    group
        .throughput(Throughput::Elements(n_rows as u64))
        .sample_size(10);
    group.bench_function("one scan", |b| b.to_async(&runtime).iter(|| scan(&session)));
    group.bench_function("a hundred expectations", |b| {
        b.to_async(&runtime).iter(|| audit(&session, &hundred));
    });
    group.bench_function("a unique key", |b| {
        b.to_async(&runtime).iter(|| audit(&session, &key));
    });
    group.bench_function("a profile", |b| {
        b.to_async(&runtime).iter(|| async {
            let clicks = session.table("clicks").await.unwrap();
            let profile = Profile::of(clicks, &ProfileConfig::default())
                .await
                .unwrap();
            assert_eq!(profile.n_rows, n_rows as u64);
        });
    });
    group.finish();

    // The two alternate, so that what else the machine does falls on both.
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..5 {
        let begin = Instant::now();
        runtime.block_on(scan(&session));
        seconds[0].push(begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        runtime.block_on(audit(&session, &hundred));
        seconds[1].push(begin.elapsed().as_secs_f64());
    }
    let [scan, audit] = seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[2]
    });
    println!(
        "{n_rows} rows: one scan {scan:.3} s, a hundred expectations {audit:.3} s, {:.2} scans",
        audit / scan
    );
}

criterion_group!(benches, quality);
criterion_main!(benches);
