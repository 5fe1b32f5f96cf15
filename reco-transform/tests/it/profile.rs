//! Profiles of tables, and the suites that they suggest.

use proptest::prelude::*;
use reco_transform::datafusion::datasource::MemTable;
use reco_transform::datafusion::prelude::{SessionConfig, SessionContext};
use reco_transform::{
    Error, Expectation, Profile, ProfileConfig, Scalar, Suite, audit_table, profile_schema,
};

async fn profile(session: &SessionContext, config: &ProfileConfig) -> Profile {
    let table = session.table("t").await.unwrap();
    Profile::of(table, config).await.unwrap()
}

async fn session(query: &str) -> SessionContext {
    let session = SessionContext::new();
    let view = session.sql(query).await.unwrap().into_view();
    session.register_table("t", view).unwrap();
    session
}

fn names(suite: &Suite) -> Vec<String> {
    let expectations = suite.expectations.iter().cloned().map(Expectation::from);
    expectations
        .map(|expectation| expectation.name().to_owned())
        .collect()
}

/// A thousand clicks.
const CLICKS: &str = "
    select value as id,
           concat('session-', lpad(cast(value / 7 as varchar), 4, '0')) as session,
           case when value % 10 < 7 then 'detail' when value % 10 < 9 then 'add' else 'purchase' end as kind,
           case when value % 5 = 0 then null else value % 37 + 0.25 end as price,
           case when value % 10 < 8 then null else 'rare' end as note,
           value % 4 - 1 as step,
           42 as version,
           value % 2 = 0 as paid,
           arrow_cast(1714550400 + value, 'Timestamp(Second, None)') as at,
           cast(null as double) as nothing,
           make_array(value) as list
    from generate_series(1, 1000)";

#[tokio::test]
async fn a_draft_says_what_a_person_would() {
    let session = session(CLICKS).await;
    let config = ProfileConfig {
        order_by: vec!["id".to_owned()],
        ..ProfileConfig::default()
    };
    let suite = profile(&session, &config).await.draft("clicks");
    assert_eq!(suite.name, "clicks");
    let lines = suite.expectations.iter().zip(names(&suite));
    let lines: Vec<_> = lines
        .map(|(config, name)| format!("{:?} {name}", config.severity))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn a_profile_holds_what_is_in_the_table() {
    let session = session(CLICKS).await;
    let profile = profile(&session, &ProfileConfig::default()).await;
    assert_eq!(profile.n_rows, 1000);
    let column = |name: &str| profile.column(name).unwrap();

    let price = column("price");
    assert_eq!(
        (price.n_nulls, price.n_distinct, price.is_exact),
        (200, Some(37), true)
    );
    assert_eq!(
        (&price.min, &price.max),
        (&Some(Scalar::Float(0.25)), &Some(Scalar::Float(36.25)))
    );
    // Of the values in order, those of the ranks 40, 200, 400, 600 and 760.
    let quantiles: Vec<_> = price
        .quantiles
        .iter()
        .map(|one| (one.quantile, one.value))
        .collect();
    assert_eq!(
        quantiles,
        [
            (0.05, 1.25),
            (0.25, 9.25),
            (0.5, 18.25),
            (0.75, 27.25),
            (0.95, 35.25)
        ]
    );

    let kind = column("kind");
    let values: Vec<_> = kind
        .values
        .iter()
        .map(|value| (value.value.to_string(), value.n))
        .collect();
    let expected = [("detail", 700), ("add", 200), ("purchase", 100)];
    assert_eq!(values, expected.map(|(value, n)| (value.to_owned(), n)));
    assert_eq!((kind.min_length, kind.max_length), (Some(3), Some(8)));

    assert_eq!(
        (column("id").n_distinct, column("id").is_exact),
        (Some(1000), true)
    );
    assert_eq!(
        (column("nothing").n_nulls, &column("nothing").min),
        (1000, &None)
    );
    assert_eq!(
        (column("list").n_distinct, column("list").n_nulls),
        (None, 0)
    );
    assert_eq!(
        column("at").min,
        Some(Scalar::Text("2024-05-01T08:00:01".to_owned()))
    );
    assert_eq!(column("version").stdev, Some(0.0));
}

#[tokio::test]
async fn a_profile_is_data_and_a_table() {
    let session = session(CLICKS).await;
    let profile = profile(&session, &ProfileConfig::default()).await;
    let json = serde_json::to_string(&profile).unwrap();
    assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);
    let batch = profile.to_batch().unwrap();
    assert_eq!((batch.schema(), batch.num_rows()), (profile_schema(), 11));
    // The same table, the same profile, however it is split.
    let again = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(7));
    let batches = session.table("t").await.unwrap().collect().await.unwrap();
    let parts: Vec<_> = batches
        .iter()
        .flat_map(|batch| {
            let half = batch.num_rows() / 2;
            [
                vec![batch.slice(half, batch.num_rows() - half)],
                vec![batch.slice(0, half)],
            ]
        })
        .collect();
    let table = MemTable::try_new(batches[0].schema(), parts);
    again
        .register_table("t", std::sync::Arc::new(table.unwrap()))
        .unwrap();
    let mut other = self::profile(&again, &ProfileConfig::default()).await;
    for (column, expected) in other.columns.iter_mut().zip(&profile.columns) {
        // Sums of fractions depend on the order in the last digits.
        for (found, expected) in [
            (&mut column.mean, expected.mean),
            (&mut column.stdev, expected.stdev),
        ] {
            if let (Some(a), Some(b)) = (*found, expected) {
                assert!((a - b).abs() <= 1e-9 * b.abs());
                *found = Some(b);
            }
        }
    }
    assert_eq!(other, profile);
}

