//! Where the tables of a DAG stand on a drawing: in layers, with few crossings.
//!
//! This is the method of Sugiyama, Tagawa and Toda (1981): each table stands in a layer to the right of
//! all that it reads, the order within layers is improved by barycentres, and then each moves as near to
//! its neighbours as the order lets it. The same DAG always has the same drawing.

/// The size of a table, and the least distance between two, in pixels.
pub(super) const WIDTH: f64 = 196.0;
pub(super) const HEIGHT: f64 = 50.0;
const GAP_X: f64 = 64.0;
const GAP_Y: f64 = 18.0;
const MARGIN: f64 = 12.0;
/// How often the layers are gone through, forth and back.
const N_SWEEPS: usize = 12;

/// A drawing of a DAG.
#[derive(Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    /// The middle of the left side of each table.
    pub(super) tables: Vec<(f64, f64)>,
    /// The path of each edge, in the language of SVG.
    pub(super) paths: Vec<String>,
}

/// Lays out `n` tables, each after those that it reads, and `edges` from read to reader.
pub(super) fn layout(n: usize, edges: &[(usize, usize)]) -> Layout {
    let mut layers = Layers::of(n, edges);
    layers.order();
    let y = layers.heights();
    let x = |rank: usize| index(rank) * (WIDTH + GAP_X) + MARGIN;
    let top = y.iter().copied().fold(f64::INFINITY, f64::min);
    let bottom = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shift = MARGIN + HEIGHT / 2.0 - top;
    let at = |vertex: usize| (x(layers.rank[vertex]), y[vertex] + shift);
    let path = |chain: &Vec<usize>| {
        let mut path = String::new();
        let mut last: Option<(f64, f64)> = None;
        for &vertex in chain {
            let (x, y) = at(vertex);
            if let Some((from_x, from_y)) = last {
                let middle = (from_x + x) / 2.0;
                path += &format!(
                    "M{from_x:.0} {from_y:.0}C{middle:.0} {from_y:.0} {middle:.0} {y:.0} {x:.0} {y:.0}"
                );
                // Past tables that it is not about, it goes straight.
                if vertex >= n {
                    path += &format!("h{WIDTH:.0}");
                }
            }
            last = Some((x + WIDTH, y));
        }
        path
    };
    let n_ranks = layers.layers.len();
    Layout {
        width: if n == 0 {
            0.0
        } else {
            x(n_ranks) - GAP_X + MARGIN
        },
        height: if n == 0 {
            0.0
        } else {
            bottom - top + HEIGHT + 2.0 * MARGIN
        },
        tables: (0..n).map(at).collect(),
        paths: layers.chains.iter().map(path).collect(),
    }
}

/// Vertices in layers: the tables, and after these one for each layer that an edge passes.
struct Layers {
    n_tables: usize,
    rank: Vec<usize>,
    /// The vertices of each layer, from top to bottom.
    layers: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
    /// The vertices of each edge, from left to right.
    chains: Vec<Vec<usize>>,
}

impl Layers {
    fn of(n: usize, edges: &[(usize, usize)]) -> Self {
        let mut rank = vec![0; n];
        for &(from, to) in sorted(edges) {
            rank[to] = rank[to].max(rank[from] + 1);
        }
        // What reads nothing stands next to its first reader.
        for table in 0..n {
            let readers = edges.iter().filter(|(from, _)| *from == table);
            if let Some(first) = readers.map(|(_, to)| rank[*to]).min()
                && edges.iter().all(|(_, to)| *to != table)
            {
                rank[table] = first - 1;
            }
        }
        let mut chains = Vec::with_capacity(edges.len());
        for &(from, to) in edges {
            let mut chain = vec![from];
            for between in rank[from] + 1..rank[to] {
                chain.push(rank.len());
                rank.push(between);
            }
            chain.push(to);
            chains.push(chain);
        }
        let mut layers = vec![Vec::new(); rank.iter().max().map_or(0, |last| last + 1)];
        let mut before = vec![Vec::new(); rank.len()];
        let mut after = vec![Vec::new(); rank.len()];
        for (vertex, &rank) in rank.iter().enumerate() {
            layers[rank].push(vertex);
        }
        for pair in chains.iter().flat_map(|chain| chain.windows(2)) {
            after[pair[0]].push(pair[1]);
            before[pair[1]].push(pair[0]);
        }
        Self {
            n_tables: n,
            rank,
            layers,
            before,
            after,
            chains,
        }
    }

