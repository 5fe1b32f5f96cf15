//! [`Product`]: a product of a hit.

use std::borrow::Cow;

use super::keys::keyed;
use crate::error::Result;

keyed! {
    /// A product of a [`Hit`](super::Hit): what its keys `prN…` say.
    pub struct Product<'a> {
        /// `prNid`: the product's number or SKU.
        "id" => id: Cow<'a, str>,
        /// `prNnm`: its name.
        "nm" => name: Cow<'a, str>,
        /// `prNbr`: its brand.
        "br" => brand: Cow<'a, str>,
        /// `prNca`: its category, levels separated by `/`.
        "ca" => category: Cow<'a, str>,
        /// `prNva`: its variant.
        "va" => variant: Cow<'a, str>,
        /// `prNpr`: the price of one unit.
        "pr" => price: f64,
        /// `prNqt`: the number of units.
        "qt" => quantity: i64,
        /// `prNps`: its position in the list.
        "ps" => position: i64,
    }
    and {
        /// `N`: its number within the hit.
        number: u32,
        /// What has another suffix: the suffix and the value, in their order.
        raw: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    }
}

impl<'a> Product<'a> {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    pub(super) fn insert(&mut self, suffix: &str, text: Cow<'a, str>) -> Result<()> {
        let prefix = format!("pr{}", self.number);
        if let Some(text) = self.set(&prefix, suffix, text)? {
            self.raw.push((Cow::Owned(suffix.to_owned()), text));
        }
        Ok(())
    }

    pub(super) fn each_key(&self, f: &mut dyn FnMut(&str, &str)) {
        let prefix = format!("pr{}", self.number);
        self.each(&mut |suffix, text| f(&format!("{prefix}{suffix}"), text));
        for (suffix, text) in &self.raw {
            f(&format!("{prefix}{suffix}"), text);
        }
    }
}

/// The number and the suffix of a key `prN…`.
pub(super) fn product_key(key: &str) -> Option<(u32, &str)> {
    let rest = key.strip_prefix("pr")?;
    let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = rest.split_at(n_digits);
    if suffix.is_empty() {
        return None;
    }
    Some((number.parse().ok()?, suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_products_have_a_number_and_a_suffix() {
        assert_eq!(product_key("pr1id"), Some((1, "id")));
        assert_eq!(product_key("pr200cd12"), Some((200, "cd12")));
        for other in ["pr1", "prid", "pal", "pr", "p", "pr99999999999id"] {
            assert_eq!(product_key(other), None, "{other}");
        }
    }
}
