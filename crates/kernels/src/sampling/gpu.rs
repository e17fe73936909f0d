//! The launcher of `shaders/sampling.wgsl`.

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::tensor::{DType, Shape};

use super::{Key, Sampling, SamplingOps};
use crate::cube;

impl SamplingOps for CubeBackend {
    fn sample(
        logits: FloatTensor<Self>,
        draws: IntTensor<Self>,
        key: Key,
        settings: Sampling,
    ) -> (IntTensor<Self>, FloatTensor<Self>, IntTensor<Self>) {
        let logits = cube::dense(logits);
        let [rows, vocabulary] = logits.shape().dims();
        let tokens = cube::empty(&logits, Shape::new([rows]), DType::I32);
        let stats = cube::empty(&logits, Shape::new([rows, 2]), DType::F32);
        let Sampling { temperature, top_k, top_p, .. } = settings;
        let greedy = temperature == 0.0;
        // Barriers inside a branch need a constant condition, so each switch is its own pipeline.
        let shader = cube::Shader::new("sampling", srft_shaders::SAMPLING)
            .with("greedy", greedy)
            .with("top_k", !greedy && top_k > 0)
            .with("top_p", !greedy && top_p < 1.0);
        let per_temperature = if greedy { 1.0 } else { 1.0 / temperature };
        let info = [
            rows as u32,
            vocabulary as u32,
            key.seed as u32,
            (key.seed >> 32) as u32,
            key.step,
            per_temperature.to_bits(),
            top_k,
            top_p.to_bits(),
            settings.lowest_below_largest().to_bits(),
            (1.0 / settings.policy_temperature).to_bits(),
        ];
        let draws = cube::owned(cube::dense(draws));
        cube::launch(shader, rows, &[&logits, &tokens, &stats, &draws], &info);
        (tokens, stats, draws)
    }
}
