//! The launcher of `shaders/objective.wgsl`.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::CubeBackend;
use burn::tensor::{DType, Shape};

use super::{
    COLUMNS, Clip, EntropyOver, MAX_LOG_RATIO, ObjectiveOps, Row, Switches, Weight, owned,
};
use crate::cube;
use srft_formats::config::{ClipOf, KlForm, RatioOf, SftTokenWeight};
use srft_formats::records::TermCoefficients;

impl ObjectiveOps for CubeBackend {
    fn objective(
        stats: FloatTensor<Self>,
        given: FloatTensor<Self>,
        rows: Vec<Row>,
        switches: Switches,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (stats, given) = (cube::dense(stats), cube::dense(given));
        let coefficients = cube::empty(&stats, stats.shape(), DType::F32);
        let sums = cube::empty(&stats, Shape::new([rows.len(), COLUMNS]), DType::F32);
        let words = cube::upload(&stats, &words(&rows, stats.shape()[0]));
        cube::launch(
            cube::Shader::new("objective", srft_shaders::OBJECTIVE),
            rows.len(),
            &[&stats, &given, &coefficients, &sums, &words],
            &info(rows.len(), &switches),
        );
        (coefficients, sums)
    }
}

/// The shader's `info`, in its order.
fn info(rows: usize, switches: &Switches) -> Vec<u32> {
    let (over, nats) = match switches.entropy_over {
        EntropyOver::Sequence => (0, [0.0; 2]),
        EntropyOver::Token => (1, [0.0; 2]),
        EntropyOver::Batch { demonstrations_nats, rollouts_nats } => {
            (2, [demonstrations_nats, rollouts_nats])
        }
    };
    let [sft, own] = [switches.sft_weight, switches.self_weight].map(constant_one);
    let mut words = vec![rows as u32, over];
    words.extend(nats.map(f32::to_bits));
    let gamma = switches.shaping.unwrap_or(0.0);
    let Clip { low, high } = switches.clip;
    words.extend(
        [sft.scale, sft.sign, own.scale, own.sign, gamma, 1.0 - low, 1.0 + high, MAX_LOG_RATIO]
            .map(f32::to_bits),
    );
    words.push(switches.max_logp.unwrap_or(f32::MAX).to_bits());
    words.push(switches.dual_clip.unwrap_or(f32::MAX).to_bits());
    words.push(match switches.sft_token {
        SftTokenWeight::None => 0,
        SftTokenWeight::Phi => 1,
        SftTokenWeight::Probability => 2,
        SftTokenWeight::Entropy => 3,
        SftTokenWeight::Trusted => 4,
    });
    words.push(u32::from(switches.ratio == RatioOf::Sequence));
    words.push(u32::from(switches.clip_form == ClipOf::Weight));
    words.push(match switches.kl {
        KlForm::K3 => 0,
        KlForm::K1 => 1,
        KlForm::K3Ratio => 2,
    });
    words
}

/// The shader's `rows`, eleven words each.
fn words(rows: &[Row], n: usize) -> Vec<u32> {
    let mut words = Vec::with_capacity(11 * rows.len());
    for (row, (first, last)) in rows.iter().zip(owned(rows, n)) {
        let TermCoefficients { sft, rl_demo, self_logp, self_ratio, self_positive, entropy, kl } =
            row.terms;
        let flags = u32::from(row.demonstration) | u32::from(self_positive) << 1;
        words.extend([row.start, row.start + row.len, first, last, flags]);
        let factors = [sft, rl_demo, self_logp, self_ratio, entropy, kl];
        words.extend(factors.map(f32::to_bits));
    }
    words
}

/// A weight that is off is the constant 1: scale 1, sign 0.
fn constant_one(weight: Option<Weight>) -> Weight {
    weight.unwrap_or(Weight { scale: 1.0, sign: 0.0 })
}
