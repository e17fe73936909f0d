//! From logits to new weights: statistics, the head, the objective, the draw, AdamW.

use super::{BACKWARD, Checks, FORWARD, peaky, wide};
use crate::error::{Error, Result};
use crate::objective::reference::objective as objective_reference;
use crate::ops::adamw::{State, Step, Update, adamw, reference as adamw_reference, squared_norm};
use crate::ops::lm_head::{Head, logits_bytes};
use crate::ops::objective::{COLUMNS, Row, Switches, objective};
use crate::ops::readback::floats as read;
use crate::ops::sampling::{Draw, Draws, Sampling, reference as sampling_reference, sample};
use crate::ops::token_stats as stats_op;
use crate::ops::token_stats::{reference as stats_reference, token_stats};
use crate::ops::weight::Weight;
use crate::random::{Stream, purpose, token_uniform};
use crate::records::TermCoefficients;
use burn::tensor::Tensor;

impl<F: FnMut(&str, &mut Vec<f32>)> Checks<F> {
    pub(super) async fn token_statistics(&mut self) -> Result<()> {
        const V: usize = 513;
        let rows = 5;
        let values = peaky(rows * V, 0);
        let targets = [0, 512, 256, -1, 17];
        let upstream = peaky(rows * 2, 1);
        self.poison(&[rows * stats_op::RECORD, rows * 2, rows * V]).await?;
        let logits = self.floats(&values, [rows, V]).autodiff().require_grad();
        let stats = token_stats(logits.clone(), self.ints(&targets));
        let forward: Vec<f64> = stats_reference::forward(&wide(&values), &targets, V).concat();
        self.compare("token_stats", read(stats.clone()).await?, &forward, FORWARD);
        let loss = (stats * self.floats(&upstream, [rows, 2]).autodiff()).sum();
        let gradient = logits.grad(&loss.backward());
        let gradient = gradient.ok_or_else(|| Error::numbers("token_stats has no gradient"))?;
        let expected = stats_reference::backward(&wide(&values), &targets, V, &wide(&upstream));
        self.compare("token_stats_backward", read(gradient).await?, &expected, BACKWARD);
        Ok(())
    }

    /// The gradient of Σ_n a_n ln p_n + b_n H_n with given a and b, through a head in two blocks.
    pub(super) async fn fused_head(&mut self) -> Result<()> {
        let (n, d, v) = (7, 16, 300);
        let (hidden, head) = (peaky(n * d, 2), peaky(v * d, 3));
        let head: Vec<f32> = head.iter().map(|w| 0.2 * w).collect();
        let targets: Vec<i32> = (0..n as i32).map(|i| (i * 47) % v as i32).collect();
        let upstream = peaky(n * 2, 4);
        let split = 128;
        let blocks = [
            self.floats(&head[..split * d], [split, d]),
            self.floats(&head[split * d..], [v - split, d]),
        ];
        self.poison(&[n * d, v * d, n * v]).await?;
        let given = self.floats(&upstream, [n, 2]);
        let fused = Head::new(blocks.map(Weight::from).to_vec(), logits_bytes(true));
        let mut d_head = fused.no_gradient();
        let (hidden_states, targets_of) = (self.floats(&hidden, [n, d]), self.ints(&targets));
        let d_hidden = [0..3, 3..n].map(|range| {
            let chunk = fused.forward(
                hidden_states.clone().slice(range.clone()),
                targets_of.clone().slice(range.clone()),
            );
            fused.backward(chunk, given.clone().slice(range), &mut d_head)
        });
        let d_hidden = Tensor::cat(d_hidden.to_vec(), 0);
        let d_head: Vec<_> = d_head.into_iter().flatten().collect();
        let mut logits = vec![0.0; n * v];
        for (i, logit) in logits.iter_mut().enumerate() {
            let (h, w) = (&hidden[i / v * d..][..d], &head[i % v * d..][..d]);
            *logit = h.iter().zip(w).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        }
        let d_logits = stats_reference::backward(&logits, &targets, v, &wide(&upstream));
        let (mut by_hidden, mut by_head) = (vec![0.0; n * d], vec![0.0; v * d]);
        for (i, g) in d_logits.iter().enumerate() {
            for k in 0..d {
                by_hidden[i / v * d + k] += g * f64::from(head[i % v * d + k]);
                by_head[i % v * d + k] += g * f64::from(hidden[i / v * d + k]);
            }
        }
        self.compare("lm_head, by hidden", read(d_hidden).await?, &by_hidden, BACKWARD);
        let d_head = read(Tensor::cat(d_head, 0)).await?;
        self.compare("lm_head, by head", d_head, &by_head, BACKWARD);
        Ok(())
    }

