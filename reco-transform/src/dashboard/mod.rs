//! [`Dashboard`]: how the shop is doing, as a page.
//!
//! ```text
//! Kpi, Funnel, PopularityByWindow ──▶ published tables ─┐
//! runs and their checks ──▶ the warehouse's catalogue ──┴─read──▶ Dashboard ──▶ HTML
//! ```
//!
//! What is shown is what is published: the dashboard computes no figure that a step does not, and so it
//! cannot say anything else than the tables that others read.

mod chart;
mod figures;
mod model;
mod quality;
mod ranking;
mod read;
mod rows;
mod shop;

use std::num::NonZeroUsize;

use reco_core::Timestamp;
use serde::{Deserialize, Serialize};

use self::model::{Model, Panel};
use crate::error::Result;
use crate::html::{Shell, age, escaped};
use crate::warehouse::Catalog;

const CSS: &str = include_str!("dashboard.css");

/// How the shop is doing, as a page in HTML; made by [`Dashboard::read`].
///
/// The last days beside the days before, revenue, sessions and conversion day by day, when people come, how
/// far they get, what they look at and search for, what was checked in the last runs, and how old the
/// tables are. It is one file that needs nothing else: no network, no script; its security policy lets a
/// browser load and run nothing. It is light or dark as the reader's system is, fits a phone, says in words
/// what its charts show, and holds their numbers. The same tables make the same page.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::{Dag, Dashboard, DashboardConfig, Materialization, Warehouse};
///
/// let warehouse = Warehouse::in_memory();
/// let dag = Dag::builder()
///     .sql("searches", "select 'hat' as query, 3 as n_searches")
///     .materialize_others(Materialization::Delta)
///     .build()?;
/// dag.run(&warehouse).await?;
///
/// let only_searches = DashboardConfig {
///     kpi: None,
///     kpi_hourly: None,
///     funnel: None,
///     popularity: None,
///     ..Default::default()
/// };
/// let dashboard = Dashboard::read(&warehouse.catalog().await?, only_searches).await?;
/// assert!(dashboard.title("Hats").to_html().starts_with("<!doctype html>"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Dashboard {
    title: String,
    environment: String,
    as_of: Option<Timestamp>,
    model: Model,
}

/// Which tables a [`Dashboard`] reads, and how much of them.
///
/// A table that is `None` is not shown; of one that is not published, the page says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DashboardConfig {
    /// Figures by day, as [`Kpi`](crate::Kpi) makes them. Default `kpi`.
    pub kpi: Option<String>,
    /// Figures by hour, as [`Kpi`](crate::Kpi) makes them. Default `kpi_hourly`.
    pub kpi_hourly: Option<String>,
    /// How far sessions get, by day, as [`Funnel`](crate::Funnel) makes it. Default `funnel`.
    pub funnel: Option<String>,
    /// What is looked at, as [`PopularityByWindow`](crate::PopularityByWindow) makes it. Default
    /// `popularity`.
    pub popularity: Option<String>,
    /// What is searched for: a table with `query` and `n_searches`, a row for each. Default `searches`.
    pub searches: Option<String>,
    /// A table of items with the names to show: its name, the column of the item and that of the name.
    /// Default none, which shows the ids.
    pub item_names: Option<ItemNames>,
    /// The tenant that is shown; its tables must have the column `tenant_id`. Default none: all together.
    pub tenant: Option<String>,
    /// The zone in which days and hours are named: that of the steps. Default `UTC`.
    pub time_zone: String,
    /// How many days are shown, back from the last one. Default 42.
    pub n_days: NonZeroUsize,
    /// How many items and search terms are shown. Default 12.
    pub n_ranked: NonZeroUsize,
    /// How many runs are shown. Default 24.
    pub n_runs: NonZeroUsize,
}

