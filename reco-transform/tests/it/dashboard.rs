//! The page that says how the shop is doing.

use reco_core::{EventKind, Timestamp};
use reco_transform::{
    Dag, Dashboard, DashboardConfig, Error, Funnel, Granularity, ItemNames, Kpi, Materialization,
    PopularityByWindow, Warehouse, not_null, row_count,
};

use crate::shop::{event, source};

const DAY: i64 = 24 * 60;
const HOSTILE: &str = "<img src=//example.org onerror=alert(1)>\"'&";

/// Two weeks, each day of which has more sessions than the one before; one of them buys.
fn shop() -> Dag {
    let mut events = Vec::new();
    for day in 0..14 {
        for session in 0..=day {
            let minute = day * DAY + 9 * 60 + session;
            let mut add = |id: &str, kind, item: Option<&str>| {
                let id = format!("{day}-{session}-{id}");
                let mut event = event(&id, &format!("client-{session}"), minute, item);
                event.kind = kind;
                event.session = Some(format!("{day}-{session}"));
                event.currency = Some("EUR".to_owned());
                event.tenant = if session == 0 { "a" } else { "b" }.to_owned();
                event.query = (kind == EventKind::Search).then(|| HOSTILE.to_owned());
                events.push(event);
            };
            add("1", EventKind::Search, None);
            add(
                "2",
                EventKind::Detail,
                Some(if session % 2 == 0 { "hat" } else { "scarf" }),
            );
            if session == 0 {
                add("3", EventKind::Add, Some("hat"));
                add("4", EventKind::Purchase, Some("hat"));
            }
        }
    }
    let hourly = Kpi {
        granularity: Granularity::Hour,
        output: "kpi_hourly".into(),
        ..Kpi::default()
    };
    let popularity = PopularityByWindow {
        input: "sessions".into(),
        ..PopularityByWindow::default()
    };
    Dag::builder()
        .source("events", source(&events))
        .sql("sessions", "select * from events")
        .step(Kpi::default())
        .step(hourly)
        .step(Funnel::default())
        .step(popularity)
        .sql("searches", "select tenant_id, query, count(*) as n_searches from sessions where kind = 'search' group by tenant_id, query")
        .sql("names", format!("select 'hat' as sku, '{}' as title", HOSTILE.replace('\'', "''")))
        .materialize_others(Materialization::Delta)
        .expect("sessions", not_null("session_id"))
        .expect("searches", row_count(..1).warn())
        .build()
        .unwrap()
}

fn config() -> DashboardConfig {
    DashboardConfig {
        item_names: Some(ItemNames {
            table: "names".into(),
            item: "sku".into(),
            name: "title".into(),
        }),
        ..DashboardConfig::default()
    }
}

async fn page(warehouse: &Warehouse, config: DashboardConfig) -> Dashboard {
    let catalog = warehouse.catalog().await.unwrap();
    Dashboard::read(&catalog, config).await.unwrap()
}

#[tokio::test]
async fn a_page_says_how_the_shop_is_doing() {
    let warehouse = Warehouse::in_memory();
    shop().run(&warehouse).await.unwrap();
    let html = page(&warehouse, config()).await.title("A & B").to_html();
    for expected in [
        "<title>A &amp; B</title>",
        "Environment prod · 1 January 1970 to 14 January 1970",
        // 8 + … + 14 sessions after 1 + … + 7, an order of 9.50 a day.
        "<h2>Sessions</h2><p class=\"value\">77</p><p class=\"change rise\">▲ 175.0\u{2009}%",
        "<h2>Orders</h2><p class=\"value\">7</p><p class=\"change same\">",
        "<h2>Revenue</h2><p class=\"value\">66.50\u{2009}EUR</p>",
        "<h2>Conversion</h2><p class=\"value\">9.09\u{2009}%</p><p class=\"change fall\">",
        // The chart of sessions, and its numbers.
        "Sessions from Thu 1 Jan 1970 to Wed 14 Jan 1970: 14 at the end, at most 14 on Wed 14 Jan 1970",
        "<tr><th scope=\"row\">Wed 14 Jan 1970</th><td class=\"n\">14</td></tr>",
        // The hours: Wednesdays at nine have 7 and 14.
        "title=\"Wed 09:00: 11\"",
        // The funnel of the last seven days.
        "<b>detail</b> <span class=\"n\">77</span>",
        "<b>purchase</b> <span class=\"n\">7</span>",
        "&lt;img src=//example.org onerror=alert(1)&gt;&quot;&#39;&amp;",
        "Run 1 succeeded",
        "title=\"searches in run 1: warned, 0 of 1 checks met",
    ] {
        assert!(html.contains(expected), "no `{expected}` in\n{html}");
    }
    // Nothing is loaded, nothing runs, and text stays text.
    for never in [
        "<script", "<img", "<link", "url(", "@import", "href=", "src=\"", "onload=",
    ] {
        assert!(!html.contains(never), "{never}");
    }
    assert!(html.contains("default-src 'none';style-src 'unsafe-inline'\""));
    assert_eq!(
        html,
        page(&warehouse, config()).await.title("A & B").to_html()
    );
}

#[tokio::test]
async fn a_tenant_is_shown_alone_and_days_that_are_not_over_are_not() {
    let warehouse = Warehouse::in_memory();
    shop().run(&warehouse).await.unwrap();
    let of_a = DashboardConfig {
        tenant: Some("a".into()),
        ..config()
    };
    let html = page(&warehouse, of_a).await.to_html();
    assert!(
        html.contains("<h2>Sessions</h2><p class=\"value\">7</p>"),
        "{html}"
    );
    let noon = Timestamp::from_second((13 * DAY + 12 * 60) * 60).unwrap();
    let html = page(&warehouse, config()).await.as_of(noon).to_html();
    assert!(
        html.contains("to 13 January 1970")
            && html.contains("<h2>Sessions</h2><p class=\"value\">70</p>"),
        "{html}"
    );
    // In another zone, days have other names.
    let rome = DashboardConfig {
        time_zone: "Asia/Tokyo".into(),
        ..config()
    };
    let html = page(&warehouse, rome).await.to_html();
    assert!(html.contains("title=\"Wed 18:00: 11\""), "{html}");
}

#[tokio::test]
async fn what_is_not_published_is_named() {
    let warehouse = Warehouse::in_memory();
    let html = page(
        &warehouse,
        DashboardConfig {
            kpi: Some("figures".into()),
            ..config()
        },
    )
    .await
    .to_html();
    for expected in [
        "The table <b>figures</b> is not published",
        "No run is recorded yet",
        "Nothing is published yet",
    ] {
        assert!(html.contains(expected), "no `{expected}` in\n{html}");
    }
    // A table that is something else says which column is missing.
    let other = Dag::builder()
        .sql("kpi", "select 1 as n")
        .materialize_others(Materialization::Delta);
    other.build().unwrap().run(&warehouse).await.unwrap();
    let catalog = warehouse.catalog().await.unwrap();
    let error = Dashboard::read(&catalog, config()).await.unwrap_err();
    assert!(matches!(error, Error::Query { .. }), "{error:?}");
}
