//! What the optimiser remembers, between the tensors of a device and a checkpoint.

use std::convert::Infallible;

use super::super::weights::{Shape, Weights};

/// What [`Adagrad`](super::super::weights::Adagrad) remembers, from its squares and velocities: for each matrix those
/// of a row, then those of the next.
pub(super) fn memory(squares: &mut Weights, velocities: Option<&mut Weights>) -> Vec<Vec<f32>> {
    let mut memory: Vec<Vec<f32>> = Vec::new();
    let velocities = velocities.map(optimised);
    for (nth, (squares, len)) in optimised(squares).into_iter().enumerate() {
        memory.push(match &velocities {
            None => squares.to_vec(),
            Some(velocities) => {
                let velocities = velocities[nth].0.chunks(len.max(1));
                let rows = squares.chunks(len.max(1)).zip(velocities);
                rows.flat_map(|(squares, velocities)| [squares, velocities].concat())
                    .collect()
            }
        });
    }
    memory
}

/// Back from [`memory`]. False if it is of another network or another momentum.
pub(super) fn remembered(
    memory: &[Vec<f32>],
    squares: &mut Weights,
    velocities: Option<&mut Weights>,
) -> bool {
    let (squares, velocities) = (optimised(squares), velocities.map(optimised));
    let per_value = if velocities.is_some() { 2 } else { 1 };
    let lens = squares.iter().map(|(squares, _)| per_value * squares.len());
    if !lens.eq(memory.iter().map(Vec::len)) {
        return false;
    }
    let mut velocities = velocities.into_iter().flatten();
    for ((squares, len), memory) in squares.into_iter().zip(memory) {
        match velocities.next() {
            None => squares.copy_from_slice(memory),
            Some((velocities, _)) => {
                let rows = squares
                    .chunks_mut(len.max(1))
                    .zip(velocities.chunks_mut(len.max(1)));
                for ((squares, velocities), memory) in rows.zip(memory.chunks(2 * len.max(1))) {
                    let (of_squares, of_velocities) = memory.split_at(len);
                    squares.copy_from_slice(of_squares);
                    velocities.copy_from_slice(of_velocities);
                }
            }
        }
    }
    true
}

/// Zeros of the shapes of a network.
pub(super) fn zeros(n_items: usize, shape: &Shape) -> Weights {
    let zeros = |_: &str, shape: &[usize]| Ok(vec![0.0; shape.iter().product()]);
    let Ok(zeros) = Weights::from_tensors::<Infallible>(shape, n_items, zeros);
    zeros
}

/// What the optimiser moves, in the order in which checkpoints have its memory, and the length of the rows that
/// it remembers together: rows and biases of the items, then of the inputs, then of each half of each cell.
fn optimised(weights: &mut Weights) -> Vec<(&mut [f32], usize)> {
    let n_items = weights.item_bias.len();
    let mut all: Vec<(&mut [f32], usize)> = Vec::new();
    let rows = weights.item_embedding.len() / n_items;
    all.extend([
        (&mut weights.item_embedding[..], rows),
        (&mut weights.item_bias, 1),
    ]);
    if !weights.input.is_empty() {
        let rows = weights.input.len() / n_items;
        all.extend([(&mut weights.input[..], rows), (&mut [][..], 1)]);
    }
    for cell in &mut weights.cells {
        let n_gates = 3 * cell.dim;
        let halves = [
            (&mut cell.weight_ih, &mut cell.bias_ih),
            (&mut cell.weight_hh, &mut cell.bias_hh),
        ];
        for (weight, bias) in halves {
            let rows = weight.len() / n_gates;
            all.extend([(&mut weight[..], rows), (&mut bias[..], n_gates)]);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::super::weights::InputMode;
    use super::*;

    #[test]
    fn memory_is_squares_and_velocities_row_by_row_and_comes_back() {
        let shape = Shape {
            input: InputMode::Embedding,
            input_dim: 2,
            layers: vec![3],
        };
        let (mut squares, mut velocities) = (zeros(4, &shape), zeros(4, &shape));
        let mut next = 0.0;
        for (values, _) in optimised(&mut squares)
            .into_iter()
            .chain(optimised(&mut velocities))
        {
            values.fill_with(|| {
                next += 1.0;
                next
            });
        }
        let both = memory(&mut squares, Some(&mut velocities));
        // Items, biases, inputs and the biases that they have not, then both halves of the cell.
        let lens: Vec<usize> = both.iter().map(Vec::len).collect();
        assert_eq!(lens, [24, 8, 16, 0, 36, 18, 54, 18]);
        let first = velocities.item_embedding[0];
        assert_eq!(
            both[0][..7],
            [1.0, 2.0, 3.0, first, first + 1.0, first + 2.0, 4.0]
        );
        let (mut squares_again, mut velocities_again) = (zeros(4, &shape), zeros(4, &shape));
        assert!(remembered(
            &both,
            &mut squares_again,
            Some(&mut velocities_again)
        ));
        assert_eq!((&squares_again, &velocities_again), (&squares, &velocities));
        assert!(!remembered(&both, &mut squares_again, None));
        let squares_alone = memory(&mut squares, None);
        assert!(remembered(&squares_alone, &mut squares_again, None));
        assert!(!remembered(&squares_alone[1..], &mut squares_again, None));
    }
}
