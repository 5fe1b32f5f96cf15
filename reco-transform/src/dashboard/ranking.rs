//! The panels of what is looked at and searched for.

use std::fmt::Write as _;

use super::chart::spark;
use super::figures::count;
use super::model::Ranked;
use super::shop::{card, empty};
use crate::html::escaped;

/// Items or search terms, the most frequent first.
pub(super) fn ranking(title: &str, note: &str, ranked: &[Ranked]) -> String {
    let Some(most) = ranked.first().map(|first| first.n.max(1.0)) else {
        return empty("", title);
    };
    let has_trend = ranked.iter().any(|ranked| ranked.trend.len() > 1);
    let has_before = ranked.iter().any(|ranked| ranked.rank_before.is_some());
    let mut rows = String::new();
    for (rank, item) in (1_u64..).zip(ranked) {
        let name = escaped(&item.name);
        let width = item.n / most * 100.0;
        let trend: Vec<Option<f64>> = item.trend.iter().copied().map(Some).collect();
        let trend = if has_trend {
            format!("<td class=\"trend\">{}</td>", spark(&trend))
        } else {
            String::new()
        };
        let moved = if has_before {
            moved(rank, item.rank_before)
        } else {
            String::new()
        };
        _ = write!(
            rows,
            "<tr><td class=\"n faint\">{rank}</td>{moved}<th scope=\"row\"><span>{name}</span><div class=\"track\"><div style=\"width:{width:.2}%\"></div></div></th>{trend}<td class=\"n\">{}</td></tr>",
            count(item.n),
        );
    }
    card(
        "",
        title,
        note,
        &format!("<table class=\"ranking\">{rows}</table>"),
    )
}

fn moved(rank: u64, before: Option<u64>) -> String {
    let (class, text, said) = match before {
        None => ("new", "new".to_owned(), "new".to_owned()),
        Some(before) if before > rank => (
            "rise",
            format!("▲{}", before - rank),
            format!("up {}", before - rank),
        ),
        Some(before) if before < rank => (
            "fall",
            format!("▼{}", rank - before),
            format!("down {}", rank - before),
        ),
        Some(_) => ("same", "=".to_owned(), "no change".to_owned()),
    };
    format!("<td class=\"moved {class}\" title=\"{said} on the window before\">{text}</td>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_and_ranks_move() {
        let ranked = |name: &str, n, rank_before| Ranked {
            name: name.to_owned(),
            n,
            trend: vec![n],
            rank_before,
        };
        let html = ranking(
            "Top",
            "",
            &[
                ranked("<b>", 4.0, Some(2)),
                ranked("b", 2.0, Some(1)),
                ranked("c", 1.0, None),
            ],
        );
        assert!(
            html.contains("&lt;b&gt;") && !html.contains("<b>"),
            "{html}"
        );
        for sign in ["▲1", "▼1", ">new<"] {
            assert!(html.contains(sign), "{sign}");
        }
        assert!(ranking("Top", "", &[]).contains("no rows yet"));
    }
}