    pub(super) async fn objective(&mut self) -> Result<()> {
        let lengths = [1u32, 40, 300];
        let n: u32 = lengths.iter().sum();
        let mut stream = Stream::new(0, purpose::SELF_TEST, 5);
        let stats: Vec<[f32; 2]> =
            (0..n).map(|_| [-3.0 * stream.normal().abs(), stream.normal().abs()]).collect();
        let mut near = |logp: f32| logp + 0.3 * stream.normal();
        let given: Vec<[f32; 3]> = stats.iter().map(|s| [near(s[0]), near(s[0]), 0.5]).collect();
        let mut start = 0;
        let rows = lengths.map(|len| {
            let demonstration = len == 40;
            let terms = TermCoefficients {
                sft: if demonstration { 0.01 } else { 0.0 },
                rl_demo: if demonstration { -0.02 } else { 0.0 },
                self_logp: if len == 1 { 0.03 } else { 0.0 },
                self_ratio: if len == 300 { -0.01 } else { 0.0 },
                self_positive: len == 300,
                entropy: -1e-3,
                kl: if demonstration { 0.02 } else { 0.0 },
            };
            start += len;
            Row { start: start - len, len, demonstration, terms }
        });
        let switches = Switches::default();
        self.poison(&[2 * n as usize, COLUMNS * rows.len()]).await?;
        let got = objective(
            self.floats(&stats.concat(), [n as usize, 2]),
            self.floats(&given.concat(), [n as usize, 3]),
            &rows,
            &switches,
        );
        let exact_given: Vec<[f64; 3]> = given.iter().map(|g| g.map(f64::from)).collect();
        let exact: Vec<[f64; 2]> = stats.iter().map(|s| s.map(f64::from)).collect();
        let expected = objective_reference(&exact, &exact_given, &rows, &switches);
        let coefficients = expected.coefficients.concat();
        self.compare("objective", read(got.coefficients).await?, &coefficients, FORWARD);
        self.compare("objective, sums", read(got.sums).await?, &expected.sums.concat(), FORWARD);
        Ok(())
    }

    pub(super) async fn sampling(&mut self) -> Result<()> {
        const V: usize = 700;
        let rows = 6u32;
        let values = peaky(rows as usize * V, 6);
        let draws: Vec<Draw> =
            (0..rows).map(|i| Draw { prompt: i, sample: 2 * i, position: 3 * i }).collect();
        let settings = Sampling {
            temperature: 0.7,
            top_k: 50,
            top_p: 0.9,
            min_p: 0.02,
            policy_temperature: 0.7,
        };
        self.poison(&[rows as usize, 2 * rows as usize]).await?;
        let mut counters = Draws::new(draws.iter().copied(), &self.device);
        let logits = self.floats(&values, [rows as usize, V]);
        let sampled = sample(logits, &mut counters, 11, 12, settings);
        let tokens = read(sampled.tokens.float()).await?;
        let (mut expected_tokens, mut expected_stats) = (Vec::new(), Vec::new());
        for ((logits, draw), &token) in values.chunks_exact(V).zip(&draws).zip(&tokens) {
            let u = token_uniform(11, 12, draw.prompt, draw.sample, draw.position);
            let p = sampling_reference::distribution(logits, settings);
            let right = sampling_reference::draw(&p, f64::from(u));
            // A draw within 1e-5 of the border between two tokens may fall on either side in f32.
            let token = token as usize;
            let below: f64 = p.iter().take(token).sum();
            let fits = p.get(token).is_some_and(|q| {
                *q > 0.0 && f64::from(u) > below - 1e-5 && f64::from(u) < below + q + 1e-5
            });
            let accepted = if fits { token } else { right };
            expected_tokens.push(accepted as f64);
            expected_stats.push(sampling_reference::log_probabilities(logits, 0.7)[accepted]);
            expected_stats.push(sampling_reference::entropy(logits, 0.7));
        }
        self.compare("sampling, tokens", tokens, &expected_tokens, 0.0);
        self.compare("sampling", read(sampled.stats).await?, &expected_stats, FORWARD);
        Ok(())
    }

    /// AdamW's third update, and the norm of what it is given.
    pub(super) async fn adamw(&mut self) -> Result<()> {
        let shape = [37, 41];
        let [weights, first, gradient] = [30, 31, 32].map(|i| peaky(37 * 41, i));
        let second: Vec<f32> = first.iter().map(|m| m * m).collect();
        let update = Update {
            scale: 0.5,
            betas: [0.9, 0.95],
            corrections: [1.0 - 0.9f64.powi(3), 1.0 - 0.95f64.powi(3)],
            epsilon: 1e-8,
            rate: 1e-2,
        };
        let [w, m, v, g] = [&weights, &first, &second, &gradient].map(|x| self.floats(x, shape));
        let norm = read(squared_norm(&[g.clone(), m.clone()])).await?;
        let state = State { weights: w, first: m, second: v };
        let states = adamw(vec![Step { state, gradient: g, decay: 0.999 }], &update);
        let [mut w, mut m, mut v, g] = [&weights, &first, &second, &gradient].map(|x| wide(x));
        let exact = adamw_reference::squared_norm(&[&g, &m]);
        self.compare("squares", norm, &[exact], FORWARD);
        adamw_reference::adamw([&mut w, &mut m, &mut v], &g, 0.999, &update);
        let all = states.into_iter().flat_map(|s| [s.weights, s.first, s.second]);
        let got = read(Tensor::cat(all.collect(), 0)).await?;
        self.compare("adamw", got, &[w, m, v].concat(), FORWARD);
        Ok(())
    }
}
