//! The pipeline as a picture: boxes in columns, each right of everything that it reads.

use maud::{Markup, html};

use super::chart::as_f64;

/// A directed graph without cycles.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    edges: Vec<(usize, usize)>,
}

/// A box of the picture.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The table, model or part of the crates.
    pub name: String,
    /// What it is: `source`, `sql`, `rust`, `model`, `part`. Names a colour.
    pub kind: &'static str,
    /// A second line: rows, seconds.
    pub note: String,
}

const BOX: (f64, f64) = (136.0, 48.0);
const GAP: (f64, f64) = (24.0, 16.0);

impl Graph {
    /// Adds a box that reads the boxes of the given names; names that are not there are passed over.
    pub(crate) fn add(&mut self, node: Node, reads: &[impl AsRef<str>]) {
        let to = self.nodes.len();
        for name in reads {
            let from = self
                .nodes
                .iter()
                .position(|node| node.name == name.as_ref());
            self.edges.extend(from.map(|from| (from, to)));
        }
        self.nodes.push(node);
    }

    /// The picture.
    pub(crate) fn to_svg(&self) -> Markup {
        let places = self.places();
        let columns = places.iter().map(|place| place.0).max().unwrap_or(0) + 1;
        let rows = places.iter().map(|place| place.1).max().unwrap_or(0) + 1;
        let width = as_f64(columns) * (BOX.0 + GAP.0) - GAP.0 + 4.0;
        let height = as_f64(rows) * (BOX.1 + GAP.1) - GAP.1 + 4.0;
        let corner = |(column, row): (usize, usize)| {
            (
                2.0 + as_f64(column) * (BOX.0 + GAP.0),
                2.0 + as_f64(row) * (BOX.1 + GAP.1),
            )
        };
        html! {
            svg.graph viewBox=(format!("0 0 {width} {height}")) role="img" {
                @for &(from, to) in &self.edges {
                    @let (x1, y1) = corner(places[from]);
                    @let (x2, y2) = corner(places[to]);
                    @let (x1, y1, y2) = (x1 + BOX.0, y1 + BOX.1 / 2.0, y2 + BOX.1 / 2.0);
                    @let bend = GAP.0 * 0.6;
                    path.edge d=(format!("M{x1} {y1} C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2 - bend)) {}
                }
                @for (node, &place) in self.nodes.iter().zip(&places) {
                    @let (x, y) = corner(place);
                    g class=(node.kind) {
                        rect.box x=(x) y=(y) width=(BOX.0) height=(BOX.1) rx="7" {}
                        text.name x=(x + 10.0) y=(y + 21.0) { (node.name) }
                        text.note x=(x + 10.0) y=(y + 38.0) { (node.note) }
                    }
                }
            }
        }
    }

    /// Column and row of each box: the longest way from a source gives the column, the order in
    /// which boxes were added the row.
    fn places(&self) -> Vec<(usize, usize)> {
        let mut columns = vec![0; self.nodes.len()];
        // Boxes are added after what they read, so one pass in order settles every column.
        for node in 0..self.nodes.len() {
            let read = self.edges.iter().filter(|edge| edge.1 == node);
            columns[node] = read.map(|edge| columns[edge.0] + 1).max().unwrap_or(0);
        }
        let mut next = vec![0; self.nodes.len() + 1];
        columns
            .into_iter()
            .map(|column| {
                let row = next[column];
                next[column] += 1;
                (column, row)
            })
            .collect()
    }
}
