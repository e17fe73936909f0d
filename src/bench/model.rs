//! A model of random weights with adapters: how fast it samples and learns, and what it takes.

use super::clock::Clock;
use super::noise;
use super::record::{Decode, Limit, Update as Updated, Work};
use super::shape::Shape;
use crate::config::{CacheDtype, Config, Frozen};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::model::{Llama, ModelFolder, StoredBytes};
use crate::objective::Update;
use crate::ops::fused::runs_on;
use crate::ops::readback::wait;
use crate::ops::sampling::Sampling;
use crate::ops::weight::Weight;
use crate::optim::AdamW;
use crate::plan::{Circumstances, plan};
use crate::platform::Stopwatch;
use crate::records::{Sequence, TermCoefficients};
use crate::rollout::{Plan, Stops, respond};
use crate::run::lora_settings;
use burn::tensor::Device;

/// Rows that are decoded together.
pub const ROWS: [usize; 3] = [1, 16, 64];
/// Tokens of a prompt and of a response, and sequences of an update.
const PROMPT: usize = 64;
const RESPONSE: usize = 128;
const SEQUENCES: usize = 8;
/// Steps between two looks at what was sampled: decoding is measured in whole ones.
pub const LOOK: usize = 8;
/// Long enough to tell decoding from the first token.
const DECODE_SECS: f64 = 0.3;
/// As a run of adapters has it. A GPU's memory is unknown, so there all layers are computed again.
const SETTINGS: &str =
    "lora = { rank = 16 }\ntrain = { checkpointing = true }\noptimizer = { lr = 1e-5 }
    rollout = { prompts = 1, group = 64, max_new_tokens = 128 }";
/// How large random weights are, so that what they give stays finite.
const SCALE: f32 = 1.0 / 64.0;

/// What is measured of a shape.
pub struct Subject {
    /// Everything that a run would have by default.
    pub config: Config,
    shape: Shape,
    frozen: Frozen,
    matrices: usize, // numbers of the layers' matrices
    table: usize,    // of the head
}

impl Subject {
    /// Nothing is allocated yet.
    pub fn new(shape: Shape, frozen: Frozen) -> Result<Self> {
        let c = &shape.config;
        let (d, head) = (c.hidden_size, c.head_dim);
        let matrices = c.layers * d * (2 * head * (c.heads + c.kv_heads) + 3 * c.intermediate_size);
        let table = c.vocab_size * d;
        let config = Config::resolve(&[Config::layer(SETTINGS, "bench")?])?;
        Ok(Self { config, shape, frozen, matrices, table })
    }

    /// Numbers of all its matrices.
    pub fn parameters(&self) -> usize {
        self.matrices + self.table * if self.shape.config.tied { 1 } else { 2 }
    }

    /// Bytes of the matrices that each token goes through.
    pub fn weight_bytes(&self) -> usize {
        (self.matrices + self.table) * if self.frozen == Frozen::F32 { 4 } else { 2 }
    }

    /// What sampling and update take, as `srft plan` computes it.
    pub fn plan_bytes(&self, device: &Device) -> Result<usize> {
        let lora = lora_settings(&self.config)?;
        let here = Circumstances {
            on_cpu: runs_on(device),
            frozen: (self.frozen == Frozen::Stored)
                .then_some(StoredBytes { matrices: 2.0, tables: 2.0 }),
            longest: Some(PROMPT + RESPONSE),
            evaluates: false,
        };
        let model = &self.shape.config;
        Ok(plan(&self.config, model, lora.as_ref(), here, model.layers).peak_bytes())
    }

    /// A model of random weights with adapters.
    pub fn model(&self, device: &Device) -> Result<Llama> {
        let mut model = Llama::empty(self.shape.config.clone(), device);
        if self.frozen == Frozen::Stored {
            let stored = |[rows, width]: [usize; 2]| {
                noise::in_bf16(&noise::halves(rows * width, SCALE), rows, device).ok_or_else(|| {
                    Error::input("the model's rows are of an odd length").next("use --frozen f32")
                })
            };
            for (_, matrix) in model.matrices_mut() {
                if let Weight::Frozen(weight) = stored(matrix.dims())? {
                    matrix.freeze(weight);
                }
            }
            for (_, table) in model.tables_mut() {
                let [rows, width] = table.dims();
                let each = table.rows_within(2 * width);
                let blocks = (0..rows).step_by(each);
                let blocks = blocks.map(|first| stored([each.min(rows - first), width]));
                table.freeze(blocks.collect::<Result<_>>()?, each);
            }
        }
        for p in model.weights_mut() {
            // Norms multiply by 1/64, too: only the logits get small.
            *p.tensor = noise::matrix(p.block_shape, SCALE, device);
        }
        if let Some(lora) = lora_settings(&self.config)? {
            model.adapt(lora, 0);
        }
        Ok(model)
    }

