//! Attention, and a whole decoding step.

use super::{BACKWARD, Checks, FORWARD, peaky, wide};
use crate::config::CacheDtype;
use crate::error::{Error, Result};
use crate::model::{Activation, Decoding, Llama, Local, ModelConfig, Parameter, Scaling};
use crate::ops::attention::reference::Setting;
use crate::ops::attention::{
    AttentionShape, KvCache, Packing, Places, Rope, Tree, attention, decode_attention,
};
use crate::ops::cube;
use crate::ops::readback::floats as read;
use burn::tensor::{Device, Tensor, TensorData};

impl<F: FnMut(&str, &mut Vec<f32>)> Checks<F> {
    /// A batch's attention and its gradients: tiles whole and broken, and of the built-in model's width.
    pub(super) async fn attention_of_many(&mut self) -> Result<()> {
        let (heads, kv_heads, head_dim) = (4, 2, 32);
        let shape = AttentionShape { heads, kv_heads, head_dim };
        let trees =
            [Tree { prompt: 41, branches: vec![3, 33] }, Tree { prompt: 5, branches: vec![] }];
        let packing = Packing { trees: trees.to_vec() };
        let width = [heads, kv_heads, kv_heads].map(|heads| heads * head_dim);
        let of = |i: usize, width| peaky(packing.rows() * width, 20 + i as u32);
        // Scores of hundreds would have errors of 1e-4 themselves.
        let qkv = [0, 1, 2].map(|i| of(i, width[i]).into_iter().map(|x| 0.4 * x).collect());
        let qkv: [Vec<f32>; 3] = qkv;
        let upstream = of(3, width[0]);
        self.poison(&[0, 0, 1, 1, 2].map(|i| packing.rows() * width[i])).await?;
        let tensor = |x: &[f32], width| self.floats(x, [packing.rows(), width]).autodiff();
        let inputs = [0, 1, 2].map(|i| tensor(&qkv[i], width[i]).require_grad());
        let rope = Rope::new(packing.positions(), head_dim, 1e4, Scaling::None, &self.device);
        let [q, k, v] = inputs.clone();
        let places = Places::new(packing.clone(), &self.device);
        let out = attention(q, k, v, shape, &places, &rope);
        let grads = (out.clone() * tensor(&upstream, width[0])).sum().backward();
        let setting = Setting { packing: &packing, head_dim, window: usize::MAX, theta: 1e4 };
        let exact = qkv.each_ref().map(|x| wide(x));
        let exact = exact.each_ref().map(|x| &x[..]);
        let wanted = setting.forward(exact);
        self.compare("attention_forward", read(out.inner()).await?, &wanted, FORWARD);
        let [by_q, by_k, by_v] = setting.backward(exact, &wide(&upstream));
        let mut got = Vec::new();
        for input in inputs {
            let gradient = input.grad(&grads);
            let gradient = gradient.ok_or_else(|| Error::numbers("attention has no gradient"))?;
            got.push(read(gradient).await?);
        }
        let by_kv = got.split_off(1).concat();
        self.compare("attention_dq", got.concat(), &by_q, BACKWARD);
        self.compare("attention_dkv", by_kv, &[by_k, by_v].concat(), BACKWARD);
        Ok(())
    }

    /// One new position a row, twice, over pasts of up to two turns of the shader, two of them after the same prompt.
    pub(super) async fn attention(&mut self) -> Result<()> {
        const STEPS: usize = 2;
        let (heads, kv_heads, head_dim) = (6, 2, 16);
        let tree = |prompt: usize, branches: &[usize]| Tree { prompt, branches: branches.to_vec() };
        let packing = Packing { trees: vec![tree(200, &[102, 58]), tree(1, &[4])] };
        let setting = Setting { packing: &packing, head_dim, window: usize::MAX, theta: 1e4 };
        let width = [heads, kv_heads, kv_heads].map(|heads| heads * head_dim);
        let qkv = [0, 1, 2].map(|i| peaky(packing.rows() * width[i], 10 + i as u32));
        let pick = |i: usize, rows: &[usize]| {
            let row = |&row: &usize| &qkv[i][row * width[i]..][..width[i]];
            let picked: Vec<f32> = rows.iter().flat_map(row).copied().collect();
            self.floats(&picked, [rows.len(), width[i]])
        };
        let mut begun = packing.clone();
        let branches = begun.trees.iter_mut().flat_map(|tree| &mut tree.branches);
        branches.for_each(|rows| *rows -= STEPS);
        let news: Vec<usize> = packing
            .segments()
            .filter(|branch| !branch.past.is_empty())
            .map(|branch| branch.rows.end - STEPS)
            .collect();
        let is_new = |row: &usize| news.iter().any(|&new| (new..new + STEPS).contains(row));
        let old: Vec<usize> = (0..packing.rows()).filter(|row| !is_new(row)).collect();
        let rope = Rope::new(packing.positions(), head_dim, 1e4, Scaling::None, &self.device);
        let places = Places::new(begun, &self.device);
        let kv = [pick(1, &old), pick(2, &old)];
        let mut cache = KvCache::new(kv, head_dim, &places, 102, CacheDtype::F32, &rope);
        let exact = qkv.each_ref().map(|x| wide(x));
        let exact = exact.each_ref().map(|x| &x[..]);
        let (mut got, mut wanted) = (Vec::new(), Vec::new());
        for step in 0..STEPS {
            let at: Vec<usize> = news.iter().map(|new| new + step).collect();
            let [q, k, v] = [0, 1, 2].map(|i| pick(i, &at));
            self.poison(&[at.len() * width[0]]).await?;
            got.extend(read(decode_attention(q, k, v, &mut cache, &rope)).await?);
            wanted.extend(at.into_iter().flat_map(|row| setting.rows(exact, row..row + 1)));
        }
        self.compare("attention_decode", got, &wanted, FORWARD);
        Ok(())
    }

