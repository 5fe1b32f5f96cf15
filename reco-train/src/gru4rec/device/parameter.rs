//! [`Parameter`]: what is learnt, and Adagrad on it.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::super::weights::{ADAGRAD_EPSILON, Adagrad};
use crate::rows::RowWriter;

/// A tensor that is learnt, with the memory of its optimiser.
#[derive(Debug)]
pub(super) struct Parameter<const D: usize> {
    pub(super) value: Tensor<D>,
    squares: Tensor<D>,
    /// Only with momentum.
    velocity: Option<Tensor<D>>,
}

/// One of the tensors of a parameter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Value,
    Squares,
    Velocity,
}

impl<const D: usize> Parameter<D> {
    pub(super) fn new(
        values: Vec<f32>,
        shape: [usize; D],
        adagrad: Adagrad,
        device: &Device,
    ) -> Self {
        let value = Tensor::from_data(TensorData::new(values, shape), device);
        let zeros = || Tensor::zeros(shape, device);
        Self {
            squares: zeros(),
            velocity: (adagrad.momentum > 0.0).then(zeros),
            value,
        }
    }

    /// One of its tensors.
    ///
    /// # Panics
    ///
    /// If it is the velocity, and there is no momentum.
    pub(super) fn part(&self, part: Part) -> Tensor<D> {
        match part {
            Part::Value => self.value.clone(),
            Part::Squares => self.squares.clone(),
            Part::Velocity => self.velocity.clone().expect("velocities, with momentum"),
        }
    }

    /// Replaces one of its tensors.
    pub(super) fn set(&mut self, part: Part, values: Vec<f32>) {
        let (shape, device) = (self.value.dims(), self.value.device());
        let values = Tensor::from_data(TensorData::new(values, shape), &device);
        match part {
            Part::Value => self.value = values,
            Part::Squares => self.squares = values,
            Part::Velocity => self.velocity = Some(values),
        }
    }

    /// Moves all of it.
    pub(super) fn update(&mut self, gradient: Tensor<D>, adagrad: Adagrad) {
        self.squares
            .inplace(|squares| squares + gradient.clone() * gradient.clone());
        let step = step(gradient, self.squares.clone(), adagrad);
        match &mut self.velocity {
            Some(velocity) => {
                velocity.inplace(|velocity| velocity.mul_scalar(adagrad.momentum) - step);
                let velocity = velocity.clone();
                self.value.inplace(|value| value + velocity);
            }
            None => self.value.inplace(|value| value - step),
        }
    }
}

impl Parameter<2> {
    /// Moves some rows, `[n_rows, width]`, from the values that they have.
    ///
    /// Rows are named once, but for one that may be named often if its values and gradients are zero. With
    /// momentum a value keeps still where `moves` is zero; without, where its gradient is.
    pub(super) fn update_rows(
        &mut self,
        rows: &Tensor<1, Int>,
        values: Tensor<2>,
        gradient: Tensor<2>,
        moves: impl FnOnce() -> Tensor<2>,
        adagrad: Adagrad,
        writer: RowWriter,
    ) {
        let squares = self.squares.clone().select(0, rows.clone());
        let squares = squares + gradient.clone() * gradient.clone();
        let step = step(gradient, squares.clone(), adagrad);
        writer.assign(&mut self.squares, rows, squares);
        let moved = match &mut self.velocity {
            Some(velocity) => {
                let before = velocity.clone().select(0, rows.clone());
                let moves = moves();
                let still = before.clone() * (moves.clone().neg() + 1.0);
                let after = (before.mul_scalar(adagrad.momentum) - step) * moves;
                writer.assign(velocity, rows, after.clone() + still);
                values + after
            }
            None => values - step,
        };
        writer.assign(&mut self.value, rows, moved);
    }
}

fn step<const D: usize>(gradient: Tensor<D>, squares: Tensor<D>, adagrad: Adagrad) -> Tensor<D> {
    gradient.mul_scalar(adagrad.learning_rate) / squares.add_scalar(ADAGRAD_EPSILON).sqrt()
}
