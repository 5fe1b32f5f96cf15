//! Vectors for items without interactions, from what is known of them otherwise.
//!
//! A new item has no sessions to learn from. Until it has, the mean of the unit vectors of items like it stands in
//! for its own: those of its category that are nearest in price ([`by_metadata`]), or those that are nearest in a
//! space of contents, such as embeddings of texts or images ([`by_content`]). The result is a model that has them
//! in its vocabulary, so that they can be recommended and be part of a session.
//! Training that [continues](super::Prod2VecTrainer::continuing) from it starts with these vectors.
//! (Grbovic et al., arXiv 1606.07154, and Grbovic and Cheng, KDD 2018, 10.1145/3219819.3219885, who take the mean
//! of the three listings nearby that are of the same type and price.)

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use reco_core::ItemId;

use super::{KIND, Prod2Vec};
use crate::error::{Error, Result};

/// What is known of an item beside its interactions.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemMetadata {
    /// The item.
    pub item: ItemId,
    /// The path of its category, the widest first: `["clothes", "hats"]`.
    pub category: Vec<String>,
    /// Its price, finite and above 0, in the same currency for all items; `None` if it is not known.
    pub price: Option<f64>,
}

/// What came of a cold start.
#[derive(Debug, Clone)]
pub struct ColdStart {
    /// The model with the new items; they count as seen 0 times. What it knew is as it was.
    pub model: Prod2Vec,
    /// The items that are still unknown, since nothing like them is in the model, by id.
    pub skipped: Vec<ItemId>,
}

/// Gives each item of the catalogue that the model does not know the mean of the unit vectors of the `k` items it
/// knows that are nearest in price, of the same category.
///
/// Nearest is by the ratio of the prices; a price that is not known is far from all others. Ties, and items
/// without a price, go by count, the most frequent first, then by id. A category without known items is replaced
/// by the one above it on the path; an item whose whole path has none is skipped. Fewer than `k` items are taken
/// as they are. 3 is a good `k` where categories are narrow, 10 where they are wide.
///
/// An item costs the logarithm of its category's size and `k`.
///
/// # Errors
///
/// [`Error::InvalidConfig`] if `k` is 0, a price is not above 0 or not finite, or an item is there twice.
///
/// # Examples
///
/// ```
/// use reco_core::{ModelExt, SessionEncoding};
/// use reco_train::prod2vec::cold_start::{ItemMetadata, by_metadata};
/// use reco_train::prod2vec::{Prod2Vec, Word2VecFormat};
///
/// let file = "3 2\nbeanie 1 0\ncap 0.8 0.6\nracket 0 1\n";
/// let model = Prod2Vec::read_word2vec(
///     file.as_bytes(), Word2VecFormat::Text, SessionEncoding::default(), Default::default())?;
/// let of = |item: &str, category: &str, price| ItemMetadata {
///     item: item.into(),
///     category: vec![category.to_owned()],
///     price: Some(price),
/// };
/// let catalogue = [
///     of("beanie", "hats", 10.0), of("cap", "hats", 30.0), of("racket", "tennis", 90.0),
///     of("beret", "hats", 12.0), of("anvil", "tools", 200.0),
/// ];
/// let cold = by_metadata(&model, &catalogue, 1)?;
/// assert_eq!(cold.model.vector("beret"), Some(&[1.0, 0.0][..]));
/// assert_eq!(cold.skipped[0].as_str(), "anvil");
/// let ranking = cold.model.recommend(&["beret"].into_iter().collect(), 3)?;
/// assert_eq!(ranking.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn by_metadata(model: &Prod2Vec, catalogue: &[ItemMetadata], k: usize) -> Result<ColdStart> {
    check(catalogue.iter().map(|metadata| &metadata.item), k)?;
    let broken = |metadata: &&ItemMetadata| {
        let fine = |price: f64| price.is_finite() && price > 0.0;
        !metadata.price.is_none_or(fine)
    };
    if let Some(ItemMetadata { item, price, .. }) = catalogue.iter().find(broken) {
        let price = price.unwrap_or(f64::NAN);
        let reason = format!("of item `{item}` must be finite and above 0, is {price}");
        return Err(invalid("price", reason));
    }
    let mut categories: HashMap<&[String], Shelf> = HashMap::new();
    for metadata in catalogue {
        let Some(idx) = model.vocabulary().idx(metadata.item.as_str()) else {
            continue;
        };
        for depth in 1..=metadata.category.len() {
            let shelf = categories.entry(&metadata.category[..depth]).or_default();
            let known = Known {
                idx: idx.get(),
                count: model.vocabulary().count(idx),
            };
            match metadata.price {
                Some(price) => shelf.priced.push((price.ln(), known)),
                None => shelf.unpriced.push(known),
            }
        }
    }
    categories.values_mut().for_each(Shelf::sort);
    let cold = catalogue.iter().map(|metadata| {
        let path = &metadata.category;
        let shelf = (1..=path.len())
            .rev()
            .find_map(|depth| categories.get(&path[..depth]));
        let like = shelf.map_or_else(Vec::new, |shelf| shelf.nearest(metadata.price, k));
        (&metadata.item, like)
    });
    model_with(model, cold)
}

