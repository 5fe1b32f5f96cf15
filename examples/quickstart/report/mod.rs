//! The report of a run: one HTML file that needs nothing else.

mod chart;
mod graph;

use std::fmt;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use reco_core::{CheckReport, ItemId, ModelVersion, Severity};

pub(crate) use graph::{Graph, Node};

/// What a run has to say, in plain types.
#[derive(Debug)]
pub(crate) struct Report {
    /// Where the events came from.
    pub source: String,
    /// Where everything lies.
    pub out: String,
    /// The headline numbers: label and value.
    pub facts: Vec<(&'static str, String)>,
    /// The pipeline, from the source to the handle.
    pub graph: Graph,
    /// The checks, by table.
    pub checks: Vec<CheckReport>,
    /// The models, in the order in which they were fitted.
    pub models: Vec<ModelRow>,
    /// What the champion recommends to three sessions.
    pub samples: Vec<Sample>,
}

/// A model of the run.
#[derive(Debug)]
pub(crate) struct ModelRow {
    /// What kind of model it is.
    pub kind: String,
    /// Its version in the registry.
    pub version: ModelVersion,
    /// Mean loss of each epoch.
    pub losses: Vec<f64>,
    /// How long fitting took.
    pub fit_seconds: f64,
    /// Its scores, by metric.
    pub scores: Vec<(String, f64)>,
    /// Whether the alias points at it.
    pub champion: bool,
}

impl fmt::Display for ModelRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, version {}", self.kind, self.version)
    }
}

impl ModelRow {
    /// What the champion is chosen by: the first metric, recall@20.
    pub(crate) fn recall(&self) -> f64 {
        self.scores.first().map_or(0.0, |(_, value)| *value)
    }
}

/// A session and its recommendations.
#[derive(Debug)]
pub(crate) struct Sample {
    /// What the shopper saw, the oldest first.
    pub seen: Vec<Product>,
    /// What the shopper saw next.
    pub next: Product,
    /// What is recommended, the best first, with the score.
    pub recommended: Vec<(Product, f32)>,
    /// Who answered: `gru4rec, version 3`.
    pub by: String,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "5  seen, the oldest first:")?;
        for product in &self.seen {
            writeln!(f, "      {product}")?;
        }
        writeln!(f, "   recommended by {}:", self.by)?;
        for (product, score) in &self.recommended {
            let hit = if *product == self.next {
                "  <- seen next"
            } else {
                ""
            };
            writeln!(f, "      {product}  ({score:.3}){hit}")?;
        }
        write!(f, "   seen next: {}", self.next)
    }
}

/// An item with something to read about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Product {
    /// The item.
    pub item: ItemId,
    /// What it is: name, category, price.
    pub facts: String,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.item, self.facts)
    }
}

impl Report {
    /// The page.
    pub(crate) fn to_html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { "reco quickstart: " (self.source) }
                    style { (PreEscaped(include_str!("page.css"))) }
                }
                body {
                    header {
                        h1 { "From shopper events to recommendations" }
                        p { (self.source) " · everything lies under " code { (self.out) } }
                    }
                    main {
                        (self.headline())
                        section { h2 { "The pipeline" } div.scroll { (self.graph.to_svg()) } }
                        section { h2 { "Checks before publication" } @for report in &self.checks { (checks(report)) } }
                        section { h2 { "Learning" } (self.curves()) }
                        section { h2 { "Next item, ranked against the whole catalogue" } (self.scores()) }
                        section { h2 { "What shoppers see" } div.samples { @for sample in &self.samples { (sample_card(sample)) } } }
                    }
                }
            }
        };
        page.into_string()
    }

    fn headline(&self) -> Markup {
        html! {
            dl.numbers { @for (label, value) in &self.facts { div { dt { (label) } dd { (value) } } } }
        }
    }

    fn curves(&self) -> Markup {
        html! {
            div.panels {
                @for model in self.models.iter().filter(|model| model.losses.len() > 1) {
                    figure {
                        figcaption { (model) " · training loss by epoch" }
                        (chart::line(&model.losses))
                    }
                }
            }
        }
    }

    fn scores(&self) -> Markup {
        let metrics = self.models.first().map_or(&[][..], |model| &model.scores);
        html! {
            div.panels {
                @for (index, (metric, _)) in metrics.iter().enumerate() {
                    figure {
                        figcaption { (metric) }
                        (chart::bars(&self.models.iter().map(|m| (m.to_string(), m.scores[index].1, m.champion)).collect::<Vec<_>>()))
                    }
                }
            }
            div.scroll { table {
                thead { tr { th { "model" } @for (metric, _) in metrics { th.number { (metric) } } th.number { "fitted in" } } }
                tbody { @for model in &self.models { tr.champion[model.champion] {
                    td { (model) @if model.champion { " " span.badge { "champion" } } }
                    @for (_, value) in &model.scores { td.number { (format!("{value:.4}")) } }
                    td.number { (format!("{:.1} s", model.fit_seconds)) }
                } } }
            } }
        }
    }
}

fn checks(report: &CheckReport) -> Markup {
    html! {
        h3 { (report.subject) }
        div.scroll { table {
            thead { tr { th { "check" } th { "verdict" } th.number { "rows" } th.number { "not as expected" } th { "found" } } }
            tbody { @for result in &report.results { tr {
                td { code { (result.check) } }
                td { @match (result.passed, result.severity) {
                    (true, _) => span.badge.good { "passed" },
                    (false, Severity::Warn) => span.badge.warn { "warns" },
                    (false, Severity::Error) => span.badge.bad { "failed" },
                } }
                td.number { (result.n_checked) }
                td.number { (result.n_failed) }
                td { @if let Some(note) = &result.note { (note) } @for sample in &result.samples { div { code { (sample) } } } }
            } } }
        } }
    }
}

fn sample_card(sample: &Sample) -> Markup {
    let hit = |product: &Product| *product == sample.next;
    html! {
        article {
            h3 { "Seen" }
            ol { @for product in &sample.seen { li { (card(product)) } } }
            h3 { "Recommended by " (sample.by) }
            ol { @for (product, score) in &sample.recommended {
                li.hit[hit(product)] { (card(product)) " " span.score { (format!("{score:.3}")) } @if hit(product) { " " span.badge.good { "seen next" } } }
            } }
            p.next { "Seen next in truth: " (card(&sample.next)) }
        }
    }
}

fn card(product: &Product) -> Markup {
    html! { b { (product.item) } @if !product.facts.is_empty() { " " span.facts { (product.facts) } } }
}
