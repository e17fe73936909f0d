//! The CPU twin of `shaders/objective.wgsl`: the formula in f32, threads over sequences, f64 sums.

use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Shape;
use rayon::prelude::*;

use super::formula::sequence;
use super::{COLUMNS, GIVEN, ObjectiveOps, Row, Switches, owned};
use crate::cpu;

impl ObjectiveOps for Flex {
    fn objective(
        stats: FlexTensor,
        given: FlexTensor,
        rows: Vec<Row>,
        switches: Switches,
    ) -> (FlexTensor, FlexTensor) {
        let n = stats.shape()[0];
        let (stats, given) = (cpu::dense(stats), cpu::dense(given));
        let (all_stats, _) = cpu::f32s(&stats).as_chunks::<2>();
        let (all_given, _) = cpu::f32s(&given).as_chunks::<GIVEN>();
        let mut coefficients = vec![[0.0; 2]; n];
        let mut rest = coefficients.as_mut_slice();
        let mut outputs = Vec::with_capacity(rows.len());
        for ((first, last), row) in owned(&rows, n).into_iter().zip(&rows) {
            let (mine, others) = rest.split_at_mut((last - first) as usize);
            rest = others;
            outputs.push(&mut mine[(row.start - first) as usize..][..row.len as usize]);
        }
        let sums = outputs.into_par_iter().zip(&rows).map(|(output, row)| {
            let own = row.tokens();
            let sums = sequence(row, &switches, &all_stats[own.clone()], &all_given[own], output);
            sums.map(|sum| sum as f32)
        });
        let sums: Vec<[f32; COLUMNS]> = sums.collect();
        let sums_shape = Shape::new([rows.len(), COLUMNS]);
        let coefficients = cpu::tensor(coefficients.into_flattened(), Shape::new([n, 2]));
        (coefficients, cpu::tensor(sums.into_flattened(), sums_shape))
    }
}
