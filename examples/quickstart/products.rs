//! Readable facts about items, from what each source says of them.

use std::collections::HashMap;

use futures::TryStreamExt;
use reco_core::{Event, ItemId, RawTable, Record, TimeWindow};

use crate::report::Product;
use crate::source::{Format, Source};

/// What can be said of items; an item that nothing is known of has no facts.
#[derive(Debug)]
pub(crate) struct Products {
    facts: HashMap<ItemId, String>,
}

impl Products {
    /// The facts of a synthetic catalogue, or those in the payloads of the raw events.
    pub(crate) async fn of(source: &Source, raw: &dyn RawTable) -> anyhow::Result<Self> {
        let facts = match source {
            Source::Shop(shop) => {
                let facts = shop.catalogue().iter().map(|product| {
                    let facts = format!(
                        "{} · {} · {:.2} {}",
                        product.name, product.category, product.price, product.currency
                    );
                    (product.item.clone(), facts)
                });
                facts.collect()
            }
            Source::File { format, .. } => {
                let mut facts = HashMap::new();
                let mut batches = raw.scan(TimeWindow::ALL).await?;
                while let Some(batch) = batches.try_next().await? {
                    for event in Event::from_batch(&batch)? {
                        let Some(item) = event.item.clone() else {
                            continue;
                        };
                        facts
                            .entry(item)
                            .or_insert_with(|| describe(*format, &event));
                    }
                }
                facts
            }
        };
        Ok(Self { facts })
    }

    /// An item with what is known of it.
    pub(crate) fn get(&self, item: &ItemId) -> Product {
        Product {
            item: item.clone(),
            facts: self.facts.get(item).cloned().unwrap_or_default(),
        }
    }
}

fn describe(format: Format, event: &Event) -> String {
    let payload = String::from_utf8_lossy(&event.payload);
    let facts = match format {
        Format::Eshop => eshop(&payload.split(';').collect::<Vec<_>>()),
        Format::Rees46 => rees46(&payload.split(',').collect::<Vec<_>>()),
        Format::Coveo | Format::Tsv => None,
    };
    facts.unwrap_or_default()
}

/// The codes of the data set's own description.
fn eshop(fields: &[&str]) -> Option<String> {
    const CATEGORIES: [&str; 4] = ["trousers", "skirt", "blouse", "on sale"];
    const COLOURS: [&str; 14] = [
        "beige",
        "black",
        "blue",
        "brown",
        "burgundy",
        "grey",
        "green",
        "navy",
        "multicoloured",
        "olive",
        "pink",
        "red",
        "violet",
        "white",
    ];
    let code = |field: usize, names: &[&'static str]| -> Option<&'static str> {
        let code: usize = fields.get(field)?.trim().parse().ok()?;
        names.get(code.checked_sub(1)?).copied()
    };
    let price = fields.get(11)?.trim();
    Some(format!(
        "{} {} · {price} USD",
        code(8, &COLOURS)?,
        code(6, &CATEGORIES)?
    ))
}

fn rees46(fields: &[&str]) -> Option<String> {
    let known = [4, 5, 6].map(|field| fields.get(field).copied().unwrap_or_default());
    let known: Vec<&str> = known.into_iter().filter(|text| !text.is_empty()).collect();
    (!known.is_empty()).then(|| known.join(" · "))
}