/// Gives each item that the model does not know the mean of the unit vectors of the `k` items it knows whose
/// contents are nearest, by cosine; ties by place in the list.
///
/// `contents` are the items, known and new, with vectors of one length. An item whose content is a vector of zeros
/// is like nothing: it is skipped, and nothing is like it. An item costs a product with the contents of all items
/// that are known.
///
/// # Errors
///
/// [`Error::InvalidConfig`] if `k` is 0, contents differ in length or are not finite, or an item is there twice.
pub fn by_content(
    model: &Prod2Vec,
    contents: &[(ItemId, Vec<f32>)],
    k: usize,
) -> Result<ColdStart> {
    check(contents.iter().map(|(item, _)| item), k)?;
    let dim = contents.first().map_or(0, |(_, content)| content.len());
    let broken = |(_, content): &&(ItemId, Vec<f32>)| {
        content.len() != dim || content.iter().any(|value| !value.is_finite())
    };
    if let Some((item, _)) = contents.iter().find(broken) {
        let reason = format!("of item `{item}` must be {dim} finite numbers");
        return Err(invalid("content", reason));
    }
    let unit = |content: &[f32]| -> Option<Vec<f64>> {
        let content = content.iter().map(|&value| f64::from(value));
        let norm = content
            .clone()
            .map(|value| value * value)
            .sum::<f64>()
            .sqrt();
        (norm > 0.0).then(|| content.map(|value| value / norm).collect())
    };
    let known: Vec<(usize, Vec<f64>)> = contents
        .iter()
        .filter_map(|(item, content)| {
            let idx = model.vocabulary().idx(item.as_str())?;
            Some((idx.get(), unit(content)?))
        })
        .collect();
    let cold = contents.iter().map(|(item, content)| {
        let is_new = model.vocabulary().idx(item.as_str()).is_none();
        let Some(content) = unit(content).filter(|_| is_new) else {
            return (item, Vec::new());
        };
        let cosine = |other: &[f64]| content.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
        let mut near: Vec<(f64, usize)> = known
            .iter()
            .map(|(idx, other)| (cosine(other), *idx))
            .collect();
        // Stable, so that ties stay in order.
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        (item, near.into_iter().take(k).map(|(_, idx)| idx).collect())
    });
    model_with(model, cold)
}

fn invalid(key: &'static str, reason: String) -> Error {
    Error::InvalidConfig {
        model: KIND,
        key,
        reason,
    }
}

fn check<'a>(mut items: impl Iterator<Item = &'a ItemId>, k: usize) -> Result<()> {
    if k == 0 {
        return Err(invalid("k", "must be at least 1, is 0".to_owned()));
    }
    let mut seen = HashSet::new();
    match items.find(|item| !seen.insert(*item)) {
        Some(item) => Err(invalid("items", format!("have `{item}` twice"))),
        None => Ok(()),
    }
}

/// The model with the items that it does not know, each with the mean of the unit vectors of those like it.
fn model_with<'a>(
    model: &Prod2Vec,
    cold: impl Iterator<Item = (&'a ItemId, Vec<usize>)>,
) -> Result<ColdStart> {
    let (mut vectors, mut skipped) = (Vec::new(), Vec::new());
    for (item, like) in cold {
        if model.vocabulary().idx(item.as_str()).is_some() {
            continue;
        }
        match model.mean_of(&like) {
            Some(vector) => vectors.push((item.clone(), vector)),
            None => skipped.push(item.clone()),
        }
    }
    skipped.sort();
    let model = model.with_items(vectors)?;
    Ok(ColdStart { model, skipped })
}

