//! [`Distance`]: how unlike two items are, as the shop sees it.

use std::collections::HashMap;
use std::fmt::Debug;

use reco_core::ItemId;

/// How unlike two items are.
///
/// # Contract
///
/// * 0 or more, finite, and the same in both directions; 0 from an item to itself.
/// * `None` where it is not known, and such pairs are left out.
pub trait Distance: Debug + Send + Sync + 'static {
    /// From one item to the other.
    fn distance(&self, a: &ItemId, b: &ItemId) -> Option<f64>;
}

/// One less the cosine of the vectors of two items: 0 in the same direction, 2 in opposite ones.
///
/// Take vectors that the model under test has not made, such as those of texts or of another model: in its
/// own space a model is never far off.
///
/// # Examples
///
/// ```
/// use reco_train::evaluate::behavior::{CosineSpace, Distance};
///
/// let space: CosineSpace = [("hat", vec![1.0, 0.0]), ("cap", vec![2.0, 0.0]), ("net", vec![0.0, 1.0])].into_iter().collect();
/// assert_eq!(space.distance(&"hat".into(), &"cap".into()), Some(0.0));
/// assert_eq!(space.distance(&"hat".into(), &"net".into()), Some(1.0));
/// assert_eq!(space.distance(&"hat".into(), &"unknown".into()), None);
/// ```
#[derive(Debug, Clone, Default)]
pub struct CosineSpace {
    /// Unit vectors.
    vectors: HashMap<ItemId, Vec<f64>>,
}

impl<I: Into<ItemId>> FromIterator<(I, Vec<f32>)> for CosineSpace {
    /// A vector that is zero or not finite has no direction: its item is as one without a vector.
    fn from_iter<T: IntoIterator<Item = (I, Vec<f32>)>>(vectors: T) -> Self {
        let unit = |(item, vector): (I, Vec<f32>)| {
            let vector: Vec<f64> = vector.into_iter().map(f64::from).collect();
            let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
            let known = norm.is_finite() && norm > 0.0;
            known.then(|| (item.into(), vector.into_iter().map(|x| x / norm).collect()))
        };
        Self {
            vectors: vectors.into_iter().filter_map(unit).collect(),
        }
    }
}

impl Distance for CosineSpace {
    fn distance(&self, a: &ItemId, b: &ItemId) -> Option<f64> {
        let (a, b) = (self.vectors.get(a)?, self.vectors.get(b)?);
        let cosine: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        // Rounding must not make it negative.
        (a.len() == b.len()).then(|| (1.0 - cosine).max(0.0))
    }
}

/// The steps between two items in a tree of categories: up to the last category that both are in, and down
/// again. Two items of one category are 0 apart.
///
/// # Examples
///
/// ```
/// use reco_train::evaluate::behavior::{Distance, TreeSpace};
///
/// let tree: TreeSpace = [("hat", "Apparel/Head"), ("cap", "Apparel/Head"), ("belt", "Apparel/Waist"), ("net", "Sport")]
///     .into_iter().collect();
/// assert_eq!(tree.distance(&"hat".into(), &"cap".into()), Some(0.0));
/// assert_eq!(tree.distance(&"hat".into(), &"belt".into()), Some(2.0));
/// assert_eq!(tree.distance(&"hat".into(), &"net".into()), Some(3.0));
/// ```
#[derive(Debug, Clone, Default)]
pub struct TreeSpace {
    paths: HashMap<ItemId, Vec<String>>,
}

impl<I: Into<ItemId>, P: AsRef<str>> FromIterator<(I, P)> for TreeSpace {
    /// The category of each item as a path, its parts separated by `/`.
    fn from_iter<T: IntoIterator<Item = (I, P)>>(paths: T) -> Self {
        let parts = |path: P| path.as_ref().split('/').map(str::to_owned).collect();
        Self {
            paths: paths
                .into_iter()
                .map(|(item, path)| (item.into(), parts(path)))
                .collect(),
        }
    }
}

impl Distance for TreeSpace {
    fn distance(&self, a: &ItemId, b: &ItemId) -> Option<f64> {
        let (a, b) = (self.paths.get(a)?, self.paths.get(b)?);
        let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        u32::try_from(a.len() + b.len() - 2 * common)
            .ok()
            .map(f64::from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_tree_is_a_metric(paths in prop::collection::vec("[ab](/[ab]){0,3}", 3)) {
            let items = ["x", "y", "z"];
            let tree: TreeSpace = items.into_iter().zip(&paths).collect();
            let d = |a: usize, b: usize| tree.distance(&items[a].into(), &items[b].into()).unwrap();
            prop_assert!((d(0, 1) - d(1, 0)).abs() < 1e-12);
            prop_assert!(d(0, 0).abs() < 1e-12);
            prop_assert!(d(0, 2) <= d(0, 1) + d(1, 2));
        }

        #[test]
        fn the_cosine_is_symmetric(a in prop::collection::vec(-3.0..3.0_f32, 3), b in prop::collection::vec(-3.0..3.0_f32, 3)) {
            let space: CosineSpace = [("a", a), ("b", b)].into_iter().collect();
            let (to, fro) = (space.distance(&"a".into(), &"b".into()), space.distance(&"b".into(), &"a".into()));
            prop_assert_eq!(to, fro);
            prop_assert!(to.is_none_or(|distance| (0.0..=2.0 + 1e-9).contains(&distance)));
        }
    }

    #[test]
    fn a_vector_without_a_direction_is_none() {
        let space: CosineSpace = [
            ("zero", vec![0.0]),
            ("nan", vec![f32::NAN]),
            ("one", vec![1.0]),
            ("two", vec![1.0, 1.0]),
        ]
        .into_iter()
        .collect();
        for other in ["zero", "nan", "two"] {
            assert_eq!(
                space.distance(&"one".into(), &other.into()),
                None,
                "{other}"
            );
        }
    }
}
