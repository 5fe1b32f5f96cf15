//! Conditions in the language of `DataFrame.query` of pandas.
//!
//! Names, in backquotes if need be, numbers, texts, `True` and `False`; comparisons, which may be chained;
//! `in` and `not in` a list; `isnull`, `isna`, `notnull` and `notna`; `and`, `or`, `not` and `&`, `|`, `~`.
//! There, a comparison with a missing value is false, except that it is unequal to everything: the SQL that
//! is made says so wherever it matters.

use std::iter::Peekable;
use std::str::Chars;

use super::arguments::Reason;
use super::condition::{quoted, text_literal};

pub(super) fn to_sql(query: &str) -> Result<String, Reason> {
    let unread = |reason: String| format!("the condition `{query}` cannot be read: {reason}");
    let tokens = tokens(query).map_err(unread)?;
    let mut parser = Parser {
        tokens: tokens.into_iter().peekable(),
    };
    let condition = parser.or().map_err(unread)?;
    match parser.tokens.next() {
        None => Ok(condition.sql(false)),
        Some(token) => Err(unread(format!("{token:?} is one too many"))),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A name.
    Column(String),
    /// A value as it is written in SQL.
    Literal(String),
    /// A word or a sign of the language.
    Sign(String),
}

fn tokens(query: &str) -> Result<Vec<Token>, Reason> {
    let mut chars = query.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(&first) = chars.peek() {
        if first.is_whitespace() {
            chars.next();
        } else if first == '_' || first.is_alphabetic() {
            let word = take_while(&mut chars, |c| c == '_' || c.is_alphanumeric());
            tokens.push(match word.as_str() {
                "and" | "or" | "not" | "in" => Token::Sign(word),
                "True" => Token::Literal("true".to_owned()),
                "False" => Token::Literal("false".to_owned()),
                "None" => return Err("nothing equals `None`; see `isnull`".to_owned()),
                _ => Token::Column(word),
            });
        } else if first.is_ascii_digit() {
            let number = take_while(&mut chars, |c| c == '.' || c == '_' || c.is_alphanumeric());
            match number.parse::<f64>() {
                Ok(_) => tokens.push(Token::Literal(number)),
                Err(_) => return Err(format!("`{number}` is no number")),
            }
        } else if matches!(first, '"' | '\'' | '`') {
            chars.next();
            let text = take_while(&mut chars, |c| c != first);
            if chars.next().is_none() {
                return Err(format!("{first} is not closed"));
            }
            if text.contains('\\') {
                return Err("a text escapes with a backslash".to_owned());
            }
            tokens.push(match first {
                '`' => Token::Column(text),
                _ => Token::Literal(text_literal(&text)),
            });
        } else {
            chars.next();
            let mut sign = first.to_string();
            if matches!(first, '=' | '!' | '<' | '>') && chars.next_if_eq(&'=').is_some() {
                sign.push('=');
            }
            let is_known = [
                "==", "!=", "<", "<=", ">", ">=", "&", "|", "~", "(", ")", "[", "]", ",", ".", "-",
            ];
            if !is_known.contains(&sign.as_str()) {
                return Err(format!("`{sign}` is none of its signs"));
            }
            tokens.push(Token::Sign(sign));
        }
    }
    Ok(tokens)
}

fn take_while(chars: &mut Peekable<Chars<'_>>, is_part: impl Fn(char) -> bool) -> String {
    let mut taken = String::new();
    while let Some(next) = chars.next_if(|c| is_part(*c)) {
        taken.push(next);
    }
    taken
}

/// What is true or false of a row.
#[derive(Debug)]
enum Condition {
    /// Some conditions between `and` or `or`.
    Several(&'static str, Vec<Self>),
    Not(Box<Self>),
    /// What SQL may not know.
    Unknowable(String),
    /// What SQL always knows.
    Known(String),
}

impl Condition {
    /// As SQL. Under a negation nothing may be unknown, and elsewhere unknown is as good as false.
    fn sql(&self, is_negated: bool) -> String {
        match self {
            Self::Several(between, conditions) => {
                let conditions = conditions.iter().map(|condition| {
                    let sql = condition.sql(is_negated);
                    match condition {
                        Self::Several(..) => format!("({sql})"),
                        _ => sql,
                    }
                });
                conditions.collect::<Vec<_>>().join(&format!(" {between} "))
            }
            Self::Not(condition) => format!("not ({})", condition.sql(true)),
            Self::Unknowable(sql) if is_negated => format!("({sql}) is true"),
            Self::Unknowable(sql) | Self::Known(sql) => sql.clone(),
        }
    }
}

struct Parser {
    tokens: Peekable<std::vec::IntoIter<Token>>,
}

impl Parser {
    /// Takes a sign if it is the next of some, and says which.
    fn sign(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        let mut found = None;
        self.tokens.next_if(|token| {
            found = match token {
                Token::Sign(sign) => signs.iter().find(|one| *one == sign).copied(),
                _ => None,
            };
            found.is_some()
        });
        found
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Reason> {
        match self.sign(&[sign]) {
            Some(_) => Ok(()),
            None => Err(format!("`{sign}` is missing")),
        }
    }

    fn or(&mut self) -> Result<Condition, Reason> {
        let mut conditions = vec![self.and()?];
        while self.sign(&["or", "|"]).is_some() {
            conditions.push(self.and()?);
        }
        Ok(several("or", conditions))
    }

    fn and(&mut self) -> Result<Condition, Reason> {
        let mut conditions = vec![self.not()?];
        while self.sign(&["and", "&"]).is_some() {
            conditions.push(self.not()?);
        }
        Ok(several("and", conditions))
    }

    fn not(&mut self) -> Result<Condition, Reason> {
        if self.sign(&["not", "~"]).is_some() {
            return Ok(Condition::Not(Box::new(self.not()?)));
        }
        if self.sign(&["("]).is_some() {
            let condition = self.or()?;
            self.expect(")")?;
            return Ok(condition);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Condition, Reason> {
        let mut left = self.operand()?;
        if self.sign(&["."]).is_some() {
            return self.method(&left);
        }
        let is_in = match (self.sign(&["not"]), self.sign(&["in"])) {
            (None, None) => None,
            (negation, Some(_)) => Some(negation.is_none()),
            (Some(_), None) => return Err("`in` is missing after `not`".to_owned()),
        };
        if let Some(is_in) = is_in {
            let values = self.list()?;
            return Ok(if is_in {
                Condition::Unknowable(format!("{left} in {values}"))
            } else {
                Condition::Known(format!("({left} in {values}) is not true"))
            });
        }
        let mut conditions = Vec::new();
        while let Some(operator) = self.sign(&["==", "!=", "<", "<=", ">", ">="]) {
            let right = self.operand()?;
            conditions.push(match operator {
                "==" => Condition::Unknowable(format!("{left} = {right}")),
                "!=" => Condition::Known(format!("({left} <> {right}) is not false")),
                _ => Condition::Unknowable(format!("{left} {operator} {right}")),
            });
            left = right;
        }
        if conditions.is_empty() {
            // A column of booleans.
            return Ok(Condition::Unknowable(left));
        }
        Ok(several("and", conditions))
    }

    fn operand(&mut self) -> Result<String, Reason> {
        let sign = if self.sign(&["-"]).is_some() { "-" } else { "" };
        match self.tokens.next() {
            Some(Token::Column(column)) if sign.is_empty() => Ok(quoted(&column)),
            Some(Token::Literal(literal)) => Ok(format!("{sign}{literal}")),
            Some(other) => Err(format!("{other:?} is no column and no value")),
            None => Err("it ends too early".to_owned()),
        }
    }

    fn list(&mut self) -> Result<String, Reason> {
        let close = match self.sign(&["[", "("]) {
            Some("[") => "]",
            Some(_) => ")",
            None => return Err("`in` is not followed by a list".to_owned()),
        };
        let mut values = vec![self.operand()?];
        while self.sign(&[","]).is_some() {
            values.push(self.operand()?);
        }
        self.expect(close)?;
        Ok(format!("({})", values.join(", ")))
    }

    fn method(&mut self, column: &str) -> Result<Condition, Reason> {
        let Some(Token::Column(name)) = self.tokens.next() else {
            return Err("a method has no name".to_owned());
        };
        self.expect("(")?;
        self.expect(")")?;
        match name.as_str() {
            "isnull" | "isna" => Ok(Condition::Known(format!("{column} is null"))),
            "notnull" | "notna" => Ok(Condition::Known(format!("{column} is not null"))),
            other => Err(format!("we know no method `{other}`")),
        }
    }
}

fn several(between: &'static str, mut conditions: Vec<Condition>) -> Condition {
    match (conditions.len(), conditions.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            conditions.extend(last);
            Condition::Several(between, conditions)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_condition_in_sql() {
        let check = |query: &str, expected: &str| {
            assert_eq!(to_sql(query).unwrap().replace('"', "^"), expected);
        };
        check("price > 1.5", "^price^ > 1.5");
        check("kind == \"it's\"", "^kind^ = 'it''s'");
        check("`Unit Price` != -1", "(^Unit Price^ <> -1) is not false");
        check("kind in ['a', 'b'] and ok", "^kind^ in ('a', 'b') and ^ok^");
        check(
            "kind not in ('a', 'b')",
            "(^kind^ in ('a', 'b')) is not true",
        );
        check(
            "(a == 1) | (b == 2) & ~(c == 3)",
            "^a^ = 1 or (^b^ = 2 and not ((^c^ = 3) is true))",
        );
        check(
            "not a.isnull() and b.notna()",
            "not (^a^ is null) and ^b^ is not null",
        );
        check("1 < a <= 5", "1 < ^a^ and ^a^ <= 5");
        check(
            "not (1 < a < 5 or Flag == True)",
            "not (((1 < ^a^) is true and (^a^ < 5) is true) or (^Flag^ = true) is true)",
        );
    }

    #[test]
    fn what_is_not_understood_is_told() {
        let check = |query: &str, expected: &str| {
            let reason = to_sql(query).unwrap_err();
            assert!(
                reason.starts_with("the condition `") && reason.ends_with(expected),
                "{reason}"
            );
        };
        check("a == None", "nothing equals `None`; see `isnull`");
        check("a.str.len() > 3", "`(` is missing");
        check("a + 1 > 2", "`+` is none of its signs");
        check("a > @limit", "`@` is none of its signs");
        check("a == 'x", "' is not closed");
        check("a >", "it ends too early");
        check("a > 1 b", "Column(\"b\") is one too many");
        check("a in b", "`in` is not followed by a list");
        check("a.round()", "we know no method `round`");
    }
}
