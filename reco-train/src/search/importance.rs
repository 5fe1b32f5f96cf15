//! How much each parameter explains by itself.

use super::outcome::TrialRecord;
use super::space::Space;

/// With fewer trials than this nothing is said.
const MIN_TRIALS: usize = 8;
/// Into how many groups a parameter with an order divides trials, at most.
const N_GROUPS: usize = 4;

pub(super) fn importances<'a>(space: &'a Space, records: &[TrialRecord]) -> Vec<(&'a str, f64)> {
    let complete: Vec<(&TrialRecord, f64)> = records
        .iter()
        .filter_map(|trial| Some((trial, trial.value()?)))
        .collect();
    if complete.len() < MIN_TRIALS {
        return Vec::new();
    }
    let values: Vec<f64> = complete.iter().map(|(_, value)| *value).collect();
    let mut found: Vec<(&str, f64)> = space
        .parameters()
        .iter()
        .map(|parameter| {
            let places: Vec<Option<f64>> = complete
                .iter()
                .map(|(trial, _)| parameter.domain.place(trial.params.get(&parameter.name)?))
                .collect();
            let groups = if parameter.domain.is_choice() {
                by_place(&places)
            } else {
                by_quantile(&places)
            };
            (parameter.name.as_str(), epsilon_squared(&groups, &values))
        })
        .collect();
    found.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    found
}

/// A group for each place, and one for what has none.
fn by_place(places: &[Option<f64>]) -> Vec<usize> {
    let mut known: Vec<Option<f64>> = Vec::new();
    let group = |place: &Option<f64>| {
        known
            .iter()
            .position(|other| other == place)
            .unwrap_or_else(|| {
                known.push(*place);
                known.len() - 1
            })
    };
    places.iter().map(group).collect()
}

/// Groups of about the same size by place, and one for what has none; the same place is in the same group.
fn by_quantile(places: &[Option<f64>]) -> Vec<usize> {
    let mut sorted: Vec<f64> = places.iter().copied().flatten().collect();
    sorted.sort_by(f64::total_cmp);
    let group = |place: &Option<f64>| match place {
        None => N_GROUPS,
        Some(place) => {
            let n_below = sorted.partition_point(|other| other < place);
            n_below * N_GROUPS / sorted.len()
        }
    };
    places.iter().map(group).collect()
}

/// ε²: the share of the variance that is between groups, less what chance gives.
fn epsilon_squared(groups: &[usize], values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let total: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let n_groups = groups.iter().max().map_or(0, |most| most + 1);
    let mut sums = vec![(0.0, 0.0); n_groups];
    for (group, value) in groups.iter().zip(values) {
        sums[*group].0 += value;
        sums[*group].1 += 1.0;
    }
    let used = sums.iter().filter(|(_, count)| *count > 0.0);
    let k = used.clone().count() as f64;
    let between: f64 = used
        .map(|(sum, count)| count * (sum / count - mean).powi(2))
        .sum();
    let within = total - between;
    if total <= 0.0 || n <= k {
        return 0.0;
    }
    ((between - (k - 1.0) * within / (n - k)) / total).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::outcome::Outcome;
    use crate::search::space::Parameter;

    #[test]
    fn epsilon_squared_is_as_worked_by_hand() {
        // Means 2 and 6 around 4: between 4 · 2 · 2² / 2 = 16, within 4, k = 2, n = 4: (16 − 4 / 2) / 20.
        let found = epsilon_squared(&[0, 0, 1, 1], &[1.0, 3.0, 5.0, 7.0]);
        assert!((found - 0.7).abs() < 1e-12, "{found}");
        assert!(epsilon_squared(&[0, 1, 0, 1], &[1.0, 1.0, 1.0, 1.0]).abs() < 1e-12);
    }

    #[test]
    fn what_matters_comes_first_and_chance_is_nothing() {
        let space = Space::new([
            Parameter::uniform("noise", 0.0, 1.0),
            Parameter::choice("kind", ["a", "b"]),
            Parameter::uniform("only", 0.0, 1.0).when("kind", ["b"]),
        ])
        .unwrap();
        let records: Vec<TrialRecord> = (0..64_u32)
            .map(|i| {
                let is_b = i % 2 == 1;
                let noise = f64::from(i * 37 % 64) / 64.0;
                let mut params = vec![
                    ("noise", noise.into()),
                    ("kind", if is_b { "b" } else { "a" }.into()),
                ];
                if is_b {
                    params.push(("only", (f64::from(i) / 64.0).into()));
                }
                TrialRecord {
                    number: i.into(),
                    params: params.into_iter().collect(),
                    reports: Vec::new(),
                    outcome: Some(Outcome::Complete {
                        value: f64::from(i % 2) + f64::from(i) / 1000.0,
                    }),
                    seconds: 0.0,
                }
            })
            .collect();
        let found = importances(&space, &records);
        let of = |name: &str| found.iter().find(|(other, _)| *other == name).unwrap().1;
        assert!(of("kind") > 0.98 && of("only") > 0.98, "{found:?}");
        assert!(of("noise") < 0.1, "{found:?}");
        assert!(importances(&space, &records[..7]).is_empty());
    }
}
