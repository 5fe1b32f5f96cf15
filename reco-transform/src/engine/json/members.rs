//! [`JsonMembers`]: where the members of a JSON document are.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StructArray, make_view};
use datafusion::arrow::buffer::{Buffer, NullBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{exec_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use jiter::{Jiter, Peek};

/// The text of some members of an object, as a struct; NULL where there is none of that name.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct JsonMembers {
    keys: Vec<String>,
    signature: Signature,
}

impl JsonMembers {
    pub(super) fn new(keys: Vec<String>) -> Self {
        Self {
            keys,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    fn fields(&self) -> Fields {
        // Keys may differ in nothing but case, or be empty; places are what counts.
        let fields = (0..self.keys.len())
            .map(|place| Field::new(place.to_string(), DataType::Utf8View, true));
        fields.collect()
    }
}

impl ScalarUDFImpl for JsonMembers {
    fn name(&self) -> &'static str {
        "json_members"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(self.fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [json] = args.args.as_slice() else {
            return internal_err!("`json_members` has one argument");
        };
        let json = json.to_array(args.number_rows)?;
        let members = members(&json, &self.keys)?;
        let members = members
            .into_iter()
            .map(|member| Arc::new(member) as ArrayRef);
        let members = StructArray::try_new(self.fields(), members.collect(), None)?;
        Ok(ColumnarValue::Array(Arc::new(members)))
    }
}

/// One member of [`JsonMembers`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct JsonMember {
    place: usize,
    signature: Signature,
}

impl JsonMember {
    pub(super) fn new(place: usize) -> Self {
        Self {
            place,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for JsonMember {
    fn name(&self) -> &'static str {
        "json_member"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [members] = args.args.as_slice() else {
            return internal_err!("`json_member` has one argument");
        };
        let members = members.to_array(args.number_rows)?;
        let Some(members) = members.as_struct_opt() else {
            return internal_err!("`json_member` reads {}", members.data_type());
        };
        Ok(ColumnarValue::Array(Arc::clone(members.column(self.place))))
    }
}

/// The columns of the members, whose texts are those of the documents and not copied.
fn members(json: &ArrayRef, keys: &[String]) -> Result<Vec<StringViewArray>> {
    let mut columns: Vec<Column> = keys.iter().map(|_| Column::new(json.len())).collect();
    let mut finder = Finder::new(keys);
    match json.data_type() {
        DataType::Utf8 => {
            let json = json.as_string::<i32>();
            let offsets = json.value_offsets();
            for (row, start) in offsets[..json.len()].iter().enumerate() {
                let start = usize::try_from(*start).unwrap_or_default();
                let document = json.is_valid(row).then(|| json.value(row));
                finder.append(document, 0, start, &mut columns);
            }
            let buffers = [json.values().clone()];
            finish(columns, &buffers)
        }
        DataType::Utf8View => {
            let json = json.as_string_view();
            for (row, view) in json.views().iter().enumerate() {
                let document = json.is_valid(row).then(|| json.value(row));
                // Of a text that is not in the view itself, the upper half says where it is. Members of
                // one that is are in their views, too.
                #[expect(clippy::cast_possible_truncation, reason = "these are its bytes")]
                let (buffer, start) = ((view >> 64) as u32, (view >> 96) as u32);
                finder.append(document, buffer, start as usize, &mut columns);
            }
            finish(columns, json.data_buffers())
        }
        DataType::LargeUtf8 | DataType::Dictionary(_, _) => {
            members(&cast(json, &DataType::Utf8View)?, keys)
        }
        other => exec_err!("there is no JSON in {other}"),
    }
}

fn finish(columns: Vec<Column>, buffers: &[Buffer]) -> Result<Vec<StringViewArray>> {
    let columns = columns.into_iter().map(|column| {
        let nulls = NullBuffer::from(column.is_there);
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        let buffers = buffers.to_vec();
        StringViewArray::try_new(column.views.into(), buffers, nulls)
    });
    Ok(columns.collect::<Result<_, _>>()?)
}

/// The texts of one member.
struct Column {
    views: Vec<u128>,
    is_there: Vec<bool>,
}

impl Column {
    fn new(n_rows: usize) -> Self {
        Self {
            views: Vec::with_capacity(n_rows),
            is_there: Vec::with_capacity(n_rows),
        }
    }
}

/// Finds members of documents that have much the same of them in the same order.
struct Finder<'a> {
    keys: &'a [String],
    /// Where each is in the document, by the place of the key.
    found: Vec<Option<Range<usize>>>,
    /// Behind the key that was found last.
    next: usize,
}

impl<'a> Finder<'a> {
    fn new(keys: &'a [String]) -> Self {
        Self {
            keys,
            found: vec![None; keys.len()],
            next: 0,
        }
    }

    /// Adds the members of a document that starts there in a buffer.
    fn append(
        &mut self,
        document: Option<&str>,
        buffer: u32,
        start: usize,
        columns: &mut [Column],
    ) {
        self.found.fill(None);
        if let Some(document) = document {
            self.find(document);
        }
        let document = document.unwrap_or_default();
        for (found, column) in self.found.iter().zip(columns) {
            let text = found.clone().and_then(|range| {
                let offset = u32::try_from(start + range.start).ok()?;
                Some((document.get(range)?, offset))
            });
            column.is_there.push(text.is_some());
            column.views.push(match text {
                Some((text, offset)) => make_view(text.as_bytes(), buffer, offset),
                None => 0,
            });
        }
    }

    /// Finds the first member of each name. What follows a mistake is not looked at: whoever looked for one
    /// member alone would not come by it, either.
    fn find(&mut self, document: &str) {
        let mut json = Jiter::new(document.as_bytes());
        if json.peek() != Ok(Peek::Object) {
            return;
        }
        let mut n_missing = self.keys.len();
        self.next = 0;
        let mut key = json.known_object();
        while let Ok(Some(name)) = key {
            let place = self.place(name);
            let Ok(peek) = json.peek() else {
                return;
            };
            let start = json.current_index();
            let is_whole = json.known_skip(peek).is_ok();
            if let Some(place) = place
                && self.found[place].is_none()
            {
                // The function that reads it finds the mistake, or does not come by it.
                let end = if is_whole {
                    json.current_index()
                } else {
                    document.len()
                };
                self.found[place] = Some(start..end);
                n_missing -= 1;
            }
            if !is_whole || n_missing == 0 {
                return;
            }
            key = json.next_key();
        }
    }

    fn place(&mut self, name: &str) -> Option<usize> {
        let (before, after) = self.keys.split_at(self.next);
        let position = |keys: &[String]| keys.iter().position(|key| key == name);
        let place = position(after)
            .map(|place| place + before.len())
            .or_else(|| position(before))?;
        self.next = place + 1;
        Some(place)
    }
}