/// Where the names of items are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemNames {
    /// The table.
    pub table: String,
    /// The column with the id of the item, each once.
    pub item: String,
    /// The column with its name.
    pub name: String,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        let table = |name: &str| Some(name.to_owned());
        Self {
            kpi: table("kpi"),
            kpi_hourly: table("kpi_hourly"),
            funnel: table("funnel"),
            popularity: table("popularity"),
            searches: table("searches"),
            item_names: None,
            tenant: None,
            time_zone: "UTC".to_owned(),
            n_days: const { NonZeroUsize::new(42).expect("42 is not 0") },
            n_ranked: const { NonZeroUsize::new(12).expect("12 is not 0") },
            n_runs: const { NonZeroUsize::new(24).expect("24 is not 0") },
        }
    }
}

impl Dashboard {
    /// Reads what is to be shown.
    ///
    /// # Errors
    ///
    /// [`Error::Query`](crate::Error::Query) if a table is not as the step makes it,
    /// [`Error::Read`](crate::Error::Read) if its rows cannot be read, [`Error::Environment`](crate::Error::Environment)
    /// or [`Error::RunRecord`](crate::Error::RunRecord).
    pub async fn read(catalog: &Catalog, config: DashboardConfig) -> Result<Self> {
        Ok(Self {
            title: "Shop".to_owned(),
            environment: catalog.environment().to_owned(),
            as_of: None,
            model: read::read(catalog, &config).await?,
        })
    }

    /// The same page under another title. Default `Shop`.
    #[must_use]
    pub fn title(self, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..self
        }
    }

    /// The same page as of a time: it says how old things are, and leaves out days and hours that are not
    /// over.
    #[must_use]
    pub fn as_of(mut self, now: Timestamp) -> Self {
        self.as_of = Some(now);
        for (panel, hours) in [(&mut self.model.days, 24), (&mut self.model.hours, 1)] {
            if let Some(Panel::Rows(windows)) = panel {
                windows.retain(|window| {
                    let age = now.as_second() - window.start.as_second();
                    age >= hours * 3600
                });
            }
        }
        self
    }

    /// The page.
    #[must_use]
    pub fn to_html(&self) -> String {
        let model = &self.model;
        let tiles = shop::of_table("wide", "The last days", model.days.as_ref(), |days| {
            shop::tiles(days)
        });
        let panels = [
            shop::of_table("wide", "Day by day", model.days.as_ref(), |days| {
                shop::by_day(days)
            }),
            shop::of_table("", "When people come", model.hours.as_ref(), |hours| {
                shop::by_hour(hours)
            }),
            shop::of_table(
                "",
                "From visit to purchase",
                model.funnel.as_ref(),
                |stages| shop::funnel(stages),
            ),
            shop::of_table("", "Most looked at", model.items.as_ref(), |items| {
                ranking::ranking(
                    "Most looked at",
                    "In the last window, with those before",
                    items,
                )
            }),
            shop::of_table("", "Most searched for", model.searches.as_ref(), |terms| {
                ranking::ranking(
                    "Most searched for",
                    "Search terms by how often they were sent",
                    terms,
                )
            }),
            quality::history(&model.runs, self.as_of),
            quality::freshness(&model.tables, self.as_of),
        ];
        let title = escaped(&self.title);
        let about = escaped(&self.about());
        let body = format!(
            "<header><h1>{title}</h1><p>{about}</p></header>\n<main>\n<div class=\"tiles wide\">{tiles}</div>\n{}</main>",
            panels.concat()
        );
        let shell = Shell {
            title: &self.title,
            css: CSS,
            body: &body,
            script: None,
        };
        shell.to_html()
    }

    /// What the page is of, in a line.
    fn about(&self) -> String {
        let mut about = vec![format!("Environment {}", self.environment)];
        if let Some(Panel::Rows(days)) = &self.model.days
            && let (Some(first), Some(last)) = (days.first(), days.last())
        {
            let name = |time: jiff::civil::DateTime| time.strftime("%-d %B %Y").to_string();
            about.push(format!("{} to {}", name(first.local), name(last.local)));
        }
        let newest = self
            .model
            .tables
            .iter()
            .map(|table| table.published_at)
            .max();
        if let (Some(newest), Some(now)) = (newest, self.as_of) {
            about.push(format!("newest table {}", age(newest, now)));
        }
        about.join(" · ")
    }
}