    /// Orders each layer by where the neighbours of its vertices are, forth and back, and keeps the best.
    fn order(&mut self) {
        let mut best = (self.n_crossings(), self.layers.clone());
        for sweep in 0..N_SWEEPS {
            let n = self.layers.len();
            for step in 1..n {
                let (rank, neighbours) = if sweep % 2 == 0 {
                    (step, &self.before)
                } else {
                    (n - 1 - step, &self.after)
                };
                let position = self.positions();
                let centre = |vertex: &usize| {
                    let near = neighbours[*vertex]
                        .iter()
                        .map(|&other| index(position[other]));
                    mean(near).unwrap_or_else(|| index(position[*vertex]))
                };
                // Stable, so that ties stay as they were.
                self.layers[rank].sort_by(|a, b| centre(a).total_cmp(&centre(b)));
            }
            let n_crossings = self.n_crossings();
            if n_crossings < best.0 {
                best = (n_crossings, self.layers.clone());
            }
        }
        self.layers = best.1;
    }

    fn positions(&self) -> Vec<usize> {
        let mut position = vec![0; self.rank.len()];
        for (i, &vertex) in self
            .layers
            .iter()
            .flat_map(|layer| layer.iter().enumerate())
        {
            position[vertex] = i;
        }
        position
    }

    fn n_crossings(&self) -> usize {
        let position = self.positions();
        let mut n_crossings = 0;
        for layer in &self.layers {
            // From top to bottom on the left, two edges cross if they are the other way on the right.
            let mut seen: Vec<usize> = Vec::new();
            for &vertex in layer {
                let mut ends: Vec<usize> =
                    self.after[vertex].iter().map(|&v| position[v]).collect();
                ends.sort_unstable();
                n_crossings += ends
                    .iter()
                    .map(|end| seen.len() - seen.partition_point(|other| other <= end))
                    .sum::<usize>();
                for end in ends {
                    seen.insert(seen.partition_point(|other| *other <= end), end);
                }
            }
        }
        n_crossings
    }

    /// The height of each vertex: near the mean of its neighbours, in the order of its layer.
    fn heights(&self) -> Vec<f64> {
        let mut y = vec![0.0; self.rank.len()];
        for layer in &self.layers {
            self.place(layer, &vec![0.0; layer.len()], &mut y);
        }
        for sweep in 0..2 * N_SWEEPS {
            let backwards = sweep % 2 == 1;
            for step in 0..self.layers.len() {
                let rank = if backwards {
                    self.layers.len() - 1 - step
                } else {
                    step
                };
                let layer = &self.layers[rank];
                let wanted = layer.iter().map(|&vertex| {
                    let near = self.before[vertex].iter().chain(&self.after[vertex]);
                    mean(near.map(|&other| y[other])).unwrap_or(y[vertex])
                });
                let wanted: Vec<f64> = wanted.collect();
                self.place(layer, &wanted, &mut y);
            }
        }
        y
    }

