//! Reads what a dashboard shows.

use std::collections::BTreeMap;

use datafusion::error::Result as EngineResult;

use super::DashboardConfig;
use super::model::{Check, Model, Outcome, Panel, Ranked, Run, Stage, Table, Verdict, Window};
use super::rows::Rows;
use crate::error::{Error, Result};
use crate::warehouse::Catalog;

/// How many windows before the last one a trend goes back.
const N_TREND: usize = 13;
/// How many weeks the hours of the week are the mean of.
const HOURS: usize = 4 * 7 * 24;

pub(super) async fn read(catalog: &Catalog, config: &DashboardConfig) -> Result<Model> {
    let reader = Reader { catalog, config };
    let model = Model {
        days: reader
            .windows(config.kpi.as_deref(), config.n_days.get())
            .await?,
        hours: reader.windows(config.kpi_hourly.as_deref(), HOURS).await?,
        funnel: reader.funnel().await?,
        items: reader.items().await?,
        searches: reader.searches().await?,
        runs: reader.runs().await?,
        tables: reader.tables().await?,
    };
    Ok(model)
}

struct Reader<'a> {
    catalog: &'a Catalog,
    config: &'a DashboardConfig,
}

impl Reader<'_> {
    /// The rows of a panel, if its table is published.
    async fn panel<T>(
        &self,
        table: Option<&str>,
        read: impl AsyncFnOnce(&str) -> Result<T>,
    ) -> Result<Option<Panel<T>>> {
        let Some(table) = table else { return Ok(None) };
        if self
            .catalog
            .tables()
            .iter()
            .any(|published| published == table)
        {
            return Ok(Some(Panel::Rows(read(table).await?)));
        }
        Ok(Some(Panel::Missing(table.to_owned())))
    }

    async fn rows(&self, table: &str, query: &str) -> Result<Rows> {
        let frame = self.catalog.sql(query).await?;
        let batches = frame.collect().await;
        let failed = |source| Error::Read {
            table: table.to_owned(),
            source,
        };
        let batches = batches.map_err(failed)?;
        Ok(Rows { batches })
    }

    fn of_tenant(&self) -> String {
        let tenant = self.config.tenant.as_ref();
        tenant.map_or_else(String::new, |tenant| {
            format!("where tenant_id = {}", literal(tenant))
        })
    }

    async fn windows(&self, table: Option<&str>, n: usize) -> Result<Option<Panel<Vec<Window>>>> {
        self.panel(table, async |table| {
            let zone = literal(&format!(
                "Timestamp(µs, \"{}\")",
                self.config.time_zone.replace('"', "")
            ));
            // Tenants together. Money of several currencies makes no sum.
            let query = format!(
                "select window_start, to_local_time(arrow_cast(window_start, {zone})) as local,
                   sum(n_sessions) as n_sessions, sum(n_orders) as n_orders,
                   sum(coalesce(conversion_rate, 0) * n_sessions) as n_converted,
                   case when count(distinct currency) > 1 or bool_or(revenue is null) then null
                        else sum(revenue) end as revenue,
                   case when count(distinct currency) = 1 then min(currency) end as currency
                 from {} {} group by window_start order by window_start desc limit {n}",
                quoted(table),
                self.of_tenant(),
            );
            let rows = self.rows(table, &query).await?;
            let mut windows = rows.map(table, |row| {
                Ok(Window {
                    start: row.time("window_start")?,
                    local: row.local("local")?,
                    n_sessions: row.number("n_sessions")?.unwrap_or(0.0),
                    n_orders: row.number("n_orders")?.unwrap_or(0.0),
                    n_converted: row.number("n_converted")?.unwrap_or(0.0),
                    revenue: row.number("revenue")?,
                    currency: row.text("currency")?,
                })
            })?;
            windows.reverse();
            Ok(windows)
        })
        .await
    }

    /// The stages of the last week, whatever they are called.
    async fn funnel(&self) -> Result<Option<Panel<Vec<Stage>>>> {
        self.panel(self.config.funnel.as_deref(), async |table| {
            let name = quoted(table);
            let schema = self.catalog.sql(&format!("select * from {name}")).await?;
            let counts = schema.schema().fields().iter().map(|field| field.name());
            let stages: Vec<&str> = counts.filter_map(|column| column.strip_prefix("n_")).collect();
            let sums: Vec<String> = stages.iter().map(|stage| format!("sum({0}) as {0}", quoted(&format!("n_{stage}")))).collect();
            let query = format!(
                "select {} from (
                   select * from {name} {} {} window_start > (select max(window_start) from {name}) - interval '7 days'
                 ) as week",
                sums.join(", "), self.of_tenant(),
                if self.config.tenant.is_some() { "and" } else { "where" },
            );
            let rows = self.rows(table, &query).await?;
            let of_row = rows.map(table, |row| {
                let stages = stages.iter().map(|stage| {
                    let n_sessions = row.number(&format!("n_{stage}"))?.unwrap_or(0.0);
                    Ok(Stage { name: (*stage).to_owned(), n_sessions })
                });
                stages.collect::<EngineResult<Vec<_>>>()
            })?;
            Ok(of_row.into_iter().flatten().collect())
        })
        .await
    }

    async fn items(&self) -> Result<Option<Panel<Vec<Ranked>>>> {
        self.panel(self.config.popularity.as_deref(), async |table| {
            let name = quoted(table);
            let query = format!(
                "select cast(item_id as varchar) as item_id, age, cast(sum(n_interactions) as double) as n
                 from (select *, dense_rank() over (order by window_start desc) as age from {name} {}) as windows
                 where age <= {} group by item_id, age order by age, n desc, item_id",
                self.of_tenant(), N_TREND + 1,
            );
            let rows = self.rows(table, &query).await?;
            let counts = rows.map(table, |row| {
                let (item, age) = (row.text("item_id")?, row.number("age")?);
                Ok((item.unwrap_or_default(), age.unwrap_or(0.0), row.number("n")?.unwrap_or(0.0)))
            })?;
            let mut ranked = rank(&counts, self.config.n_ranked.get());
            self.name(&mut ranked).await?;
            Ok(ranked)
        })
        .await
    }

    /// Puts names in place of ids, where there are any.
    async fn name(&self, ranked: &mut [Ranked]) -> Result<()> {
        let Some(names) = &self.config.item_names else {
            return Ok(());
        };
        let ids: Vec<String> = ranked.iter().map(|ranked| literal(&ranked.name)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let item = format!("cast({} as varchar)", quoted(&names.item));
        let query = format!(
            "select {item} as item, cast({} as varchar) as name from {} where {item} in ({})",
            quoted(&names.name),
            quoted(&names.table),
            ids.join(", "),
        );
        let rows = self.rows(&names.table, &query).await?;
        let names = rows.map(&names.table, |row| {
            Ok((row.text("item")?, row.text("name")?))
        })?;
        let names: BTreeMap<_, _> = names
            .into_iter()
            .filter_map(|(item, name)| Some((item?, name?)))
            .collect();
        for ranked in ranked {
            if let Some(name) = names.get(&ranked.name) {
                ranked.name.clone_from(name);
            }
        }
        Ok(())
    }

    async fn searches(&self) -> Result<Option<Panel<Vec<Ranked>>>> {
        self.panel(self.config.searches.as_deref(), async |table| {
            let query = format!(
                "select cast(query as varchar) as query, cast(sum(n_searches) as double) as n from {} {}
                 group by query order by n desc, query limit {}",
                quoted(table), self.of_tenant(), self.config.n_ranked,
            );
            let rows = self.rows(table, &query).await?;
            rows.map(table, |row| {
                Ok(Ranked {
                    name: row.text("query")?.unwrap_or_default(),
                    n: row.number("n")?.unwrap_or(0.0),
                    trend: Vec::new(),
                    rank_before: None,
                })
            })
        })
        .await
    }

    async fn runs(&self) -> Result<Vec<Run>> {
        let environment = literal(self.catalog.environment());
        let last = format!(
            "select * from reco.runs where environment = {environment} order by number desc limit {}",
            self.config.n_runs,
        );
        let rows = self.rows("reco.runs", &last).await?;
        let mut runs: Vec<(String, Run)> = rows.map("reco.runs", |row| {
            let number = row.whole("number")?;
            let run = Run {
                number,
                ended_at: row.time("ended_at")?,
                seconds: row.number("duration_s")?.unwrap_or(0.0),
                succeeded: row.text("status")?.as_deref() == Some("succeeded"),
                error: row.text("error")?,
                tables: Vec::new(),
            };
            Ok((row.text("run_id")?.unwrap_or_default(), run))
        })?;
        runs.reverse();
        let of_last = |columns: &str, table: &str| {
            format!(
                "select {columns} from {table} where run_id in (select run_id from ({last}) as last)"
            )
        };
        let query = of_last("run_id, table_name, status", "reco.run_tables");
        let tables = self.rows("reco.run_tables", &query).await?;
        let tables = tables.map("reco.run_tables", |row| {
            Ok((
                row.text("run_id")?,
                row.text("table_name")?,
                row.text("status")?,
            ))
        })?;
        let query = of_last(
            "run_id, table_name, expectation, outcome, n_checked, n_failed, observed",
            "reco.checks",
        );
        let checks = self.rows("reco.checks", &query).await?;
        let checks = checks.map("reco.checks", |row| {
            let check = Check {
                expectation: row.text("expectation")?.unwrap_or_default(),
                outcome: outcome(row.text("outcome")?.as_deref()),
                n_checked: row.whole("n_checked")?,
                n_failed: row.whole("n_failed")?,
                observed: row.text("observed")?,
            };
            Ok((row.text("run_id")?, row.text("table_name")?, check))
        })?;
        for (run_id, table, status) in tables {
            let Some((_, run)) = runs.iter_mut().find(|(id, _)| Some(id) == run_id.as_ref()) else {
                continue;
            };
            run.tables.push(Verdict {
                table: table.unwrap_or_default(),
                outcome: outcome(status.as_deref()),
                checks: Vec::new(),
            });
        }
        for (run_id, table, check) in checks {
            let run = runs.iter_mut().find(|(id, _)| Some(id) == run_id.as_ref());
            let mut verdicts = run.into_iter().flat_map(|(_, run)| &mut run.tables);
            if let Some(verdict) = verdicts.find(|verdict| Some(&verdict.table) == table.as_ref()) {
                verdict.outcome = verdict.outcome.max(check.outcome);
                verdict.checks.push(check);
            }
        }
        Ok(runs.into_iter().map(|(_, run)| run).collect())
    }

    async fn tables(&self) -> Result<Vec<Table>> {
        let query = format!(
            "select table_name, n_rows, version, published_at from reco.tables where environment = {}
             order by table_name",
            literal(self.catalog.environment()),
        );
        let rows = self.rows("reco.tables", &query).await?;
        rows.map("reco.tables", |row| {
            Ok(Table {
                name: row.text("table_name")?.unwrap_or_default(),
                n_rows: row.whole("n_rows")?,
                version: row.whole("version")?,
                published_at: row.time("published_at")?,
            })
        })
    }
}