/// An item that the model knows.
#[derive(Debug, Clone, Copy)]
struct Known {
    idx: usize,
    count: u64,
}

impl Known {
    /// The most frequent first, ties by id.
    fn order(&self, other: &Self) -> Ordering {
        (other.count, self.idx).cmp(&(self.count, other.idx))
    }
}

/// The known items of a category and of those below it.
#[derive(Debug, Default)]
struct Shelf {
    /// By the logarithm of the price.
    priced: Vec<(f64, Known)>,
    unpriced: Vec<Known>,
}

impl Shelf {
    fn sort(&mut self) {
        let by_price = |a: &(f64, Known), b: &(f64, Known)| a.0.total_cmp(&b.0);
        self.priced
            .sort_by(|a, b| by_price(a, b).then(a.1.order(&b.1)));
        self.unpriced.sort_by(Known::order);
    }

    /// The positions of up to `k` items, the nearest in price first.
    fn nearest(&self, price: Option<f64>, k: usize) -> Vec<usize> {
        let Some(price) = price.map(f64::ln) else {
            let mut all: Vec<Known> = self.priced.iter().map(|(_, known)| *known).collect();
            all.extend(&self.unpriced);
            all.sort_by(Known::order);
            return all.iter().take(k).map(|known| known.idx).collect();
        };
        let place = self.priced.partition_point(|(other, _)| *other < price);
        let (below, above) = self.priced.split_at(place);
        // Of both sides, the nearest `k` and what is as near as the last of them.
        let within = |side: &mut dyn Iterator<Item = &(f64, Known)>| {
            let mut near: Vec<(f64, Known)> = Vec::new();
            for (other, known) in side {
                let distance = (other - price).abs();
                if near.len() >= k && near.last().is_some_and(|(last, _)| distance > *last) {
                    break;
                }
                near.push((distance, *known));
            }
            near
        };
        let mut near = within(&mut below.iter().rev());
        near.extend(within(&mut above.iter()));
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.order(&b.1)));
        let priced = near.iter().map(|(_, known)| known.idx);
        let unpriced = self.unpriced.iter().map(|known| known.idx);
        priced.chain(unpriced).take(k).collect()
    }
}

#[cfg(test)]
mod tests {
    use reco_core::{ModelExt, SessionEncoding};

    use super::*;
    use crate::prod2vec::{Prod2VecConfig, Word2VecFormat};

    /// Items on a circle: the angle of a vector follows from the category and the price, which is the law that a
    /// cold item must come under.
    fn angle(category: u8, price: f64) -> f64 {
        f64::from(category) + 0.2 * price.ln()
    }

    fn item(category: u8, price: f64) -> ItemMetadata {
        ItemMetadata {
            item: format!("{category}-{price}").as_str().into(),
            category: vec![format!("{}", category / 2), format!("{category}")],
            price: Some(price),
        }
    }

    fn model(items: &[ItemMetadata]) -> Prod2Vec {
        let mut text = format!("{} 2\n", items.len());
        for ItemMetadata {
            item,
            category,
            price,
        } in items
        {
            let angle = angle(category[1].parse().unwrap(), price.unwrap());
            // Lengths differ, and must not matter.
            let length = 1.0 + price.unwrap();
            text += &format!("{item} {} {}\n", length * angle.cos(), length * angle.sin());
        }
        let (encoding, config) = (SessionEncoding::default(), Prod2VecConfig::default());
        Prod2Vec::read_word2vec(text.as_bytes(), Word2VecFormat::Text, encoding, config).unwrap()
    }

    fn angle_of(model: &Prod2Vec, item: &ItemMetadata) -> f64 {
        let vector = model.vector(item.item.as_str()).unwrap();
        f64::from(vector[1]).atan2(f64::from(vector[0]))
    }