    /// Places the vertices of a layer as near as can be, by squares, to where they are wanted, in order
    /// and apart: the pool-adjacent-violators algorithm on heights less the distances above.
    fn place(&self, layer: &[usize], wanted: &[f64], y: &mut [f64]) {
        let mut offsets = Vec::with_capacity(layer.len());
        let mut offset = 0.0;
        for (i, &vertex) in layer.iter().enumerate() {
            if i > 0 {
                offset += (self.extent(layer[i - 1]) + self.extent(vertex)) / 2.0 + GAP_Y;
            }
            offsets.push(offset);
        }
        // Of each block, the mean and how many it has.
        let mut blocks: Vec<(f64, usize)> = Vec::new();
        for (wanted, offset) in wanted.iter().zip(&offsets) {
            let mut block = (wanted - offset, 1);
            while let Some(&(above, n)) = blocks.last()
                && above > block.0
            {
                let total = above * index(n) + block.0 * index(block.1);
                block = (total / index(n + block.1), n + block.1);
                blocks.pop();
            }
            blocks.push(block);
        }
        let placed = blocks
            .iter()
            .flat_map(|&(mean, n)| std::iter::repeat_n(mean, n));
        for ((&vertex, offset), placed) in layer.iter().zip(offsets).zip(placed) {
            y[vertex] = placed + offset;
        }
    }

    /// How much room a vertex takes: an edge that passes takes little.
    const fn extent(&self, vertex: usize) -> f64 {
        if vertex < self.n_tables { HEIGHT } else { 6.0 }
    }
}

/// Edges in the order of what they lead to, so that a table's rank is known before its readers'.
fn sorted(edges: &[(usize, usize)]) -> impl Iterator<Item = &(usize, usize)> {
    let mut sorted: Vec<_> = edges.iter().collect();
    sorted.sort_by_key(|(_, to)| *to);
    sorted.into_iter()
}

fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = numbers.fold((0.0, 0_usize), |(sum, n), number| (sum + number, n + 1));
    (n > 0).then(|| sum / index(n))
}

/// Exact, since a page has few tables.
const fn index(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_chain_is_a_straight_line_and_nothing_is_empty() {
        let chain = layout(3, &[(0, 1), (1, 2)]);
        let expected: Vec<(f64, f64)> = [12.0, 272.0, 532.0].map(|x| (x, 37.0)).to_vec();
        assert_eq!(chain.tables, expected);
        assert_eq!(chain.paths[0], "M208 37C240 37 240 37 272 37");
        assert_eq!((chain.width, chain.height), (740.0, 74.0));
        assert_eq!(layout(0, &[]).paths, [""; 0]);
    }

    #[test]
    fn crossings_that_can_be_undone_are() {
        // As declared, the two edges cross.
        let drawn = layout(4, &[(0, 3), (1, 2)]);
        let y = |table: usize| drawn.tables[table].1;
        assert_eq!(y(0) < y(1), y(3) < y(2));
    }

    fn dag() -> impl Strategy<Value = (usize, Vec<(usize, usize)>)> {
        (1_usize..14).prop_flat_map(|n| {
            let all: Vec<(usize, usize)> = (0..n)
                .flat_map(|to| (0..to).map(move |from| (from, to)))
                .collect();
            let n_edges = all.len().min(20);
            (Just(n), proptest::sample::subsequence(all, 0..=n_edges))
        })
    }

    proptest! {
        #[test]
        fn tables_stand_right_of_what_they_read_and_never_on_one_another((n, edges) in dag()) {
            let drawn = layout(n, &edges);
            prop_assert_eq!(&drawn, &layout(n, &edges));
            for &(from, to) in &edges {
                prop_assert!(drawn.tables[from].0 + WIDTH < drawn.tables[to].0);
            }
            for (i, a) in drawn.tables.iter().enumerate() {
                prop_assert!(a.0 >= 0.0 && a.0 + WIDTH <= drawn.width);
                prop_assert!(a.1 >= HEIGHT / 2.0 && a.1 + HEIGHT / 2.0 <= drawn.height);
                for b in &drawn.tables[..i] {
                    let apart = (a.0 - b.0).abs() > WIDTH || (a.1 - b.1).abs() > HEIGHT;
                    prop_assert!(apart, "{:?} {:?}", a, b);
                }
            }
        }
    }
}
