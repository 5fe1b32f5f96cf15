//! Tests in a space of items: being less wrong, distance to the query, prices, diversity.

use std::fmt::{self, Debug};
use std::sync::Arc;

use reco_core::{ItemId, Ranking};

use super::accuracy::is_hit;
use super::{BehaviorTest, Case, Distance, Measured, Part, Subject, mean};
use crate::error::Result;

/// How far the first answer is from what came next, over the cases that are missed: of two misses, the one
/// in the right aisle is the better.
#[derive(Debug, Clone)]
pub struct BeingLessWrong {
    /// How unlike two items are.
    pub space: Arc<dyn Distance>,
}

impl BehaviorTest for BeingLessWrong {
    fn name(&self) -> String {
        "being_less_wrong".to_owned()
    }

    fn description(&self) -> String {
        "The mean distance of the first answer to the target, where the target is missed."
            .to_owned()
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let missed = subject
            .answers()
            .filter(|(case, answer)| !is_hit(case, answer));
        let wrong = |(case, answer): (&Case, &Ranking)| {
            let first = answer.items().next()?;
            let distance = self.space.distance(first, &case.target)?;
            Some((distance, format!("`{first}` for `{}`", case.target)))
        };
        let mut distances: Vec<(f64, String)> = missed.filter_map(wrong).collect();
        let values: Vec<f64> = distances.iter().map(|(distance, _)| *distance).collect();
        // The sort is stable: of equal ones the first cases are shown.
        distances.sort_by(|a, b| b.0.total_cmp(&a.0));
        let worst = distances
            .into_iter()
            .take(5)
            .map(|(distance, pair)| format!("{pair}: {distance:.2}"));
        Ok(Measured::mean(&values).with_samples(worst.collect()))
    }
}

/// Whether answers keep closer to the query than shoppers do: the mean distance from the last item of the
/// query to the answers, less that to what came next. Below 0 the model is too timid.
#[derive(Debug, Clone)]
pub struct DistanceToQuery {
    /// How unlike two items are.
    pub space: Arc<dyn Distance>,
}

impl BehaviorTest for DistanceToQuery {
    fn name(&self) -> String {
        "distance_to_query".to_owned()
    }

    fn description(&self) -> String {
        "How much farther answers are from the last item of the query than what came next."
            .to_owned()
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let (mut to_answers, mut to_target) = (Vec::new(), Vec::new());
        for (case, answer) in subject.answers() {
            let Some(query) = case.session.items().last() else {
                continue;
            };
            let answers: Vec<f64> = answer
                .items()
                .filter_map(|item| self.space.distance(query, item))
                .collect();
            if let (Some(target), false) =
                (self.space.distance(query, &case.target), answers.is_empty())
            {
                to_answers.push(mean(&answers));
                to_target.push(target);
            }
        }
        let parts = vec![
            Part::of("to the answers", &to_answers),
            Part::of("to what came next", &to_target),
        ];
        let farther = mean(&to_answers) - mean(&to_target);
        Ok(Measured::new(farther, to_target.len()).with_parts(parts))
    }
}

/// How far the price of the first answer is from that of the last item of the query: the mean of
/// `|log10(price / price)|`, in which 1 is ten times the price or a tenth of it.
///
/// Items whose price is not known, or not above 0, are left out.
pub struct PriceHomogeneity {
    price: PriceOf,
}

type PriceOf = Box<dyn Fn(&ItemId) -> Option<f64> + Send + Sync>;

impl PriceHomogeneity {
    /// By the prices of the shop.
    pub fn new(price: impl Fn(&ItemId) -> Option<f64> + Send + Sync + 'static) -> Self {
        Self {
            price: Box::new(price),
        }
    }
}

impl Debug for PriceHomogeneity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PriceHomogeneity").finish_non_exhaustive()
    }
}

impl BehaviorTest for PriceHomogeneity {
    fn name(&self) -> String {
        "price_homogeneity".to_owned()
    }

    fn description(&self) -> String {
        "The mean |log10| of the price of the first answer over that of the query's last item."
            .to_owned()
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let price =
            |item: &ItemId| (self.price)(item).filter(|price| price.is_finite() && *price > 0.0);
        let ratio = |(case, answer): (&Case, &Ranking)| {
            let query = price(case.session.items().last()?)?;
            let answer = price(answer.items().next()?)?;
            Some((answer / query).log10().abs())
        };
        let ratios: Vec<f64> = subject.answers().filter_map(ratio).collect();
        let bins = [(0.0, 0.1), (0.1, 0.3), (0.3, 1.0), (1.0, f64::INFINITY)];
        let part = |(from, to): (f64, f64)| {
            let within: Vec<f64> = ratios
                .iter()
                .map(|ratio| f64::from(u8::from((from..to).contains(ratio))))
                .collect();
            let name = if to.is_finite() {
                format!("{from} to {to}")
            } else {
                format!("{from} or more")
            };
            Part::of(name, &within)
        };
        Ok(Measured::mean(&ratios).with_parts(bins.into_iter().map(part).collect()))
    }
}

/// How unlike the answers of one list are: the mean distance of all pairs in it, over the cases with two answers
/// or more. The intra-list distance of Ziegler et al. 2005.
#[derive(Debug, Clone)]
pub struct Diversity {
    /// How unlike two items are.
    pub space: Arc<dyn Distance>,
}

impl BehaviorTest for Diversity {
    fn name(&self) -> String {
        "diversity".to_owned()
    }

    fn description(&self) -> String {
        "The mean distance between two answers of one list.".to_owned()
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let within = |(_, answer): (&Case, &Ranking)| {
            let items: Vec<&ItemId> = answer.items().collect();
            let pairs = (0..items.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
            let distance = |(a, b): (usize, usize)| self.space.distance(items[a], items[b]);
            let distances: Vec<f64> = pairs.filter_map(distance).collect();
            (!distances.is_empty()).then(|| mean(&distances))
        };
        Ok(Measured::mean(
            &subject.answers().filter_map(within).collect::<Vec<_>>(),
        ))
    }
}
