//! [`quick`]: regular expressions that say place by place what stands there.
//!
//! Ids, hashes and the codes of articles look like `^[0-9a-f]{32}$` or `^sku-[0-9]+$`. A regex engine goes
//! through a text from state to state, each step waiting for the one before; but where a text's length tells
//! which byte belongs to which part of the pattern, all bytes can be looked up at once. An audit looks at every
//! row, and patterns are the most expensive of what it asks. All others are left to the engine.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, BooleanArray, StringViewArray};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, Volatility, create_udf,
};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// The same expression, with such patterns of columns of views made quick.
pub(super) fn quick(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let quick = expr.transform_up(|expr| {
        Ok(match search(&expr, schema)? {
            Some(found) => Transformed::yes(found),
            None => Transformed::no(expr),
        })
    });
    Ok(quick?.data)
}

fn search(expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else {
        return Ok(None);
    };
    let (Expr::Column(_), Expr::Literal(pattern, _)) = (&**left, &**right) else {
        return Ok(None);
    };
    let is_search = matches!(op, Operator::RegexMatch | Operator::RegexNotMatch);
    if !is_search || left.get_type(schema)? != DataType::Utf8View {
        return Ok(None);
    }
    let Some(pattern) = pattern.try_as_str().flatten() else {
        return Ok(None);
    };
    let Some(parts) = Parts::read(pattern) else {
        return Ok(None);
    };
    let function = create_udf(
        // Two functions are the same to the engine if their names are.
        &format!("matches {pattern}"),
        vec![DataType::Utf8View],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(move |arguments| {
            let texts = ColumnarValue::values_to_arrays(arguments)?;
            let found = parts.found_in(texts[0].as_string_view());
            Ok(ColumnarValue::Array(Arc::new(found)))
        }),
    );
    let found = function.call(vec![left.as_ref().clone()]);
    Ok(Some(match op {
        Operator::RegexNotMatch => !found,
        _ => found,
    }))
}

/// A pattern that begins at the start of a text, in parts whose lengths follow from the text's.
#[derive(Debug)]
struct Parts {
    parts: Vec<Part>,
    /// How many bytes there are at least.
    least: usize,
    /// How many there may be more, all in the one part that may be longer.
    most_more: usize,
    /// Whether the pattern goes on to the end of a text.
    is_whole: bool,
}

#[derive(Debug)]
enum Part {
    /// These bytes.
    Bytes(Box<[u8]>),
    /// So many bytes of a set, and those that there may be more if `stretches`.
    Set {
        set: Box<[bool; 256]>,
        least: usize,
        stretches: bool,
    },
}

impl Parts {
    /// Nothing if the pattern has another form, or is none.
    fn read(pattern: &str) -> Option<Self> {
        let hir = regex_syntax::parse(pattern).ok()?;
        let parts = match hir.kind() {
            HirKind::Concat(parts) => parts.as_slice(),
            _ => return None,
        };
        let (start, parts) = parts.split_first()?;
        let is =
            |part: &Hir, look: Look| matches!(part.kind(), HirKind::Look(this) if *this == look);
        let (parts, is_whole) = match parts.split_last() {
            Some((end, before)) if is(end, Look::End) => (before, true),
            _ => (parts, false),
        };
        if !is(start, Look::Start) {
            return None;
        }
        let mut read = Self {
            parts: Vec::new(),
            least: 0,
            most_more: 0,
            is_whole,
        };
        parts.iter().try_for_each(|part| read.add(part))?;
        let n_stretching = read.parts.iter().filter(|part| part.stretches()).count();
        // Without an end, how long a part is does not follow from anything, unless it is the last.
        let ends_anywhere = read.parts.last().is_some_and(Part::stretches) || n_stretching == 0;
        (n_stretching <= 1 && (is_whole || ends_anywhere)).then_some(read)
    }

    fn add(&mut self, part: &Hir) -> Option<()> {
        match part.kind() {
            HirKind::Empty => {}
            HirKind::Literal(literal) => {
                self.least += literal.0.len();
                self.parts.push(Part::Bytes(literal.0.clone()));
            }
            HirKind::Class(_) => self.add_set(part, 1, Some(1))?,
            HirKind::Repetition(repeated) => {
                self.add_set(&repeated.sub, repeated.min, repeated.max)?;
            }
            HirKind::Capture(group) => self.add(&group.sub)?,
            HirKind::Concat(parts) => parts.iter().try_for_each(|part| self.add(part))?,
            HirKind::Look(_) | HirKind::Alternation(_) => return None,
        }
        Some(())
    }

