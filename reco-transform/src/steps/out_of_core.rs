//! That the steps hold no table in memory.

use std::sync::Arc;

use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use reco_core::EventKind;

use super::testing::{Act, acts, plan};
use super::*;
use crate::step::Step;

fn steps() -> [Box<dyn Step>; 7] {
    let input = || "events".to_owned();
    [
        Box::new(BotFilter {
            input: input(),
            ..BotFilter::default()
        }),
        Box::new(CoOccurrence {
            input: input(),
            ..CoOccurrence::default()
        }),
        Box::new(Funnel {
            input: input(),
            ..Funnel::default()
        }),
        Box::new(Kpi {
            input: input(),
            ..Kpi::default()
        }),
        Box::new(PopularityByWindow {
            input: input(),
            ..PopularityByWindow::default()
        }),
        Box::new(SessionFeatures {
            input: input(),
            ..SessionFeatures::default()
        }),
        Box::new(TemporalSplit {
            input: input(),
            ..TemporalSplit::default()
        }),
    ]
}

#[tokio::test]
async fn a_window_looks_back_only() {
    let input = acts(&[Act::new("ann", "2024-05-01T00:00:00Z", EventKind::Detail).of("hat")]);
    for step in steps() {
        let frame = plan(step.as_ref(), vec![input.clone()], SessionContext::new())
            .await
            .unwrap();
        let physical = frame.create_physical_plan().await.unwrap();
        let text = displayable(physical.as_ref()).indent(false).to_string();
        assert!(text.contains("DataSourceExec"), "{text}");
        // The one that looks ahead holds all its rows.
        let holds_all = |line: &&str| line.trim_start().starts_with("WindowAggExec");
        assert_eq!(
            text.lines().find(holds_all),
            None,
            "{}\n{text}",
            step.name()
        );
    }
}

/// Half of the bytes of the rows is enough for all the sorts and aggregations of a step together.
#[tokio::test]
async fn a_small_memory_limit_is_enough() {
    const N_SESSIONS: i64 = 8_000;
    let names: Vec<String> = (0..N_SESSIONS)
        .map(|n| format!("a client with a long name, number {n}"))
        .collect();
    let items: Vec<String> = (0..40).map(|n| format!("an item, number {n}")).collect();
    let kinds = [EventKind::Detail, EventKind::Add, EventKind::Purchase];
    let mut input = Vec::new();
    for (number, name) in names.iter().enumerate() {
        for nth in 0..6 {
            let act = Act::new(name, "2024-05-01T00:00:00Z", kinds[nth % 3]);
            let seconds = i64::try_from(number * 97 + nth * nth * 40).unwrap();
            input.push(
                act.of(&items[(number * 7 + nth * nth) % 40])
                    .at(1.0, None)
                    .later(seconds),
            );
        }
    }
    let input: Vec<_> = input.chunks(256).map(acts).collect();
    let limit = 5 << 19;
    let n_bytes: usize = input
        .iter()
        .map(|batch| batch.get_array_memory_size())
        .sum();
    assert!(n_bytes > 2 * limit, "{n_bytes}");
    // Two sorts of whole rows at once leave the engine too little to merge what they spilled.
    for step in steps().into_iter().filter(|step| step.name() != "split") {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(limit)))
            .build_arc()
            .unwrap();
        // The newer aggregation of the engine takes its memory twice to make rows of groups that just fit,
        // and spills no more by then.
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .with_batch_size(256)
            .with_sort_spill_reservation_bytes(32 << 10)
            .set_bool("datafusion.execution.enable_migration_aggregate", false);
        let session = SessionContext::new_with_config_rt(config, runtime);
        let frame = plan(step.as_ref(), input.clone(), session).await.unwrap();
        // Counting by a plan would leave out what makes the columns.
        let mut batches = frame.execute_stream().await.unwrap();
        let mut n_rows = 0;
        loop {
            match batches.try_next().await {
                Ok(Some(batch)) => n_rows += batch.num_rows(),
                Ok(None) => break,
                Err(error) => panic!("{}: {error}", step.name()),
            }
        }
        assert!(n_rows > 0, "{}", step.name());
    }
}
