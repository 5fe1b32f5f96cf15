//! The events of a [`Hit`].

use std::borrow::Cow;

use bytes::Bytes;
use reco_core::{Event, EventKind, ItemId, Timestamp};
use uuid::Uuid;

use super::{Hit, MAX_REPEATED_BYTES, Product};
use crate::error::{Error, Result};

impl Hit<'_> {
    /// The events of the hit, as the [module](super) says: one a product, or one.
    ///
    /// `tenant` is the shop that sent it, where that is known; `payload` is the hit as it was sent.
    ///
    /// # Errors
    ///
    /// [`Error::Hit`] if the hit has no `cid`, or neither `t` nor `pa`, or if its events would repeat more
    /// than [`MAX_REPEATED_BYTES`].
    pub fn events(
        &self,
        tenant: Option<&str>,
        received_at: Timestamp,
        payload: Bytes,
    ) -> Result<Vec<Event>> {
        let missing = |key: &str| Error::Hit {
            key: key.to_owned(),
            reason: "it has no value".to_owned(),
        };
        let client = self.client_id.as_deref().ok_or_else(|| missing("cid"))?;
        let kind = self.kind().ok_or_else(|| missing("t"))?;
        let tenant = tenant.or(self.property_id.as_deref()).unwrap_or_default();
        let id = self.event_id(client);
        let event = |id: String, payload: Bytes, product: Option<&Product<'_>>| Event {
            id,
            received_at,
            occurred_at: self.sent_at.unwrap_or(received_at),
            tenant: tenant.to_owned(),
            client: client.to_owned(),
            session: None,
            kind,
            item: product.and_then(|p| p.id.as_deref()).map(ItemId::from),
            query: None,
            price: product.and_then(|p| p.price),
            quantity: product.and_then(|p| p.quantity),
            currency: self.currency_code.as_deref().map(ToOwned::to_owned),
            payload,
        };
        let products = match self.product_action {
            Some(_) => self.products.as_slice(),
            None => &[],
        };
        let Some((first, rest)) = products.split_first() else {
            return Ok(vec![event(id.into_owned(), payload, None)]);
        };
        let currency = self.currency_code.as_deref().unwrap_or_default();
        let n_repeated = id.len() + client.len() + tenant.len() + currency.len();
        if n_repeated * rest.len() > MAX_REPEATED_BYTES {
            return Err(Error::Hit {
                key: format!("pr{}", first.number),
                reason: format!("its products repeat more than {MAX_REPEATED_BYTES} bytes"),
            });
        }
        let mut events = Vec::with_capacity(products.len());
        events.push(event(id.clone().into_owned(), payload, Some(first)));
        events.extend(rest.iter().map(|product| {
            let id = format!("{id}-{}", product.number);
            event(id, Bytes::new(), Some(product))
        }));
        Ok(events)
    }

    fn kind(&self) -> Option<EventKind> {
        match (self.product_action.as_deref(), self.hit_type.as_deref()) {
            (Some("detail"), _) => Some(EventKind::Detail),
            (Some("click"), _) => Some(EventKind::Click),
            (Some("add"), _) => Some(EventKind::Add),
            (Some("remove"), _) => Some(EventKind::Remove),
            (Some("purchase"), _) => Some(EventKind::Purchase),
            (None, Some("pageview")) => Some(EventKind::Pageview),
            (None, None) => None,
            (Some(_), _) | (None, Some(_)) => Some(EventKind::Custom),
        }
    }

    // A number that is only there to get around caches names nothing by itself: two clients that
    // draw the same one would lose an event to the removal of duplicates.
    fn event_id(&self, client: &str) -> Cow<'_, str> {
        match self.request_id.as_deref() {
            Some(z) if Uuid::try_parse(z).is_ok() => Cow::Borrowed(z),
            Some(z) => Cow::Owned(format!("{client}.{z}")),
            None => Cow::Owned(Uuid::new_v4().to_string()),
        }
    }
}
