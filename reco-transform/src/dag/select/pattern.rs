//! Names with `*`, as in a shell.

/// A name in which `*` stands for any text, `?` for any character, and `[a-z]` for one of these, or with
/// `!` in front for one of all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Star,
    Any,
    Char(char),
    OneOf {
        is_negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let chars: Vec<char> = text.chars().collect();
        let mut tokens = Vec::new();
        let mut rest = chars.as_slice();
        while let [first, after @ ..] = rest {
            rest = after;
            tokens.push(match first {
                '*' => Token::Star,
                '?' => Token::Any,
                '[' => match set(after) {
                    Some((token, after)) => {
                        rest = after;
                        token
                    }
                    // Without an end it is a character like others.
                    None => Token::Char('['),
                },
                &other => Token::Char(other),
            });
        }
        Self { text, tokens }
    }

    /// The pattern as written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut token, mut at) = (0, 0);
        // Where to go on if what follows the last star does not fit: the star takes one more.
        let mut retry: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.tokens.get(token) {
                Some(Token::Star) => {
                    retry = Some((token + 1, at + 1));
                    token += 1;
                }
                Some(one) if one.takes(name[at]) => {
                    token += 1;
                    at += 1;
                }
                _ => match retry {
                    Some((after_star, next)) => {
                        retry = Some((after_star, next + 1));
                        (token, at) = (after_star, next);
                    }
                    None => return false,
                },
            }
        }
        self.tokens[token..]
            .iter()
            .all(|token| *token == Token::Star)
    }

    /// Whether a path is, or is below, what the pattern names folder by folder. `**` stands for any
    /// number of folders.
    pub(super) fn matches_path(&self, path: &str) -> bool {
        let pattern: Vec<Self> = components(&self.text).map(Self::new).collect();
        let path: Vec<&str> = components(path).collect();
        is_prefix(&pattern, &path)
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::Any => true,
            Self::Char(wanted) => *wanted == c,
            Self::OneOf { is_negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *is_negated
            }
        }
    }
}

/// What stands in brackets, after the first of them, and what follows.
fn set(chars: &[char]) -> Option<(Token, &[char])> {
    let (is_negated, chars) = match chars {
        ['!', after @ ..] => (true, after),
        _ => (false, chars),
    };
    // A bracket that closes at once is one of the characters.
    let end = 1 + chars.iter().skip(1).position(|c| *c == ']')?;
    let mut ranges = Vec::new();
    let mut rest = &chars[..end];
    while let [from, after @ ..] = rest {
        let (to, after) = match after {
            ['-', to, after @ ..] => (to, after),
            _ => (from, after),
        };
        ranges.push((*from, *to));
        rest = after;
    }
    Some((Token::OneOf { is_negated, ranges }, &chars[end + 1..]))
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
}

fn is_prefix(pattern: &[Pattern], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], _) => true,
        ([first, rest @ ..], _) if first.text == "**" => {
            (0..=path.len()).any(|n| is_prefix(rest, &path[n..]))
        }
        (_, []) => false,
        ([first, pattern @ ..], [name, path @ ..]) => {
            first.matches(name) && is_prefix(pattern, path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_brackets_match_as_in_a_shell() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(
                Pattern::new(pattern).matches(name),
                expected,
                "{pattern} {name}"
            );
        };
        check("items", "items", true);
        check("items", "items_2", false);
        check("*", "", true);
        check("stg_*", "stg_", true);
        check("stg_*", "a_stg_b", false);
        check("*_a*b", "x_a_abb", true);
        check("*_a*b", "x_a_abc", false);
        check("item?", "items", true);
        check("item?", "item", false);
        check("v[0-9a]", "v7", true);
        check("v[0-9a]", "vb", false);
        check("v[!0-9]", "vb", true);
        check("v[!0-9]", "v7", false);
        check("v[]x]", "v]", true);
        check("v[", "v[", true);
        check("h?t", "höt", true);
    }

    #[test]
    fn a_path_is_matched_folder_by_folder() {
        let check = |pattern: &str, path: &str, expected: bool| {
            let found = Pattern::new(pattern).matches_path(path);
            assert_eq!(found, expected, "{pattern} {path}");
        };
        check("models", "models/staging/a.sql", true);
        check("./models/staging/", "models/staging/a.sql", true);
        check("models/stag", "models/staging/a.sql", false);
        check("models/*/a.sql", "models/staging/a.sql", true);
        check("models/*.sql", "models/staging/a.sql", false);
        check("models/**/*.sql", "models/x/y/a.sql", true);
        check("**/y", "models/x/y/a.sql", true);
        check("models/staging/a.sql/b", "models/staging/a.sql", false);
    }
}
