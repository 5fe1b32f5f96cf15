//! [`Redact`]: a record that rules can be applied to.

use reco_core::{Error as CoreError, Event, Record};

use super::payload::{Pass, Unvouched};
use super::{Column, Opaque, Redaction, Treatment, Unreadable};
use crate::metric;
use crate::sink::DeadLetter;

/// A record that rules can be applied to: events and dead letters, and records of a host that say how.
///
/// # Contract
///
/// What the rules name is not in what comes out, in no column and in no byte of it. The record's
/// [`timestamp`](Record::timestamp) stays.
pub trait Redact: Record {
    /// The record as it may be written; `row` is where it is in its batch, for errors.
    ///
    /// # Errors
    ///
    /// [`reco_core::Error::InvalidValue`] if the rules refuse it.
    fn redact(self, rules: &Redaction, row: usize) -> reco_core::Result<Self>;
}

impl Redact for Event {
    /// Treats the columns, then the payload, and then looks for what was treated in every text column:
    /// an id or session that is made of the client is hashed as a whole.
    fn redact(mut self, rules: &Redaction, row: usize) -> reco_core::Result<Self> {
        let mut pass = Pass::new(rules);
        for (column, treatment) in &rules.config.columns {
            treat_column(&mut self, *column, |text| pass.treat(*treatment, text));
        }
        match pass.payload(&self.payload) {
            Ok(payload) if payload == self.payload => {}
            Ok(payload) => self.payload = payload.into(),
            Err(Unvouched(reason)) => {
                if rules.config.unreadable == Unreadable::Refuse {
                    return Err(CoreError::InvalidValue {
                        table: Self::NAME.to_owned(),
                        column: "payload".to_owned(),
                        row,
                        reason: reason.to_owned(),
                    });
                }
                tracing::debug!(
                    row,
                    reason,
                    "a payload is dropped that cannot be vouched for"
                );
                metrics::counter!(metric::REDACTED, metric::TABLE => Self::NAME).increment(1);
                self.payload.clear();
            }
        }
        for column in Column::ALL {
            treat_column(&mut self, column, |text| {
                if pass.holds_secret(text) {
                    rules.treat(Treatment::Hash, text)
                } else {
                    text.to_owned()
                }
            });
        }
        Ok(self)
    }
}

impl Redact for DeadLetter {
    /// Drops the bytes, and what the reason quotes of them, unless the rules keep them.
    fn redact(mut self, rules: &Redaction, _row: usize) -> reco_core::Result<Self> {
        if rules.config.dead_letters == Opaque::Drop {
            if !self.payload.is_empty() {
                metrics::counter!(metric::REDACTED, metric::TABLE => Self::NAME).increment(1);
                self.payload.clear();
            }
            self.reason = without_quotations(&self.reason);
        }
        Ok(self)
    }
}

impl Column {
    /// Every column, in the order of declaration.
    pub const ALL: [Self; 6] = [
        Self::Id,
        Self::Tenant,
        Self::Client,
        Self::Session,
        Self::Item,
        Self::Query,
    ];
}

fn treat_column(event: &mut Event, column: Column, treat: impl FnOnce(&str) -> String) {
    match column {
        Column::Id => event.id = treat(&event.id),
        Column::Tenant => event.tenant = treat(&event.tenant),
        Column::Client => event.client = treat(&event.client),
        Column::Session => event.session = some(event.session.as_deref().map(treat)),
        Column::Item => {
            let item = event.item.as_ref().map(|item| treat(item.as_str()));
            event.item = some(item).map(Into::into);
        }
        Column::Query => event.query = some(event.query.as_deref().map(treat)),
    }
}

// A text of which nothing may be written is none.
fn some(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

// The text with everything that is in quotes blanked; from a quote that is not closed on, all of it.
fn without_quotations(text: &str) -> String {
    let mut rest = text;
    let mut blanked = String::with_capacity(text.len());
    while let Some(start) = rest.find(['`', '"']) {
        let (before, quotation) = rest.split_at(start);
        blanked.push_str(before);
        blanked.push('…');
        let end = quotation[1..].find(&quotation[..1]);
        rest = end.map_or("", |end| &quotation[end + 2..]);
    }
    blanked + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_are_blanked() {
        let check = |text, expected| assert_eq!(without_quotations(text), expected);
        check("2 fields", "2 fields");
        check("column `at`, time `noon`: none", "column …, time …: none");
        check("`a", "…");
        check("string \"a`b\", expected", "string …, expected");
    }
}
