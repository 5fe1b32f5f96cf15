//! The steps that every shop needs, in a DAG: that they agree, and what is checked before anything is read.

use std::sync::Arc;

use reco_core::{Event, EventKind, Record};
use reco_transform::datafusion::arrow::datatypes::{DataType, Field, Schema};
use reco_transform::{
    BotFilter, CoOccurrence, Dag, Error, Funnel, Kpi, Materialization, PopularityByWindow,
    SessionFeatures, Sessionize, Source, TemporalSplit, Warehouse,
};

use crate::shop::{event, source};

/// All of them on the sessions of some events.
fn dag(events: &[Event]) -> Dag {
    let on = "without_bots".to_owned();
    Dag::builder()
        .source("clean", source(events))
        .step(Sessionize::default())
        .step(BotFilter::default())
        .sql(
            "interactions",
            "select * from without_bots where item_id is not null",
        )
        .step(TemporalSplit::default())
        .step(CoOccurrence {
            min_sessions: 1,
            ..CoOccurrence::default()
        })
        .step(PopularityByWindow::default())
        .step(SessionFeatures {
            input: on.clone(),
            ..SessionFeatures::default()
        })
        .step(Funnel {
            input: on.clone(),
            ..Funnel::default()
        })
        .step(Kpi {
            input: on,
            ..Kpi::default()
        })
        .materialize_others(Materialization::Delta)
        .build()
        .unwrap()
}

/// Sessions of five events, a minute apart, of a few thousand clients.
fn crowd(n_clients: i64) -> Vec<Event> {
    const KINDS: [EventKind; 3] = [EventKind::Detail, EventKind::Add, EventKind::Purchase];
    let of_client = |client: i64| {
        (0..5).map(move |nth| {
            let item = format!("item{}", (client * 7 + nth * nth) % 97);
            let id = format!("{client}-{nth}");
            let name = format!("client{client}");
            let kind = usize::try_from(nth % 3).unwrap();
            Event {
                kind: KINDS[kind],
                ..event(&id, &name, client % 4_000 + nth, Some(&item))
            }
        })
    };
    (0..n_clients).flat_map(of_client).collect()
}

#[tokio::test]
async fn all_steps_run_in_a_dag_and_agree() {
    let events = crowd(200);
    let run = dag(&events).run(&Warehouse::in_memory()).await.unwrap();
    let one = |query: &'static str| {
        let session = run.session().clone();
        async move {
            let frame = session.sql(query).await.unwrap();
            let table = frame.to_string().await.unwrap();
            let row = table.lines().nth(3).unwrap();
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            cells.join(" ")
        }
    };
    assert_eq!(
        one("select count(*), sum(n_events) from session_features").await,
        "200 1000"
    );
    assert_eq!(
        one("select sum(n_events), sum(n_units) from kpi").await,
        "1000 200"
    );
    assert_eq!(
        one("select sum(n_interactions) from popularity").await,
        "1000"
    );
    assert_eq!(
        one("select sum(n_sessions), sum(n_purchase) from funnel").await,
        "200 200"
    );
    assert_eq!(one("select count(*) from split").await, "1000");
    let symmetric = "select count(*) from co_occurrence a
                     left join co_occurrence b
                       on a.item_id = b.other_item_id and b.item_id = a.other_item_id
                     where (a.n_sessions is distinct from b.n_sessions)
                       or (a.cosine is distinct from b.cosine)";
    assert_eq!(one(symmetric).await, "0");
    let features: f64 = one("select sum(revenue) from session_features")
        .await
        .parse()
        .unwrap();
    let kpi: f64 = one("select sum(revenue) from kpi").await.parse().unwrap();
    assert!((features - kpi).abs() < 1e-6, "{features} {kpi}");
}

#[test]
fn columns_that_are_not_there_are_told_before_anything_is_read() {
    let schema = Event::schema();
    let check = |missing: &str, dag: &dyn Fn(Source) -> Result<Dag, Error>| {
        let fields = schema
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                name if name == missing => field.as_ref().clone().with_name(format!("{name}s")),
                _ => field.as_ref().clone(),
            });
        let renamed = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let error = dag(Source::batches(renamed, Vec::new()).unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("names column `{missing}`, which is not there")),
            "{text}"
        );
        assert!(
            text.ends_with(&format!("did you mean `{missing}s`?")),
            "{text}"
        );
    };
    let sessions = |source| Dag::builder().source("sessions", source);
    let interactions = |source| Dag::builder().source("interactions", source);
    check("kind", &|source| {
        sessions(source).step(Kpi::default()).build()
    });
    check("kind", &|source| {
        sessions(source).step(Funnel::default()).build()
    });
    check("price", &|source| {
        sessions(source).step(SessionFeatures::default()).build()
    });
    check("item_id", &|source| {
        sessions(source).step(BotFilter::default()).build()
    });
    check("item_id", &|source| {
        interactions(source).step(CoOccurrence::default()).build()
    });
    check("item_id", &|source| {
        interactions(source)
            .step(PopularityByWindow::default())
            .build()
    });
    check("session_id", &|source| {
        interactions(source).step(TemporalSplit::default()).build()
    });
}

#[test]
fn a_number_is_no_time() {
    let schema = Schema::new(vec![
        Field::new("session_id", DataType::Utf8, false),
        Field::new("item_id", DataType::Utf8, false),
        Field::new("occurred_at", DataType::Int64, false),
    ]);
    let source = Source::batches(Arc::new(schema), Vec::new()).unwrap();
    let dag = Dag::builder().source("interactions", source);
    let error = dag.step(CoOccurrence::default()).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "step `co_occurrence` reads column `occurred_at` as a timestamp; it is Int64"
    );
}
