//! The text form of a selection: dbt's grammar.

use reco_core::{did_you_mean, nearest};

use super::{Expr, Pattern, Selection};
use crate::error::{Error, Result};

const METHODS: [&str; 5] = ["tag", "source", "path", "file", "state"];

/// Terms with spaces between are a union, those after `--exclude` are taken away.
pub(super) fn parse(text: &str) -> Result<Selection> {
    let mut words = text.split_whitespace().peekable();
    let mut wanted = Vec::new();
    while let Some(word) = words.next_if(|word| *word != "--exclude") {
        wanted.push(intersection(word)?);
    }
    let mut unwanted = Vec::new();
    if words.next().is_some() {
        for word in words {
            if word == "--exclude" {
                return Err(invalid(text, "`--exclude` stands there twice".to_owned()));
            }
            unwanted.push(intersection(word)?);
        }
        if unwanted.is_empty() {
            return Err(invalid(text, "nothing stands after `--exclude`".to_owned()));
        }
        if wanted.is_empty() {
            return Ok(Selection::all().except(Selection(Expr::Any(unwanted))));
        }
    }
    if wanted.is_empty() {
        return Err(invalid(text, "it is empty; `*` is all tables".to_owned()));
    }
    let wanted = Selection(Expr::Any(wanted));
    if unwanted.is_empty() {
        return Ok(wanted);
    }
    Ok(wanted.except(Selection(Expr::Any(unwanted))))
}

/// Terms with commas between.
fn intersection(word: &str) -> Result<Expr> {
    let terms = word.split(',').map(|part| {
        if part.is_empty() {
            let reason = "nothing stands beside a comma; write it without spaces around".to_owned();
            return Err(invalid(word, reason));
        }
        term(part)
    });
    Ok(Expr::All(terms.collect::<Result<_>>()?))
}

/// A name or a method, with what is read and what reads it: `1+tag:nightly+`, `@clean`.
fn term(text: &str) -> Result<Expr> {
    let (is_at, rest) = match text.strip_prefix('@') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (upstream, rest) = match rest.split_once('+') {
        Some((digits, after)) if is_digits(digits) => (Some(depth(text, digits)?), after),
        _ => (None, rest),
    };
    let (downstream, rest) = match rest.rsplit_once('+') {
        Some((before, digits)) if is_digits(digits) => (Some(depth(text, digits)?), before),
        _ => (None, rest),
    };
    if is_at && (upstream.is_some() || downstream.is_some()) {
        let reason = "`@` holds what is read and what reads it already; leave out `+`".to_owned();
        return Err(invalid(text, reason));
    }
    let of = method(text, rest)?;
    if is_at {
        return Ok(Expr::Upstream(
            Box::new(Expr::Downstream(Box::new(of), None)),
            None,
        ));
    }
    Ok(match (upstream, downstream) {
        (None, None) => of,
        (Some(up), None) => Expr::Upstream(Box::new(of), up),
        (None, Some(down)) => Expr::Downstream(Box::new(of), down),
        (Some(up), Some(down)) => Expr::Any(vec![
            Expr::Upstream(Box::new(of.clone()), up),
            Expr::Downstream(Box::new(of), down),
        ]),
    })
}

fn method(text: &str, rest: &str) -> Result<Expr> {
    let (method, value) = match rest.split_once(':') {
        Some((method, value)) => (Some(method), value),
        None => (None, rest),
    };
    if value.is_empty() {
        return Err(invalid(text, "it names nothing".to_owned()));
    }
    let pattern = Pattern::new(value);
    match method {
        Some("tag") => Ok(Expr::Tagged(pattern)),
        Some("source") => Ok(Expr::Source(pattern)),
        Some("path") => Ok(Expr::Path(pattern)),
        Some("file") => Ok(Expr::File(pattern)),
        Some("state") if value == "modified" => Ok(Expr::Changed(None)),
        Some("state") => {
            let reason = format!("`{value}` is no state; the only one is `modified`");
            Err(invalid(text, reason))
        }
        Some(other) => {
            let hint = did_you_mean(nearest(other, METHODS).as_deref());
            Err(invalid(text, format!("`{other}` is no method{hint}")))
        }
        // As in dbt: what looks like a path or a file is one. No table has such a name.
        None if value.contains('/') => Ok(Expr::Path(pattern)),
        None if value.ends_with(".sql") => Ok(Expr::File(pattern)),
        None => Ok(Expr::Table(pattern)),
    }
}

fn is_digits(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit())
}

/// How many steps to follow; without a number, all.
fn depth(text: &str, digits: &str) -> Result<Option<usize>> {
    if digits.is_empty() {
        return Ok(None);
    }
    let depth = digits.parse().map(Some);
    depth.map_err(|_| invalid(text, format!("{digits} steps are too many to count")))
}

fn invalid(selection: &str, reason: String) -> Error {
    Error::InvalidSelection {
        selection: selection.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_refused_with_the_reason() {
        let check = |text: &str, expected: &str| {
            assert_eq!(parse(text).unwrap_err().to_string(), expected);
        };
        check("", "invalid selection ``: it is empty; `*` is all tables");
        check(
            "tags:nightly",
            "invalid selection `tags:nightly`: `tags` is no method; did you mean `tag`?",
        );
        check(
            "state:new",
            "invalid selection `state:new`: `new` is no state; the only one is `modified`",
        );
        check(
            "a, b",
            "invalid selection `a,`: nothing stands beside a comma; write it without spaces around",
        );
        check("tag:", "invalid selection `tag:`: it names nothing");
        check("+", "invalid selection `+`: it names nothing");
        check(
            "@a+",
            "invalid selection `@a+`: `@` holds what is read and what reads it already; leave out `+`",
        );
        check(
            "a+99999999999999999999",
            "invalid selection `a+99999999999999999999`: 99999999999999999999 steps are too many to count",
        );
        check(
            "a --exclude",
            "invalid selection `a --exclude`: nothing stands after `--exclude`",
        );
        check(
            "a --exclude b --exclude c",
            "invalid selection `a --exclude b --exclude c`: `--exclude` stands there twice",
        );
    }
}