    /// A set of bytes, which are characters of ASCII, so many times.
    fn add_set(&mut self, set: &Hir, least: u32, most: Option<u32>) -> Option<()> {
        let class = match set.kind() {
            HirKind::Class(Class::Unicode(class)) => class.to_byte_class()?,
            HirKind::Class(Class::Bytes(class)) if class.is_ascii() => class.clone(),
            _ => return None,
        };
        let mut set = Box::new([false; 256]);
        for range in class.ranges() {
            set[usize::from(range.start())..=usize::from(range.end())].fill(true);
        }
        let least = usize::try_from(least).ok()?;
        let most = match most {
            Some(most) => usize::try_from(most).ok()?,
            None => usize::MAX,
        };
        self.least = self.least.checked_add(least)?;
        self.most_more = self.most_more.saturating_add(most - least);
        self.parts.push(Part::Set {
            set,
            least,
            stretches: most > least,
        });
        Some(())
    }

    fn found_in(&self, texts: &StringViewArray) -> BooleanArray {
        // What is NULL has a text too, an empty one.
        let found = |row| self.is_found(texts.value(row).as_bytes());
        let found = BooleanBuffer::collect_bool(texts.len(), found);
        BooleanArray::new(found, texts.nulls().cloned())
    }

    fn is_found(&self, text: &[u8]) -> bool {
        let Some(more) = text.len().checked_sub(self.least) else {
            return false;
        };
        if self.is_whole && more > self.most_more {
            return false;
        }
        let more = if self.is_whole { more } else { 0 };
        let mut rest = text;
        self.parts.iter().all(|part| {
            let (these, later) = rest.split_at(part.len(more));
            rest = later;
            part.holds(these)
        })
    }
}

impl Part {
    const fn stretches(&self) -> bool {
        matches!(
            self,
            Self::Set {
                stretches: true,
                ..
            }
        )
    }

    const fn len(&self, more: usize) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Set {
                least, stretches, ..
            } => *least + if *stretches { more } else { 0 },
        }
    }

    fn holds(&self, these: &[u8]) -> bool {
        match self {
            Self::Bytes(bytes) => these == &**bytes,
            // To the end, whatever is found: a processor looks several up at a time.
            Self::Set { set, .. } => these
                .iter()
                .fold(true, |all, byte| all & set[usize::from(*byte)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::compute::kernels::regexp::regexp_is_match_scalar;
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::prelude::SessionContext;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_known_by_its_place_is_quick() {
        let quick = [
            "^[0-9a-f]{32}$",
            "^sku-[0-9]+$",
            "^[a-z]{2,4}-(x)$",
            "^old-",
            "^a[0-9]*",
            "^$",
            "^hüte$",
        ];
        for pattern in quick {
            assert!(Parts::read(pattern).is_some(), "{pattern}");
        }
        let others = [
            "sku", "[0-9]$", "^a|b$", "^.$", r"^\w$", "^[^a]$", "^a+b", "^a+b+$", "^(ab)+$",
            "(?m)^a$", "(?i)^k$", "^é?$", r"^a\b", "(", "",
        ];
        for pattern in others {
            assert!(Parts::read(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn only_views_are_searched() {
        let fields = [("view", DataType::Utf8View), ("text", DataType::Utf8)];
        let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
        let schema = DFSchema::try_from(Schema::new(fields.to_vec())).unwrap();
        let session = SessionContext::new();
        let check = |condition: &str, expected: &str| {
            let condition = session.parse_sql_expr(condition, &schema).unwrap();
            assert_eq!(quick(condition, &schema).unwrap().to_string(), expected);
        };
        check(
            "view ~ '^a$' or view is null",
            "matches ^a$(view) OR view IS NULL",
        );
        check("view !~ '^a$'", "NOT matches ^a$(view)");
        check("text ~ '^a$'", "text ~ Utf8(\"^a$\")");
        check("view ~ 'a'", "view ~ Utf8(\"a\")");
        check("view ~* '^a$'", "view ~* Utf8(\"^a$\")");
        check("view = '^a$'", "view = Utf8(\"^a$\")");
        check("view ~ null", "view ~ NULL");
    }

    const FIXED: [&str; 7] = ["a", "b", "ü", "[ab]", "[a-z]{2}", "(a)", "()"];
    const STRETCHING: [&str; 4] = ["[ab]+", "[a-c]*?", "a?", "b{1,2}"];

    proptest! {
        #[test]
        fn the_answer_is_the_one_of_the_engine(
            mut parts in prop::collection::vec(prop::sample::select(FIXED.to_vec()), 0..4),
            stretching in prop::option::of(prop::sample::select(STRETCHING.to_vec())),
            at in any::<prop::sample::Index>(),
            end in "[$]?",
            texts in prop::collection::vec(prop::option::of("[abcü\n]{0,7}"), 1..70),
        ) {
            if let Some(stretching) = stretching {
                parts.insert(at.index(parts.len() + 1), stretching);
            }
            let pattern = format!("^{}{end}", parts.concat());
            let texts = StringViewArray::from_iter(&texts);
            if let Some(read) = Parts::read(&pattern) {
                let expected = regexp_is_match_scalar(&texts, &pattern, None).unwrap();
                prop_assert_eq!(read.found_in(&texts), expected, "{}", pattern);
            }
        }
    }
}
