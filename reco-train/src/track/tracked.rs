//! [`Tracked`]: a trainer whose epochs are recorded.

use std::ops::ControlFlow;
use std::time::Instant;

use reco_core::TrainSet;

use super::Run;
use crate::error::Result;
use crate::trainer::{EpochReport, Trainer};

/// A trainer whose fits are recorded in a run: after each epoch the metrics `loss` and `events_per_second`,
/// with the epoch as the step; after an error the tag `error`.
///
/// It changes nothing: the observer of the caller decides whether to go on, and the model is the same. The
/// run is not ended; scores and artifacts come after the fit.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
/// use std::sync::Arc;
/// use reco_core::{SessionDataset, SessionEncoding, Split, Timestamp};
/// use reco_train::evaluate::Mrr;
/// use reco_train::track::{JsonLines, Run, Status, Tracker, tracked};
/// use reco_train::{Engine, Prod2VecConfig, Prod2VecTrainer, Trainer, evaluate};
///
/// # let mut builder = SessionDataset::builder(SessionEncoding::default());
/// # for session in 0..60 {
/// #     for item in [["hat", "scarf", "gloves"], ["racket", "ball", "net"]][session % 2] {
/// #         builder.push(&session.to_string(), item, "2024-05-01T10:00Z".parse()?)?;
/// #     }
/// # }
/// # let data = builder.build()?;
/// # let split = Split::from_parts(data.clone(), data);
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let tracker: Arc<dyn Tracker> = Arc::new(JsonLines::open(folder, Timestamp::now)?);
/// let run = Run::start(&tracker, "prod2vec");
/// let config = Prod2VecConfig { vector_size: 8, ..Default::default() };
/// run.params(&config);
/// let trainer = Prod2VecTrainer::new(config, Engine::cpu(1));
/// let model = tracked(&trainer, &run).fit(&split.train, &mut |_| ControlFlow::Continue(()))?;
/// run.scores(&evaluate(&model, &split.test, &[Mrr::at(20)])?, 0);
/// run.end(Status::Finished);
/// let delivery = tracker.flush();
/// assert_eq!(delivery.n_lost, 0, "{delivery}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Tracked<'a, T> {
    trainer: &'a T,
    run: &'a Run,
}

/// The trainer with its epochs recorded in a run.
#[must_use]
pub const fn tracked<'a, T: Trainer>(trainer: &'a T, run: &'a Run) -> Tracked<'a, T> {
    Tracked { trainer, run }
}

impl<T: Trainer> Trainer for Tracked<'_, T> {
    type Model = T::Model;

    fn fit(
        &self,
        train: &TrainSet,
        observer: &mut dyn FnMut(&EpochReport) -> ControlFlow<()>,
    ) -> Result<T::Model> {
        let mut since = Instant::now();
        let fitted = self.trainer.fit(train, &mut |report| {
            let step = u64::from(report.epoch);
            let seconds = since.elapsed().as_secs_f64();
            self.run.metric("loss", report.loss, step);
            self.run.metric(
                "events_per_second",
                report.n_events as f64 / seconds.max(1e-9),
                step,
            );
            let flow = observer(report);
            since = Instant::now();
            flow
        });
        if let Err(error) = &fitted {
            self.run.tag("error", error);
        }
        fitted
    }
}
