//! The panels that are about the shop.

use std::fmt::Write as _;

use jiff::civil::DateTime;

use super::chart::{Chart, Kind, spark};
use super::figures::{count, money, percent, percent_short, short};
use super::model::{Panel, Stage, Window};
use crate::html::escaped;

/// How many days are compared with as many before.
const WEEK: usize = 7;

/// A panel with a heading, over one or two columns.
pub(super) fn card(class: &str, title: &str, note: &str, content: &str) -> String {
    let (title, note) = (escaped(title), escaped(note));
    let note = if note.is_empty() {
        note
    } else {
        format!("<p class=\"note\">{note}</p>")
    };
    format!("<section class=\"card {class}\"><h2>{title}</h2>{note}{content}</section>\n")
}

/// A panel of a table, or of that it is missing.
pub(super) fn of_table<T>(
    class: &str,
    title: &str,
    panel: Option<&Panel<T>>,
    draw: impl Fn(&T) -> String,
) -> String {
    match panel {
        None => String::new(),
        Some(Panel::Rows(rows)) => draw(rows),
        Some(Panel::Missing(table)) => {
            let text = format!(
                "<p class=\"empty\">The table <b>{}</b> is not published.</p>",
                escaped(table)
            );
            card(class, title, "", &text)
        }
    }
}

pub(super) fn empty(class: &str, title: &str) -> String {
    card(
        class,
        title,
        "",
        "<p class=\"empty\">There are no rows yet.</p>",
    )
}

/// The figures of the last week beside those of the week before.
pub(super) fn tiles(days: &[Window]) -> String {
    let (now, before) = weeks(days);
    if now.is_empty() {
        return empty("wide", "The last days");
    }
    let currency = currency(days);
    let sum = |of: fn(&Window) -> f64, days: &[Window]| Some(days.iter().map(of).sum::<f64>());
    let conversion = |days: &[Window]| {
        share(
            sum(|day| day.n_converted, days),
            sum(|day| day.n_sessions, days),
        )
    };
    let revenue = |days: &[Window]| days.iter().map(|day| day.revenue).sum::<Option<f64>>();
    let aov = |days: &[Window]| share(revenue(days), sum(|day| day.n_orders, days));
    let money = |value| money(value, currency.as_deref());
    let sessions = |days: &[Window]| sum(|day| day.n_sessions, days);
    let orders = |days: &[Window]| sum(|day| day.n_orders, days);
    let tile = |name: &str,
                of: &dyn Fn(&[Window]) -> Option<f64>,
                format: &dyn Fn(f64) -> String| {
        let value = of(now);
        let trend: Vec<Option<f64>> = days
            .iter()
            .map(|day| of(std::slice::from_ref(day)))
            .collect();
        let change = if before.len() == now.len() {
            change(value, of(before))
        } else {
            String::new()
        };
        format!(
            "<section class=\"tile\"><h2>{name}</h2><p class=\"value\">{}</p>{change}{}</section>\n",
            value.map_or_else(|| "–".to_owned(), format),
            spark(&trend),
        )
    };
    [
        tile("Sessions", &sessions, &count),
        tile("Conversion", &conversion, &percent),
        tile("Orders", &orders, &count),
        tile("Revenue", &revenue, &money),
        tile("Average order", &aov, &money),
    ]
    .concat()
}

/// The last days, a week at most, and as many before them.
fn weeks(days: &[Window]) -> (&[Window], &[Window]) {
    let (before, now) = days.split_at(days.len().saturating_sub(WEEK));
    (now, &before[before.len().saturating_sub(now.len())..])
}

fn share(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    let whole = whole.filter(|whole| *whole > 0.0)?;
    Some(part? / whole)
}

/// How much a figure changed, with a sign for those who do not see colours.
fn change(now: Option<f64>, before: Option<f64>) -> String {
    let Some(change) = share(now, before) else {
        return String::new();
    };
    let change = change - 1.0;
    let (class, sign) = match change {
        0.0005.. => ("rise", "▲"),
        ..-0.0005 => ("fall", "▼"),
        _ => ("same", "="),
    };
    let text = percent(change.abs());
    format!("<p class=\"change {class}\">{sign} {text} <span>in a week</span></p>")
}

fn currency(windows: &[Window]) -> Option<String> {
    windows
        .iter()
        .rev()
        .find_map(|window| window.currency.clone())
}

fn locals(windows: &[Window]) -> Vec<DateTime> {
    windows.iter().map(|window| window.local).collect()
}

/// Revenue, sessions and conversion, day by day.
pub(super) fn by_day(days: &[Window]) -> String {
    if days.is_empty() {
        return empty("wide", "Day by day");
    }
    let times = locals(days);
    let currency = currency(days);
    let chart = |title: &str,
                 class: &str,
                 kind,
                 of: &dyn Fn(&Window) -> Option<f64>,
                 format: &dyn Fn(f64) -> String,
                 short: &dyn Fn(f64) -> String| {
        let values: Vec<Option<f64>> = days.iter().map(of).collect();
        let chart = Chart {
            label: title,
            kind,
            times: &times,
            values: &values,
            format,
            short,
        };
        card(class, title, "", &chart.to_html())
    };
    let of_money = |value| money(value, currency.as_deref());
    let title = currency.as_deref().map_or_else(
        || "Revenue".to_owned(),
        |currency| format!("Revenue, {currency}"),
    );
    [
        chart(
            &title,
            "wide",
            Kind::Bars,
            &|day| day.revenue,
            &of_money,
            &short,
        ),
        chart(
            "Sessions",
            "",
            Kind::Line,
            &|day| Some(day.n_sessions),
            &count,
            &short,
        ),
        chart(
            "Conversion",
            "",
            Kind::Line,
            &Window::conversion,
            &percent,
            &percent_short,
        ),
    ]
    .concat()
}

