//! The table of keys: one line says a key's name, its field and its type, for reading and for writing.

use std::borrow::Cow;

use reco_core::Timestamp;

use crate::error::{Error, Result};

/// A type that the value of a key is read as.
pub(super) trait KeyValue<'a>: Sized {
    /// What a value of it is called in errors.
    const EXPECTED: &'static str;

    /// Reads a value; gives it back if it is no such thing.
    fn read(text: Cow<'a, str>) -> Result<Self, Cow<'a, str>>;

    /// The value as text that is read as the same.
    fn write(&self) -> Cow<'_, str>;
}

impl<'a> KeyValue<'a> for Cow<'a, str> {
    const EXPECTED: &'static str = "text";

    fn read(text: Self) -> Result<Self, Self> {
        Ok(text)
    }

    fn write(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }
}

impl<'a> KeyValue<'a> for f64 {
    const EXPECTED: &'static str = "number";

    fn read(text: Cow<'a, str>) -> Result<Self, Cow<'a, str>> {
        let number = text.parse().ok().filter(|number: &Self| number.is_finite());
        number.ok_or(text)
    }

    fn write(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

impl<'a> KeyValue<'a> for i64 {
    const EXPECTED: &'static str = "whole number";

    fn read(text: Cow<'a, str>) -> Result<Self, Cow<'a, str>> {
        text.parse().map_err(|_| text)
    }

    fn write(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

impl<'a> KeyValue<'a> for Timestamp {
    const EXPECTED: &'static str = "time in milliseconds since 1970 or of RFC 3339";

    fn read(text: Cow<'a, str>) -> Result<Self, Cow<'a, str>> {
        let time = match text.parse() {
            Ok(millis) => Self::from_millisecond(millis).ok(),
            Err(_) => text.parse().ok(),
        };
        time.ok_or(text)
    }

    fn write(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

/// Reads the value of a key.
pub(super) fn read<'a, T: KeyValue<'a>>(prefix: &str, key: &str, text: Cow<'a, str>) -> Result<T> {
    T::read(text).map_err(|text| Error::Hit {
        key: format!("{prefix}{key}"),
        reason: format!("`{}` is no {}", excerpt(&text), T::EXPECTED),
    })
}

/// The beginning of a text that may be long.
pub(super) fn excerpt(text: &str) -> Cow<'_, str> {
    const MAX_CHARS: usize = 40;
    match text.char_indices().nth(MAX_CHARS) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

/// A struct whose fields are the values of keys, and what reads and writes them by key.
///
/// `set` gives a text back whose key is not of the table, or has a value already.
macro_rules! keyed {
    (
        $(#[$meta:meta])*
        pub struct $name:ident<'a> {
            $($(#[$doc:meta])* $key:literal => $field:ident: $type:ty,)*
        }
        and {
            $($(#[$other_doc:meta])* $other:ident: $other_type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $name<'a> {
            $($(#[$doc])* pub $field: Option<$type>,)*
            $($(#[$other_doc])* pub $other: $other_type,)*
        }

        impl<'a> $name<'a> {
            /// Every key that has a field, in their order.
            pub const KEYS: &'static [&'static str] = &[$($key),*];

            fn set(
                &mut self,
                prefix: &str,
                key: &str,
                text: Cow<'a, str>,
            ) -> Result<Option<Cow<'a, str>>> {
                match key {
                    $($key if self.$field.is_none() => {
                        self.$field = Some($crate::pixel::keys::read(prefix, key, text)?);
                        Ok(None)
                    })*
                    _ => Ok(Some(text)),
                }
            }

            pub(in crate::pixel) fn each(&self, f: &mut dyn FnMut(&str, &str)) {
                $(if let Some(value) = &self.$field {
                    f($key, &$crate::pixel::keys::KeyValue::write(value));
                })*
            }
        }
    };
}

pub(super) use keyed;
