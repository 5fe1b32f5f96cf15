//! Steps at a time: which run beside each other, and what they do to each other's memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reco_core::async_trait;
use reco_transform::datafusion::error::Result as EngineResult;
use reco_transform::datafusion::execution::memory_pool::MemoryConsumer;
use reco_transform::datafusion::prelude::*;
use reco_transform::{Dag, Error, Materialization, Step, StepContext, Warehouse, WarehouseConfig};
use tokio::sync::Barrier;

/// A step that does something while it is planned.
struct Doing<F> {
    name: &'static str,
    inputs: &'static [&'static str],
    work: F,
}

impl<F> fmt::Debug for Doing<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[async_trait]
impl<F, W> Step for Doing<F>
where
    F: Fn(SessionContext) -> W + Send + Sync + 'static,
    W: Future<Output = EngineResult<()>> + Send,
{
    fn name(&self) -> &str {
        self.name
    }

    fn inputs(&self) -> Vec<String> {
        self.inputs.iter().map(ToString::to_string).collect()
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> EngineResult<DataFrame> {
        if !ctx.is_check() {
            (self.work)(ctx.session().clone()).await?;
        }
        ctx.sql("select 1 as n").await
    }
}

fn with_memory(memory_limit: usize) -> Warehouse {
    let config = WarehouseConfig {
        memory_limit,
        ..WarehouseConfig::default()
    };
    Warehouse::in_memory().with_config(config).unwrap()
}

#[tokio::test]
async fn steps_that_do_not_depend_on_each_other_run_at_once() {
    let both = Arc::new(Barrier::new(2));
    let meets = |name| {
        let both = Arc::clone(&both);
        let work = move |_| {
            let both = Arc::clone(&both);
            async move {
                both.wait().await;
                Ok(())
            }
        };
        Doing {
            name,
            inputs: &[],
            work,
        }
    };
    let dag = Dag::builder().step(meets("left")).step(meets("right"));
    let dag = dag.build().unwrap();
    dag.run(&Warehouse::in_memory()).await.unwrap();
}

#[tokio::test]
async fn a_step_that_ran_out_of_memory_beside_another_is_made_alone() {
    let check = async |megabytes: [usize; 2], expected: [&str; 2], n_attempts: usize| {
        // Steps meet before they ask for memory, and before they give it back.
        let meetings = [(); 2].map(|()| Arc::new(Barrier::new(2)));
        let attempts = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let wants = |name, step: usize| {
            let (meetings, attempts) = (meetings.clone(), Arc::clone(&attempts[step]));
            let n_bytes = megabytes[step] << 20;
            let work = move |session: SessionContext| {
                let ([asks, has_asked], attempts) = (meetings.clone(), Arc::clone(&attempts));
                async move {
                    let meets = attempts.fetch_add(1, Ordering::SeqCst) == 0;
                    if meets {
                        asks.wait().await;
                    }
                    let runtime = session.runtime_env();
                    let held = MemoryConsumer::new(name).register(&runtime.memory_pool);
                    let outcome = held.try_grow(n_bytes);
                    if meets {
                        has_asked.wait().await;
                    }
                    outcome
                }
            };
            Doing {
                name,
                inputs: &[],
                work,
            }
        };
        let dag = Dag::builder()
            .step(wants("left", 0))
            .step(wants("right", 1))
            .sql("sum", "select l.n + r.n as n from \"left\" l, \"right\" r")
            .build()
            .unwrap();
        let run = match dag.run(&with_memory(10 << 20)).await {
            Ok(run) => run,
            Err(Error::Incomplete { run, .. }) => *run,
            Err(error) => panic!("{error}"),
        };
        let found = ["left", "right"].map(|step| run.report(step).unwrap().status.to_string());
        assert_eq!(found, expected, "{megabytes:?}");
        let found: usize = attempts.iter().map(|n| n.load(Ordering::SeqCst)).sum();
        assert_eq!(found, n_attempts, "{megabytes:?}");
    };
    check([4, 4], ["built", "built"], 2).await;
    check([6, 6], ["built", "built"], 3).await;
    // What it wants is more than there is: it is tried once more, and no more than that.
    check([6, 11], ["built", "failed"], 3).await;
    check([11, 11], ["failed", "failed"], 4).await;
}

#[tokio::test]
async fn steps_that_read_more_rows_than_fit_are_made_in_turn() {
    let most_at_once = async |n_rows: usize| {
        let (n_running, most) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let counted = |name| {
            let (n_running, most) = (Arc::clone(&n_running), Arc::clone(&most));
            let work = move |_| {
                let (n_running, most) = (Arc::clone(&n_running), Arc::clone(&most));
                async move {
                    let n = n_running.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(n, Ordering::SeqCst);
                    // Whatever else may run has its turn, many times over.
                    for _ in 0..1_000 {
                        tokio::task::yield_now().await;
                    }
                    n_running.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                }
            };
            Doing {
                name,
                inputs: &["view"],
                work,
            }
        };
        let query = format!("select value as n from generate_series(1, {n_rows})");
        let dag = Dag::builder()
            .sql("rows", query)
            .sql("view", "select n + 1 as n from rows")
            .materialize("view", Materialization::View)
            .step(counted("left"))
            .step(counted("right"))
            .build()
            .unwrap();
        dag.run(&with_memory(1 << 20)).await.unwrap();
        most.load(Ordering::SeqCst)
    };
    // A row takes about 256 bytes.
    assert_eq!(most_at_once(4_096).await, 2);
    assert_eq!(most_at_once(4_097).await, 1);
}
