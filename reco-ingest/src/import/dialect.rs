//! [`Dialect`]: what separates and quotes fields.

/// What separates and quotes fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: Option<u8>,
}

impl Dialect {
    /// Whether text follows the quote that closes a field of the row.
    pub(super) fn is_misquoted(self, row: impl Iterator<Item = u8>) -> bool {
        enum At {
            Start,
            Bare,
            Quoted,
            Closed,
        }
        let Some(quote) = self.quote else {
            return false;
        };
        let mut at = At::Start;
        for byte in row {
            let is_quote = byte == quote;
            at = match at {
                At::Quoted if is_quote => At::Closed,
                At::Quoted => At::Quoted,
                // A doubled one stands for one.
                At::Start | At::Closed if is_quote => At::Quoted,
                _ if byte == self.delimiter || byte == b'\r' || byte == b'\n' => At::Start,
                At::Closed => return true,
                At::Start | At::Bare => At::Bare,
            };
        }
        false
    }
}
