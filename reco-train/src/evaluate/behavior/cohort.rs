//! [`CohortGap`]: how unequally groups of cases are served.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use super::accuracy::is_hit;
use super::{BehaviorTest, Case, Measured, Part, Subject, mean};
use crate::error::Result;

/// How unequally cohorts are missed: the miss-rate equality difference of `RecList` and `EvalRS`, the mean of
/// how far each cohort's miss rate is from that of all cases. 0 is equality.
///
/// A cohort is whatever a closure makes of a case: a category, a brand, a device by
/// [`session_idx`](Case::session_idx). Cases for which it says `None` are left out.
pub struct CohortGap {
    name: String,
    of: CohortOf,
}

type CohortOf = Box<dyn Fn(&Case) -> Option<String> + Send + Sync>;

impl CohortGap {
    /// The gap between the cohorts of this name.
    pub fn new(
        name: impl Into<String>,
        of: impl Fn(&Case) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            of: Box::new(of),
        }
    }
}

impl Debug for CohortGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CohortGap")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl BehaviorTest for CohortGap {
    fn name(&self) -> String {
        format!("cohort_gap({})", self.name)
    }

    fn description(&self) -> String {
        format!(
            "How far the miss rates by {} are from that of all, on average.",
            self.name
        )
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let mut misses: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut all = Vec::new();
        for (case, answer) in subject.answers() {
            if let Some(cohort) = (self.of)(case) {
                let miss = f64::from(u8::from(!is_hit(case, answer)));
                misses.entry(cohort).or_default().push(miss);
                all.push(miss);
            }
        }
        let overall = mean(&all);
        let gaps: Vec<f64> = misses
            .values()
            .map(|of| (mean(of) - overall).abs())
            .collect();
        let parts = misses
            .iter()
            .map(|(cohort, misses)| Part::of(format!("misses of {cohort}"), misses));
        Ok(Measured::new(mean(&gaps), all.len()).with_parts(parts.collect()))
    }
}