/// A verdict in the words of the catalogue. What a run did not make again has none.
fn outcome(word: Option<&str>) -> Outcome {
    match word {
        Some("built" | "passed") => Outcome::Passed,
        Some("warned") => Outcome::Warned,
        Some("failed") => Outcome::Failed,
        Some("skipped") => Outcome::Skipped,
        _ => Outcome::Reused,
    }
}

/// Of counts by item and age of the window, which is 1 for the last one, the items of the last one.
fn rank(counts: &[(String, f64, f64)], n: usize) -> Vec<Ranked> {
    let ages: Vec<u32> = {
        let mut ages: Vec<u32> = Vec::new();
        for age in 1_u32..=14 {
            if counts
                .iter()
                .any(|count| count.1.total_cmp(&f64::from(age)).is_eq())
            {
                ages.push(age);
            }
        }
        ages
    };
    let of_age = |wanted: u32| {
        counts
            .iter()
            .filter(move |count| count.1.total_cmp(&f64::from(wanted)).is_eq())
    };
    let ranked = of_age(1).take(n).map(|(item, _, n)| {
        let before = of_age(2).zip(1_u64..).find(|(count, _)| count.0 == *item);
        let in_window = |age: &u32| {
            of_age(*age)
                .find(|count| count.0 == *item)
                .map_or(0.0, |count| count.2)
        };
        Ranked {
            name: item.clone(),
            n: *n,
            trend: ages.iter().rev().map(in_window).collect(),
            rank_before: before.map(|(_, rank)| rank),
        }
    });
    ranked.collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_the_last_window_have_their_past() {
        let counts = [
            ("hat", 1.0, 9.0),
            ("scarf", 1.0, 5.0),
            ("new", 1.0, 4.0),
            ("scarf", 2.0, 8.0),
            ("hat", 2.0, 3.0),
            ("old", 3.0, 7.0),
            ("hat", 3.0, 1.0),
        ];
        let counts = counts.map(|(item, age, n)| (item.to_owned(), age, n));
        let ranked = rank(&counts, 3);
        let short: Vec<_> = ranked
            .iter()
            .map(|r| (r.name.as_str(), r.rank_before, r.trend.as_slice()))
            .collect();
        let expected: [(_, _, &[f64]); 3] = [
            ("hat", Some(2), &[1.0, 3.0, 9.0]),
            ("scarf", Some(1), &[0.0, 8.0, 5.0]),
            ("new", None, &[0.0, 0.0, 4.0]),
        ];
        assert_eq!(short, expected);
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
    }
}
