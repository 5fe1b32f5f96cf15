//! Training on a device: GRU4Rec's events per second by size of the batch, and prod2vec's words per second.
//!
//! ```text
//! cargo bench -p benches --features wgpu --bench train_device
//! cargo bench -p benches --features wgpu --bench train_device -- engine=wgpu,cpu batch=128,2048 items=20000
//! ```
//!
//! The peer is the crate's own kernel on all threads of the machine. The first epoch of a run compiles the
//! device's kernels and is not timed; the loss is that of the last one, for comparison between engines.
//! Where the adapter is software, a step takes a second, and a few are all that is measured. What a batch
//! takes is the mean over an epoch, the smaller batches at its end included.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench without its set-up measures nothing, and this one prints its table itself"
)]

use std::ops::ControlFlow;
use std::time::Instant;

use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{SessionDataset, SessionEncoding, Split, TrainSet};
use reco_train::{
    Engine, EpochReport, Gru4RecConfig, Gru4RecTrainer, Prod2VecConfig, Prod2VecTrainer, Trainer,
};

/// What is measured, from words `key=value` on the command line.
struct Plan {
    models: Vec<String>,
    engines: Vec<String>,
    batches: Vec<usize>,
    /// Size of the catalogue, and about how many events an epoch has.
    n_items: u32,
    n_events: u32,
    n_epochs: u32,
}

impl Plan {
    fn new(is_gpu: bool) -> Self {
        // `cargo bench -- --test` asks whether it runs, not how fast.
        let is_test = std::env::args().any(|word| word == "--test");
        let (batches, n_items, n_events) = match (is_test, is_gpu) {
            (true, _) => ("8", 50, 100),
            (_, false) => ("128", 100_000, 1_000),
            (_, true) => ("128,256,512,1024,2048", 100_000, 400_000),
        };
        let mut plan = Self {
            models: list("gru4rec,prod2vec"),
            engines: list("wgpu,cpu"),
            batches: sizes(batches),
            n_items,
            n_events,
            n_epochs: 3,
        };
        for word in std::env::args().skip(1) {
            match word.split_once('=') {
                Some(("model", value)) => plan.models = list(value),
                Some(("engine", value)) => plan.engines = list(value),
                Some(("batch", value)) => plan.batches = sizes(value),
                Some(("items", value)) => plan.n_items = value.parse().unwrap(),
                Some(("events", value)) => plan.n_events = value.parse().unwrap(),
                Some(("epochs", value)) => plan.n_epochs = value.parse().unwrap(),
                // cargo adds `--bench`.
                _ => {}
            }
        }
        plan
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn sizes(text: &str) -> Vec<usize> {
    list(text)
        .iter()
        .map(|size| size.parse().unwrap())
        .collect()
}

/// A day of a shop with that many items and about that many views.
fn train_set(n_items: u32, n_events: u32) -> TrainSet {
    let sessions_per_day = n_events.div_ceil(5);
    let config = SyntheticShopConfig {
        n_items,
        n_categories: n_items.div_ceil(100),
        n_shoppers: 2 * u64::from(sessions_per_day),
        sessions_per_day,
        days: 1,
        ..SyntheticShopConfig::default()
    };
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for view in SyntheticShop::new(config).unwrap().interactions() {
        builder
            .push(&view.session, view.item.as_str(), view.occurred_at)
            .unwrap();
    }
    let data = builder.build().unwrap();
    Split::from_parts(data.clone(), data).train
}

/// Events per second of the epochs after the first, and the loss of the last.
fn measure<T: Trainer>(trainer: &T, train: &TrainSet) -> (f64, f64) {
    let mut last: Option<Instant> = None;
    let (mut n_events, mut seconds, mut loss) = (0, 0.0, f64::NAN);
    trainer
        .fit(train, &mut |report: &EpochReport| {
            if let Some(last) = last {
                n_events += report.n_events;
                seconds += last.elapsed().as_secs_f64();
            }
            (last, loss) = (Some(Instant::now()), report.loss);
            ControlFlow::Continue(())
        })
        .unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = n_events as f64 / seconds;
    (rate, loss)
}

fn engine(name: &str) -> Engine {
    match name {
        "wgpu" => Engine::wgpu().unwrap(),
        "flex" => Engine::flex(),
        "cpu" => Engine::cpu(std::thread::available_parallelism().map_or(1, usize::from)),
        other => panic!("no engine {other}"),
    }
}

/// What the engine runs on, as it names itself.
fn adapter(engine: &Engine) -> String {
    match engine {
        Engine::Cpu { threads } => format!("{threads} threads"),
        Engine::Burn(device) => device.identity().map_or_else(
            || format!("{device:?}"),
            |identity| format!("{} ({})", identity.name, identity.fingerprint),
        ),
    }
}

/// Whether there is a card, not software.
fn is_gpu(engine: &Engine) -> bool {
    match engine {
        Engine::Cpu { .. } => false,
        Engine::Burn(device) => device
            .identity()
            .is_some_and(|identity| identity.physical.is_some()),
    }
}

fn main() {
    let is_gpu = match Engine::wgpu() {
        Ok(engine) => is_gpu(&engine),
        Err(error) => {
            println!("not measured: {error}");
            return;
        }
    };
    let plan = Plan::new(is_gpu);
    let train = train_set(plan.n_items, plan.n_events);
    println!(
        "{} items, {} interactions",
        train.vocabulary().len(),
        train.n_interactions()
    );
    for name in &plan.engines {
        println!("{name}: {}", adapter(&engine(name)));
    }
    for model in &plan.models {
        let is_gru = model == "gru4rec";
        let unit = if is_gru { "events/s" } else { "words/s" };
        println!(
            "{model}\n{:<8} {:>6} {unit:>12} {:>9} {:>10}",
            "engine", "batch", "ms/batch", "loss"
        );
        // prod2vec takes the size of its batches from the catalogue.
        let batches: &[usize] = if is_gru { &plan.batches } else { &[0] };
        for &batch_size in batches {
            for name in &plan.engines {
                let (rate, loss) = if is_gru {
                    let config = Gru4RecConfig {
                        batch_size,
                        n_epochs: plan.n_epochs,
                        ..Gru4RecConfig::default()
                    };
                    measure(&Gru4RecTrainer::new(config, engine(name)), &train)
                } else {
                    let config = Prod2VecConfig {
                        min_count: 1,
                        epochs: plan.n_epochs,
                        ..Prod2VecConfig::default()
                    };
                    measure(&Prod2VecTrainer::new(config, engine(name)), &train)
                };
                #[expect(clippy::cast_precision_loss, reason = "a rate")]
                let milliseconds = 1000.0 * batch_size as f64 / rate;
                println!("{name:<8} {batch_size:>6} {rate:>12.0} {milliseconds:>9.3} {loss:>10.6}");
            }
        }
    }
}
