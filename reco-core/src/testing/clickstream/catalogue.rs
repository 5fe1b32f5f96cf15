//! [`Product`]: what a synthetic shop knows about an item.

use serde::{Deserialize, Serialize};

use super::{Cycle, SyntheticShopConfig, hash};
use crate::vocabulary::ItemId;

/// What the shop knows about an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// The item.
    pub item: ItemId,
    /// What a shopper reads: `Linen shirt, navy`. No two products of a category have the same.
    pub name: String,
    /// Department and category: `Women/Shirts`.
    pub category: String,
    /// Price of one unit, in `currency`.
    pub price: f64,
    /// ISO 4217 code.
    pub currency: String,
}

/// Department, category, what one of it is called, and what it usually costs.
const CATEGORIES: [(&str, &str, &str, u16); 20] = [
    ("Women", "Shirts", "shirt", 45),
    ("Men", "Shoes", "shoes", 90),
    ("Women", "Dresses", "dress", 80),
    ("Home", "Cushions", "cushion", 25),
    ("Kids", "Jackets", "jacket", 50),
    ("Men", "Trousers", "trousers", 60),
    ("Women", "Bags", "bag", 70),
    ("Home", "Blankets", "blanket", 55),
    ("Men", "Shirts", "shirt", 50),
    ("Kids", "Hats", "hat", 15),
    ("Women", "Coats", "coat", 150),
    ("Home", "Curtains", "curtain", 40),
    ("Men", "Belts", "belt", 30),
    ("Women", "Skirts", "skirt", 45),
    ("Kids", "Trousers", "trousers", 30),
    ("Men", "Coats", "coat", 160),
    ("Women", "Scarves", "scarf", 25),
    ("Home", "Rugs", "rug", 120),
    ("Kids", "Shoes", "shoes", 40),
    ("Men", "Jumpers", "jumper", 65),
];

const MATERIALS: [&str; 8] = [
    "Cotton", "Linen", "Wool", "Silk", "Denim", "Canvas", "Cord", "Felt",
];

const COLORS: [&str; 12] = [
    "white", "navy", "black", "grey", "red", "green", "sand", "rose", "blue", "mustard", "olive",
    "plum",
];

/// The products by item number: number `n` is in category `n % n_categories`, where those with lower
/// numbers are more popular.
pub(super) fn products(config: &SyntheticShopConfig) -> Vec<Product> {
    // Ids must not tell how popular an item is: ties are broken by them.
    let ids = Cycle::new(u64::from(config.n_items), config.seed);
    let product = |n: u32| {
        let category = n % config.n_categories;
        let (material, color, series) = variant(n / config.n_categories);
        let (department, plural, singular, usual_price) = kind(category);
        let again = match category as usize / CATEGORIES.len() {
            0 => String::new(),
            again => format!(" {}", again + 1),
        };
        let series = match series {
            0 => String::new(),
            series => format!(", no. {}", series + 1),
        };
        let percent = 60 + hash(config.seed, 1, u64::from(n)) % 120;
        let whole = u64::from(usual_price) * percent / 100;
        Product {
            item: ItemId::from(format!("sku-{:06}", ids.at(u64::from(n)))),
            name: format!("{} {singular}, {color}{series}", MATERIALS[material]),
            category: format!("{department}/{plural}{again}"),
            price: f64::from(u32::try_from(whole).unwrap_or(u32::MAX)) + 0.95,
            currency: "EUR".to_owned(),
        }
    };
    (0..config.n_items).map(product).collect()
}

/// What a shopper types who looks for something of a category.
pub(super) fn query(category: u32) -> &'static str {
    kind(category).2
}

fn kind(category: u32) -> (&'static str, &'static str, &'static str, u16) {
    CATEGORIES[category as usize % CATEGORIES.len()]
}

/// Material, colour and series of the `n`-th product of a category.
fn variant(n: u32) -> (usize, &'static str, usize) {
    let (round, material) = (n as usize / MATERIALS.len(), n as usize % MATERIALS.len());
    // Neighbours differ in both, and each pair comes once in a series.
    let color = COLORS[(round + material) % COLORS.len()];
    (material, color, round / COLORS.len())
}
