//! JSON in queries: `payload ->> 'sku'`, and `json_get`, `json_as_text`, `json_contains` and the others of
//! `datafusion-functions-json`.
//!
//! Each of those functions parses the document for itself. [`FuseJson`] has a document parsed once for all
//! that one SELECT takes from it:
//!
//! ```text
//! json_as_text(payload, 'id'), json_as_text(payload, 't')
//!     ──▶ json_as_text(__json[0]), json_as_text(__json[1])  over  json_members(payload, 'id', 't') as __json
//! ```
//!
//! `json_members` finds the members and does not read them: their text stays where it is, and the function
//! that was asked for reads it as if it were the whole document.

mod fuse;
mod members;

use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;

pub(super) use self::fuse::FuseJson;

/// Adds the functions and the operators.
pub(crate) fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    datafusion_functions_json::register_all(registry)
}