#[tokio::test]
async fn many_values_are_counted_exactly_only_where_they_may_be_a_key() {
    let session = session(
        "select value as id, concat('i', value / 2) as item, value as n
         from generate_series(1, 6000) union all select 6001, 'i1', 6000",
    )
    .await;
    let profile = profile(&session, &ProfileConfig::default()).await;
    let column = |name: &str| profile.column(name).unwrap();
    assert_eq!(
        (column("id").n_distinct, column("id").is_exact),
        (Some(6001), true)
    );
    assert_eq!(
        (column("n").n_distinct, column("n").is_exact),
        (Some(6000), true)
    );
    let item = column("item").n_distinct.unwrap();
    assert!(
        !column("item").is_exact && (2700..3300).contains(&item),
        "{item}"
    );
    let suite = profile.draft("t");
    let unique: Vec<_> = names(&suite)
        .into_iter()
        .filter(|name| name.starts_with("unique"))
        .collect();
    assert_eq!(unique, ["unique(id)"]);
}

#[tokio::test]
async fn little_is_concluded_of_few_rows_and_nothing_of_none() {
    let session = session("select 1 as id, 'hat' as item where false").await;
    let empty = profile(&session, &ProfileConfig::default()).await;
    let types = ["column_type(id, [integer])", "column_type(item, [text])"];
    let expected = ["columns_match_ordered(id, item)", types[0], types[1]];
    assert_eq!(names(&empty.draft("t")), expected);
    let session =
        self::session("select value as id, 'hat' as item from generate_series(1, 99)").await;
    let few = profile(&session, &ProfileConfig::default()).await;
    assert_eq!(names(&few.draft("t")), expected);
}

#[tokio::test]
async fn settings_that_do_not_fit_are_refused() {
    let session = session("select 1 as id").await;
    let check = async |config: ProfileConfig, expected: &str| {
        let table = session.table("t").await.unwrap();
        let error = Profile::of(table, &config).await.unwrap_err();
        assert!(matches!(error, Error::NotProfiled { .. }));
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(expected), "{source}");
    };
    let config = ProfileConfig::default;
    check(
        ProfileConfig {
            quantiles: vec![1.5],
            ..config()
        },
        "quantile 1.5 is not from 0 to 1",
    )
    .await;
    check(
        ProfileConfig {
            max_values: 1001,
            ..config()
        },
        "`max_values` is 1001, above 1000",
    )
    .await;
    check(
        ProfileConfig {
            order_by: vec!["nope".to_owned()],
            ..config()
        },
        "nope",
    )
    .await;
}

fn literal<T: std::fmt::Debug>(value: Option<T>) -> String {
    value.map_or_else(
        || "null".to_owned(),
        |value| format!("{value:?}").replace('"', "'"),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_draft_passes_on_its_own_table(
        rows in proptest::collection::vec(
            (
                any::<Option<i32>>(),
                prop_oneof![Just(None), any::<f64>().prop_filter("a literal", |x| x.is_finite()).prop_map(Some), (-9..9).prop_map(|x| Some(f64::from(x)))],
                proptest::option::weighted(0.9, "[a-c]{0,2}"),
                -3..3_i64,
            ),
            1..12,
        ),
        n_copies in prop_oneof![Just(1), Just(30)],
    ) {
        let values: Vec<_> = rows
            .iter()
            .map(|(n, x, text, small)| {
                let x = x.map(|x| format!("{x:e}")).unwrap_or_else(|| "null".to_owned());
                format!("({}, cast({x} as double), {}, {small})", literal(*n), literal(text.as_ref()))
            })
            .collect();
        let query = format!(
            "select cast(n as bigint) as n, x, cast(text as varchar) as text, small
             from (values {}) as t (n, x, text, small) cross join generate_series(1, {n_copies})",
            values.join(", ")
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (report, same) = runtime.block_on(async {
            let session = session(&query).await;
            let config = ProfileConfig { order_by: vec!["small".to_owned(), "n".to_owned()], ..ProfileConfig::default() };
            let profile = profile(&session, &config).await;
            let suite = profile.draft("t");
            let same = self::profile(&session, &config).await.draft("t") == suite;
            let expectations: Vec<_> = suite.expectations.into_iter().map(Expectation::from).collect();
            (audit_table(&session, "t", &expectations).await.unwrap(), same)
        });
        prop_assert!(same);
        prop_assert!(report.results.iter().all(|result| result.passed), "{}", report);
    }
}