    /// A decoding step of `rows` rows after one prompt, within `secs`.
    pub async fn decode(
        &self,
        clock: &Clock<'_>,
        model: &Llama,
        rows: usize,
        secs: f64,
    ) -> Result<Decode> {
        let past = PROMPT.min(model.config.max_positions / 2);
        let prompt: Vec<u32> = self.tokens(0, past);
        let never = [u32::MAX]; // ends no response
        let sample = async |max_new_tokens: usize| {
            let plan = Plan {
                group: rows,
                sampling: Sampling::default(),
                max_new_tokens,
                eos_tokens: &never,
                stops: Stops::default(),
                slots: 0,
                cache: CacheDtype::F32,
                seed: 0,
                step: 0,
            };
            let prompts = [prompt.clone()];
            clock.once(async { respond(model, &prompts, &plan).await.map(drop) }).await
        };
        // What follows the first token, which the prompt gives.
        let steps_of = async |steps: usize| {
            let first = sample(1).await?;
            let all = sample(1 + steps).await?;
            Ok(if all > first { all - first } else { all })
        };
        let whole = Stopwatch::start();
        steps_of(LOOK).await?; // compiles
        let few = steps_of(LOOK).await?;
        let left = secs - whole.elapsed_secs();
        let room = (model.config.max_positions - past - 1).min(RESPONSE) / LOOK;
        let looks =
            ((left / 3.0).min(DECODE_SECS) / few).floor().clamp(1.0, room.max(1) as f64) as usize;
        let steps = looks * LOOK;
        let secs = clock.median(left, async || steps_of(steps).await).await? / steps as f64;
        Ok(Decode {
            rows,
            past,
            step_ms: 1e3 * secs,
            tokens_per_sec: rows as f64 / secs,
            limit: Limit::default(),
            work: Work {
                bytes: self.weight_bytes() as f64,
                flop: 2.0 * (rows * (self.matrices + self.table)) as f64,
            },
        })
    }

    /// An update of the adapters, of as many sequences as fit in `secs`.
    pub async fn update(&self, clock: &Clock<'_>, model: Llama, secs: f64) -> Result<Updated> {
        let layers = model.config.layers;
        let device = model.device();
        let room = model.config.max_positions.min(PROMPT + RESPONSE);
        let response = room * RESPONSE / (PROMPT + RESPONSE);
        let prompt = room - response;
        let (tokenizer, _) = ModelFolder::tiny().text_and_shape()?;
        let mut optimizer = AdamW::new(self.config.optimizer.clone(), &model);
        let config = self.config.clone();
        let rank = config.lora.rank;
        let lr = config.optimizer.lr;
        let mut learner = Learner::new(config, model, None, tokenizer, layers);
        let batch = |sequences: usize| Update {
            sequences: (0..sequences)
                .map(|i| self.sequence(i, prompt, response, sequences))
                .collect(),
            advantages: Vec::new(),
            divisors: Vec::new(),
        };
        let mut step = async |update: &Update| {
            let work = async {
                let gradient = learner.gradient(update, 0).await?;
                if !(gradient.norm > 0.0 && gradient.norm.is_finite()) {
                    let what = format!("the gradient's norm is {}", gradient.norm);
                    return Err(
                        Error::numbers(what).next("report it, with the output of `srft devices`")
                    );
                }
                optimizer.step(&mut learner.policy, gradient.tensors, gradient.norm, lr);
                wait(&device)
            };
            clock.once(work).await
        };
        let whole = Stopwatch::start();
        let one = batch(1);
        step(&one).await?; // compiles
        let single = step(&one).await?;
        let left = secs - whole.elapsed_secs();
        let sequences = (left / (1.5 * single)).floor().clamp(1.0, SEQUENCES as f64) as usize;
        let update = batch(sequences);
        let secs = clock.median(left, async || step(&update).await).await?;
        let tokens = sequences * response;
        let flop = 6 * sequences * (prompt + response) * self.matrices + 4 * tokens * self.table;
        Ok(Updated {
            sequences,
            prompt,
            response,
            rank,
            ms: 1e3 * secs,
            tokens_per_sec: tokens as f64 / secs,
            limit: Limit::default(),
            // Each layer forwards, again, and backwards; the head forwards and backwards.
            work: Work { bytes: 3.0 * self.weight_bytes() as f64, flop: flop as f64 },
        })
    }

    fn tokens(&self, first: usize, count: usize) -> Vec<u32> {
        (first..first + count).map(|i| (i * 7 % self.shape.config.vocab_size) as u32).collect()
    }

    /// A demonstration of a prompt that no other has, whose loss is the mean of -ln p over all of the update.
    fn sequence(&self, i: usize, prompt: usize, response: usize, sequences: usize) -> Sequence {
        let sft = 1.0 / (sequences * response) as f32;
        Sequence {
            terms: TermCoefficients { sft, ..TermCoefficients::default() },
            ..Sequence::to_score(self.tokens(i, prompt), self.tokens(0, response))
        }
    }
}