/// How many sessions the hours of the week have, as the mean of the weeks that are there.
pub(super) fn by_hour(hours: &[Window]) -> String {
    let title = "When people come";
    if hours.is_empty() {
        return empty("", title);
    }
    let mut sums = [[(0.0, 0_u32); 24]; 7];
    for window in hours {
        let weekday = usize::from(
            window
                .local
                .weekday()
                .to_monday_zero_offset()
                .unsigned_abs(),
        );
        let hour = usize::from(window.local.hour().unsigned_abs());
        let (sum, n) = &mut sums[weekday][hour];
        *sum += window.n_sessions;
        *n += 1;
    }
    let mean = |(sum, n): (f64, u32)| if n == 0 { 0.0 } else { sum / f64::from(n) };
    let most = sums
        .iter()
        .flatten()
        .map(|cell| mean(*cell))
        .fold(0.0, f64::max)
        .max(1.0);
    let mut rows = String::new();
    for (weekday, cells) in ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
        .iter()
        .zip(&sums)
    {
        _ = write!(rows, "<tr><th scope=\"row\">{weekday}</th>");
        for (hour, cell) in cells.iter().enumerate() {
            let value = mean(*cell);
            // The square root tells small numbers apart, and is still in order.
            let heat = (value / most).sqrt() * 100.0;
            _ = write!(
                rows,
                "<td style=\"--heat:{heat:.0}%\" title=\"{weekday} {hour:02}:00: {0}\"><span>{0}</span></td>",
                count(value)
            );
        }
        rows += "</tr>";
    }
    let heads = (0..24).map(|hour| {
        let shown = if hour % 6 == 0 {
            format!("{hour:02}")
        } else {
            format!("<span>{hour:02}</span>")
        };
        format!("<th scope=\"col\">{shown}</th>")
    });
    let heads: String = heads.collect();
    let table = format!(
        "<table class=\"heat\"><thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    );
    card(
        "",
        title,
        "Sessions by hour of the week, on average",
        &table,
    )
}

/// How many sessions got how far.
pub(super) fn funnel(stages: &[Stage]) -> String {
    let title = "From visit to purchase";
    let Some(all) = stages.first().filter(|all| all.n_sessions > 0.0) else {
        return empty("", title);
    };
    let mut rows = String::new();
    let mut before = None;
    for stage in stages {
        let width = stage.n_sessions / all.n_sessions * 100.0;
        let step = before.and_then(|before| share(Some(stage.n_sessions), Some(before)));
        let step = step.map_or_else(String::new, |step| {
            format!("{} of the step before", percent(step))
        });
        _ = write!(
            rows,
            "<li><p><b>{}</b> <span class=\"n\">{}</span> <span class=\"faint\">{step}</span></p><div class=\"track\"><div style=\"width:{width:.2}%\"></div></div></li>",
            escaped(&stage.name),
            count(stage.n_sessions),
        );
        before = Some(stage.n_sessions);
    }
    let note = "Sessions of the last week, by how far they got";
    card(
        "",
        title,
        note,
        &format!("<ol class=\"funnel\">{rows}</ol>"),
    )
}

#[cfg(test)]
mod tests {
    use reco_core::Timestamp;

    use super::*;

    fn day(n: u8, n_sessions: f64, revenue: Option<f64>) -> Window {
        Window {
            start: Timestamp::UNIX_EPOCH,
            local: jiff::civil::date(2024, 5, n.cast_signed()).at(0, 0, 0, 0),
            n_sessions,
            n_orders: 2.0,
            n_converted: 1.0,
            revenue,
            currency: revenue.map(|_| "EUR".to_owned()),
        }
    }

    #[test]
    fn a_week_is_compared_with_the_one_before() {
        let days: Vec<Window> = (1..=14)
            .map(|n| day(n, if n > 7 { 20.0 } else { 10.0 }, Some(5.0)))
            .collect();
        let html = tiles(&days);
        assert!(html.contains("<h2>Sessions</h2><p class=\"value\">140</p><p class=\"change rise\">▲ 100.0\u{2009}%"), "{html}");
        assert!(html.contains("<h2>Conversion</h2><p class=\"value\">5.00\u{2009}%</p><p class=\"change fall\">▼ 50.0\u{2009}%"));
        assert!(html.contains(
            "<h2>Average order</h2><p class=\"value\">2.50\u{2009}EUR</p><p class=\"change same\">="
        ));
        // Of fewer than two weeks nothing is compared but what there is twice.
        assert!(!tiles(&days[..10]).contains("change"));
        // Two currencies make no sum.
        let mut mixed = days;
        mixed[13].revenue = None;
        assert!(tiles(&mixed).contains("<h2>Revenue</h2><p class=\"value\">–</p>"));
    }
}