    /// A small random model: its logits against the CPU backend's, and those of decoding token by token
    /// against those of one pass.
    pub(super) async fn decoding(&mut self) -> Result<()> {
        let config = ModelConfig {
            vocab_size: 29,
            hidden_size: 24,
            intermediate_size: 40,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: 8,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: Scaling::Linear { factor: 2.0 },
            local: Some(Local { window: 5, rope_theta: 100.0, layers: vec![true, false] }),
            query_factor: 1.0,
            max_positions: 16,
            tied: false,
            qkv_bias: true,
            output_bias: true,
            mlp_bias: false,
            qk_norm: true,
            norms_after: true,
            norm_offset: 0.0,
            activation: Activation::Silu,
            embedding_factor: 1.0,
            eos_tokens: vec![2],
        };
        let text: Vec<i32> = (0..18).map(|i| (i * 5 + 3) % 29).collect(); // [2, 9]
        let whole = |device: &Device| {
            let mut model = Llama::random(config.clone(), 0, device);
            for (index, p) in model.parameters_mut().into_iter().enumerate() {
                // Larger than a fresh model's weights, which would give almost flat logits.
                let count = p.block_shape[0] * p.block_shape[1];
                let values: Vec<f32> =
                    peaky(count, 100 + index as u32).iter().map(|v| 0.2 * v).collect();
                *p.tensor = Tensor::from_data(TensorData::new(values, p.block_shape), device);
            }
            let tokens = Tensor::from_data(TensorData::new(text.clone(), [18]), device);
            let logits =
                model.logits(model.hidden(tokens, &Places::new(Packing::apart([9, 9]), device)));
            (model, logits)
        };
        let (exact, expected) = whole(&Device::flex());
        let expected = wide(&read(expected).await?);
        self.poison(&[18 * 29, 18 * 24, 18 * 40]).await?;
        let (model, logits) = whole(&self.device);
        self.compare("model", read(logits).await?, &expected, BACKWARD);
        if cube::runs_on(&self.device) {
            let gradient = |model: &Llama| {
                let device = model.device();
                let model = model.tracked();
                let tokens = Tensor::from_data(TensorData::new(text.clone(), [18]), &device);
                let hidden = model.hidden(tokens, &Places::new(Packing::apart([9, 9]), &device));
                let gradients = hidden.square().sum().backward();
                let of = |p: Parameter| Some(p.tensor.grad(&gradients)?.flatten::<1>(0, 1));
                Tensor::cat(model.parameters().into_iter().filter_map(of).collect(), 0)
            };
            let expected = wide(&read(gradient(&exact)).await?);
            self.compare("model's gradient", read(gradient(&model)).await?, &expected, BACKWARD);
        }

        let start: Vec<i32> = [&text[..4], &text[9..12]].concat();
        let trees = [4, 3].map(|prompt| Tree { prompt, branches: vec![0] }).to_vec();
        let mut ways = vec![("cached decoding", Decoding::plain(&model))];
        let step = Decoding::new(&model, CacheDtype::F32);
        if step.by_kernels() {
            ways.push(("decoding step", step));
        }
        for (name, decoding) in ways {
            let packing = Packing { trees: trees.clone() };
            let (_, mut caches) = decoding.prefill(self.ints(&start), packing, 12);
            let (mut got, mut wanted) = (Vec::new(), Vec::new());
            for step in 0..4 {
                let at = [4 + step, 9 + 3 + step];
                got.push(decoding.decode(self.ints(&at.map(|i| text[i])), &mut caches));
                at.iter().for_each(|i| wanted.extend_from_slice(&expected[i * 29..][..29]));
            }
            self.compare(name, read(Tensor::cat(got, 0)).await?, &wanted, BACKWARD);
        }
        Ok(())
    }
}