    #[test]
    fn cold_items_come_under_the_law_of_their_category_and_price() {
        let mut warm = Vec::new();
        for category in 0..4 {
            warm.extend((1..=50).map(|price| item(category, f64::from(price))));
        }
        let cold: Vec<ItemMetadata> = (0..4)
            .flat_map(|category| [2.5, 17.5, 40.5].map(|price| item(category, price)))
            .collect();
        let model = model(&warm);
        let catalogue = [cold.clone(), warm].concat();
        let ColdStart { model, skipped } = by_metadata(&model, &catalogue, 2).unwrap();
        assert!(skipped.is_empty());
        for (number, item) in cold.iter().enumerate() {
            let category = u8::try_from(number / 3).unwrap();
            let expected = angle(category, item.price.unwrap());
            let found = angle_of(&model, item);
            let turn = (found - expected).rem_euclid(std::f64::consts::TAU);
            assert!(
                !(0.01..std::f64::consts::TAU - 0.01).contains(&turn),
                "{item:?}: {found} {expected}"
            );
            // Asked for, it gives the two it was made of; and they give it.
            let near = model.similar(item.item.as_str(), 2).unwrap();
            let prices = [item.price.unwrap() - 0.5, item.price.unwrap() + 0.5];
            let mut near: Vec<&str> = near.items().map(ItemId::as_str).collect();
            near.sort_unstable();
            let mut expected = prices.map(|price| format!("{category}-{price}"));
            expected.sort();
            assert_eq!(near, expected);
            let session = expected.iter().map(String::as_str).collect();
            let ranking = model.recommend(&session, 1).unwrap();
            assert_eq!(ranking.items().next(), Some(&item.item));
        }
    }

    #[test]
    fn the_path_leads_to_the_next_category_with_known_items() {
        let warm = [item(0, 10.0), item(2, 30.0)];
        let model = model(&warm);
        // 1 has no known item; 0/0 is its sibling. 4 and 5 are below 2, where there is none.
        let cold = [item(1, 99.0), item(4, 5.0)];
        let catalogue = [&warm[..], &cold[..]].concat();
        let ColdStart { model, skipped } = by_metadata(&model, &catalogue, 3).unwrap();
        assert!((angle_of(&model, &cold[0]) - angle(0, 10.0)).abs() < 1e-6);
        assert_eq!(skipped, [cold[1].item.clone()]);
        assert_eq!(model.vector("4-5"), None);
    }

    #[test]
    fn items_without_a_price_go_by_count() {
        let warm = [item(0, 10.0), item(0, 30.0), item(0, 50.0)];
        let model = model(&warm);
        let mut cold = item(0, 1.0);
        cold.price = None;
        let catalogue = [&warm[..], &[cold.clone()]].concat();
        let found = by_metadata(&model, &catalogue, 1).unwrap().model;
        // The first of the file counts most.
        assert!((angle_of(&found, &cold) - angle(0, 10.0)).abs() < 1e-6);
    }

    #[test]
    fn contents_that_are_near_give_the_vector() {
        let warm = [item(0, 10.0), item(2, 30.0)];
        let model = model(&warm);
        let contents: Vec<(ItemId, Vec<f32>)> = vec![
            (warm[0].item.clone(), vec![2.0, 0.0, 0.1]),
            (warm[1].item.clone(), vec![0.0, 3.0, 0.0]),
            ("new".into(), vec![0.1, 0.9, 0.0]),
            ("empty".into(), vec![0.0; 3]),
        ];
        let found = by_content(&model, &contents, 1).unwrap();
        assert_eq!(found.skipped, [ItemId::from("empty")]);
        let expected = angle(2, 30.0);
        let vector = found.model.vector("new").unwrap();
        assert!(
            (f64::from(vector[0]) - expected.cos()).abs() < 1e-6,
            "{vector:?}"
        );
        let short = vec![("new".into(), vec![1.0]), ("b".into(), vec![])];
        let error = by_content(&model, &short, 1).unwrap_err().to_string();
        assert_eq!(
            error,
            "prod2vec: `content` of item `b` must be 1 finite numbers"
        );
    }

    #[test]
    fn broken_metadata_is_named() {
        let model = model(&[item(0, 10.0)]);
        let check = |catalogue: &[ItemMetadata], k, expected: &str| {
            let error = by_metadata(&model, catalogue, k).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        let mut free = item(0, 1.0);
        free.price = Some(0.0);
        check(
            &[free],
            1,
            "prod2vec: `price` of item `0-1` must be finite and above 0, is 0",
        );
        check(
            &[item(0, 1.0), item(0, 1.0)],
            1,
            "prod2vec: `items` have `0-1` twice",
        );
        check(&[], 0, "prod2vec: `k` must be at least 1, is 0");
    }
}
