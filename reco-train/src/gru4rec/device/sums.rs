//! Products whose sums are long: cut in parts that a GPU adds up side by side.

use burn::tensor::Tensor;

/// Into how many parts a long sum of products is cut.
///
/// A GPU gives a tile of the result to a multiprocessor, which goes through all terms of its sums. A result that
/// is a row of values wide has a tile or a few, and most of the device would wait for them.
const fn n_parts(n_terms: usize) -> usize {
    const PARTS: usize = 16;
    // Parts of whole vectors of four values; a short sum is not worth the parts.
    if n_terms >= 512 && n_terms.is_multiple_of(4 * PARTS) {
        PARTS
    } else {
        1
    }
}

/// The product of `[n, m]` and `[m, w]`.
pub(super) fn over_items(left: Tensor<2>, right: Tensor<2>) -> Tensor<2> {
    let ([n, m], [_, w]) = (left.dims(), right.dims());
    let parts = n_parts(m);
    if parts == 1 {
        return left.matmul(right);
    }
    let left = left.reshape([n, parts, m / parts]).swap_dims(0, 1);
    let right = right.reshape([parts, m / parts, w]);
    left.matmul(right).sum_dim(0).squeeze_dim(0)
}

/// The products of each left `[n, a]` transposed and right `[n, w]`, `[g, a, w]` of `g` pairs; a single left
/// goes with all right ones.
pub(super) fn over_lanes(left: Tensor<3>, right: Tensor<3>) -> Tensor<3> {
    let ([g_left, n, a], [g, _, w]) = (left.dims(), right.dims());
    let parts = n_parts(n);
    if parts == 1 {
        return left.transpose().matmul(right);
    }
    let left = left.reshape([g_left, parts, n / parts, a]).transpose();
    let right = right.reshape([g, parts, n / parts, w]);
    left.matmul(right).sum_dim(1).squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn sums_in_parts_are_the_same() {
        let devices = vec![Device::flex()];
        #[cfg(feature = "wgpu")]
        let devices = {
            let mut devices = devices;
            match crate::Engine::wgpu() {
                Ok(crate::Engine::Burn(device)) => devices.push(device),
                other => println!("not run on a GPU: {other:?}"),
            }
            devices
        };
        for device in &devices {
            assert_eq!([512, 576, 500, 128].map(n_parts), [16, 16, 1, 1]);
            let random = |shape: [usize; 3]| {
                Tensor::<3>::random(shape, Distribution::Uniform(-1.0, 1.0), device)
            };
            let check = |found: Tensor<3>, expected: Tensor<3>| {
                assert_eq!(found.dims(), expected.dims());
                let largest: f32 = (found - expected).abs().max().into_scalar();
                assert!(largest < 1e-4, "{largest} on {device:?}");
            };
            let (left, right) = (random([1, 576, 12]), random([3, 576, 8]));
            check(
                over_lanes(left.clone(), right.clone()),
                left.clone().transpose().matmul(right.clone()),
            );
            let (left, right) = (left.transpose(), right.narrow(0, 1, 1));
            check(
                over_items(left.clone().squeeze_dim(0), right.clone().squeeze_dim(0)).unsqueeze(),
                left.matmul(right),
            );
        }
    }
}
