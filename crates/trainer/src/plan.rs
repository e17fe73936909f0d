//! Where a run's memory goes, computed before anything is allocated: sums over tensors whose shapes follow
//! from the config and the model's config. Tests compare the sum with counted allocations.

use crate::config::{CacheDtype, Checkpointing, Objective, Precision, Settings, Storage};
use crate::model::{Lora, ModelConfig, StoredBytes, part_bytes};
use crate::ops::lm_head::logits_bytes;
use crate::ops::vector::LANES;
use crate::platform::free_memory_bytes;
use crate::rollout::TOKENS_PER_PASS;

/// Bytes of an f32.
const F32: usize = 4;

/// Tokens of a prompt that are assumed where the data is not known.
pub const ASSUMED_PROMPT: usize = 512;

/// Bytes that one purpose needs at its peak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is for.
    pub name: &'static str,
    /// How much.
    pub bytes: usize,
    /// How it is computed, in words.
    pub of: String,
}

/// A run's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Held during the whole run.
    pub lasting: Vec<Item>,
    /// Held while responses are sampled.
    pub sampling: Vec<Item>,
    /// Held while an update is computed.
    pub update: Vec<Item>,
}

impl Plan {
    /// The largest sum at any time.
    pub fn peak_bytes(&self) -> usize {
        let sum = |items: &[Item]| items.iter().map(|item| item.bytes).sum::<usize>();
        sum(&self.lasting) + sum(&self.sampling).max(sum(&self.update))
    }
}

/// A model's sizes, in numbers (not bytes).
struct Sizes {
    query: usize,     // width of all queries
    kv: usize,        // width of all keys
    matrices: usize,  // weights of a layer's matrices
    layer: usize,     // weights of a layer
    tables: usize,    // of embedding and head
    weights: usize,   // of the checkpoint
    trainable: usize, // of what trains
}

impl Sizes {
    fn new(m: &ModelConfig, lora: Option<&Lora>) -> Self {
        let (d, f) = (m.hidden_size, m.intermediate_size);
        let (query, kv) = (m.heads * m.head_dim, m.kv_heads * m.head_dim);
        let when = |there: bool, count: usize| if there { count } else { 0 };
        let matrices = [
            ("q_proj", d, query),
            ("k_proj", d, kv),
            ("v_proj", d, kv),
            ("o_proj", query, d),
            ("gate_proj", d, f),
            ("up_proj", d, f),
            ("down_proj", f, d),
        ];
        let in_matrices = matrices.iter().map(|(_, i, o)| i * o).sum();
        let layer = in_matrices
            + when(m.qkv_bias, query + 2 * kv)
            + when(m.output_bias, d)
            + when(m.mlp_bias, 2 * f + d)
            + when(m.qk_norm, 2 * m.head_dim)
            + when(m.norms_after, 2 * d)
            + 2 * d;
        let tables = m.vocab_size * d * if m.tied { 1 } else { 2 };
        let weights = m.layers * layer + tables + d;
        let adapters = |lora: &Lora| {
            let adapted = matrices.iter().filter(|(name, ..)| lora.adapts(name));
            m.layers * adapted.map(|(_, i, o)| lora.rank * (i + o)).sum::<usize>()
        };
        let trainable = lora.map_or(weights, adapters);
        Self { query, kv, matrices: in_matrices, layer, tables, weights, trainable }
    }
}

/// How many numbers of a model train.
pub fn trained(model: &ModelConfig, lora: Option<&Lora>) -> usize {
    Sizes::new(model, lora).trainable
}

/// How many numbers a model has.
pub fn numbers(model: &ModelConfig) -> usize {
    Sizes::new(model, None).weights
}

/// What a run's memory depends on besides the config and the model.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// Whether it runs on the CPU backend, whose fused operations keep less.
    pub on_cpu: bool,
    /// Bytes of a number of the frozen weights, where these stay as their file stores them; else they are in
    /// f32.
    pub frozen: Option<StoredBytes>,
    /// Tokens of the longest text, prompt and response, if the data is known; see [`assumed`].
    pub longest: Option<usize>,
    /// Whether responses are sampled in evaluation.
    pub evaluates: bool,
}

/// The assumed length of the longest text, tokens, where the data is not known: what `data.max_tokens`
/// allows, else a prompt of [`ASSUMED_PROMPT`] and the longest response; at most the model's context.
pub fn assumed(config: &Settings, model: &ModelConfig) -> usize {
    let most = match config.data.max_tokens {
        0 => ASSUMED_PROMPT.saturating_add(config.rollout.max_new_tokens),
        most => most,
    };
    most.min(model.max_positions)
}

/// Bytes that a run may take, if that is known: what the config allows, or on the CPU two thirds of what is free.
pub fn budget(config: &Settings, on_cpu: bool) -> Option<usize> {
    match config.train.memory_gib {
        gib if gib > 0.0 => Some((gib * f64::from(1 << 30)) as usize),
        _ if on_cpu => {
            free_memory_bytes().map(|free| usize::try_from(free / 3 * 2).unwrap_or(usize::MAX))
        }
        _ => None,
    }
}

/// How many layers the backward pass computes again. For `auto` as few as let the run fit in `budget`; all if that
/// is unknown.
pub fn recomputed(
    config: &Settings,
    model: &ModelConfig,
    lora: Option<&Lora>,
    here: Circumstances,
    budget: Option<usize>,
) -> usize {
    let fits = |&some: &usize| {
        budget.is_some_and(|most| plan(config, model, lora, here, some).peak_bytes() <= most)
    };
    let asked = config.train.checkpointing.recomputed(model.layers);
    asked.unwrap_or_else(|| (0..model.layers).find(fits).unwrap_or(model.layers))
}

/// The memory that training `model` by `config` takes, with adapters (`lora`) or without, where the backward pass
/// computes the lowest layers, so many as are `recomputed`, again.
pub fn plan(
    config: &Settings,
    model: &ModelConfig,
    lora: Option<&Lora>,
    here: Circumstances,
    recomputed: usize,
) -> Plan {
    let Circumstances { on_cpu, frozen, longest, evaluates } = here;
    let s = Sizes::new(model, lora);
    let (d, f, layers) = (model.hidden_size, model.intermediate_size, model.layers);
    let item = |name, numbers: usize, of: String| Item { name, bytes: numbers * F32, of };
    let numbers = layers * s.matrices + s.tables;
    let in_f32 = if frozen.is_some() { s.weights - numbers } else { s.weights };
    let mut lasting = vec![item("weights", in_f32, format!("{in_f32} numbers in F32"))];
    if let Some(stored) = frozen {
        let (matrices, tables) = (layers as f64 * s.matrices as f64, s.tables as f64);
        let bytes = (matrices * stored.matrices + tables * stored.tables).ceil() as usize;
        let each = bytes as f64 / numbers as f64;
        let of = format!("{numbers} numbers of {each:.2} bytes, as they are stored");
        lasting.push(Item { name: "frozen weights", bytes, of });
        let part = (part_bytes(on_cpu) / F32).min(model.vocab_size * d);
        let part = if stored.tables < F32 as f64 { part.max(d * f) } else { d * f };
        lasting.push(item("a frozen matrix", part, "widened for its product".into()));
    }
    if lora.is_some() {
        lasting.push(item("adapters", s.trainable, format!("{} numbers in F32", s.trainable)));
    }
    let copies = if on_cpu { 2 } else { 1 }; // the CPU kernels read a table of their own
    let (kinds, by) = if model.local.is_some() { (2, ", by two wavelengths") } else { (1, "") };
    let rope = model.max_positions * model.head_dim * copies * kinds;
    let of = format!("cos and sin of {}{by}", model.max_positions);
    lasting.push(item("positions", rope, of));
    lasting.push(item("moments", 2 * s.trainable, "two per trained number".into()));
    let holds_base = config.stages().iter().any(Objective::uses_base);
    if holds_base && lora.is_none() {
        lasting.push(item(
            "base",
            s.weights,
            "for the KL penalty, besides the weights that train".into(),
        ));
    }

    let trains = config.stages().iter().any(|o| o.uses_rollouts());
    let longest = longest.unwrap_or_else(|| assumed(config, model));
    let sampling = if trains || evaluates {
        of_sampling(config, model, &s, Circumstances { longest: Some(longest), ..here }, trains)
    } else {
        Vec::new()
    };

    // A micro-batch is as large as its setting, or one sequence.
    let tokens = config.train.micro_batch_tokens.max(longest);
    let rank = lora.map_or(0, |lora| lora.targets.len() * lora.rank);
    // Of what goes into a frozen matrix without an adapter nothing is kept.
    let keeps = |names: &[&str]| lora.is_none_or(|lora| names.iter().any(|n| lora.adapts(n)));
    let into_query = if keeps(&["q_proj", "k_proj", "v_proj"]) { d } else { 0 };
    let into_gate = if keeps(&["gate_proj", "up_proj"]) { d } else { 0 };
    let into_down = if keeps(&["down_proj"]) { f } else { 0 };
    let inputs = into_query + into_gate + into_down;
    let inside = tokens * (2 * d + 2 * s.query + 2 * s.kv + 2 * f + inputs + rank);
    // Gradients of a layer's activations during the backward pass.
    let flowing = tokens * if on_cpu { 3 * f + 2 * d } else { f + d };
    let logits = (logits_bytes(on_cpu) / F32).min(tokens * model.vocab_size) + 2 * tokens * d;
    let (sets, of) = match config.train.shards {
        1 => (1, "one per trained number"),
        _ => (2, "one per trained number: the sum, and a shard's"),
    };
    let gradients = item("gradients", sets * s.trainable, of.into());
    let item = |name, numbers, of: &str| item(name, numbers, format!("{tokens} tokens: {of}"));
    let mut update = vec![gradients];
    let kept = layers - recomputed;
    let of = format!("of {kept} of {layers} layers, kept for the backward pass");
    if kept > 0 {
        update.push(item("activations", kept * inside, &of));
    }
    if recomputed == 0 {
        // As the pass goes down, weight gradients not yet added to the sum take the place of activations.
        let at_end = (inside + flowing + s.trainable).saturating_sub(kept * inside);
        let working = logits.max(flowing).max(at_end);
        update.push(item("backward", working, "the head's logits, or gradients under way"));
    } else {
        // Weight gradients of a layer, or of the head, not yet added to the sum.
        let vocabulary = model.vocab_size * d;
        let of_layer = if lora.is_some() { s.trainable / layers } else { s.layer };
        let passing = if lora.is_some() { of_layer } else { of_layer.max(vocabulary) };
        // The kept layers are done with before the first of the others is computed again.
        let in_place = |more: usize| (inside + flowing + more).saturating_sub(kept * inside);
        let of_kept = if kept > 0 { flowing.max(in_place(kept * of_layer)) } else { 0 };
        let again = (inside + flowing + passing).saturating_sub(kept * inside);
        let working = again.max(logits.max(of_kept) + passing);
        let of = format!("of {recomputed} of {layers} layers, which are computed again");
        update.push(item("inputs", tokens * d * (recomputed + 1), &of));
        update.push(item("backward", working, "the head's logits, or one layer and its gradients"));
    }
    let halves = match config.run.precision {
        Precision::F32 => 0,
        Precision::F16x3 => 2,
        Precision::F16 => 1,
    };
    if halves > 0 {
        let part = (part_bytes(on_cpu) / F32).min(model.vocab_size * d);
        let factors = (tokens * (d + f) + d * f).max(logits + part);
        update.push(item("in f16", factors * halves / 2, "a product's factors, for matrix units"));
    }
    Plan { lasting, sampling, update }
}

/// What sampling takes, for training or for evaluation.
fn of_sampling(
    config: &Settings,
    model: &ModelConfig,
    s: &Sizes,
    Circumstances { on_cpu, longest, evaluates, .. }: Circumstances,
    trains: bool,
) -> Vec<Item> {
    let (d, f, layers) = (model.hidden_size, model.intermediate_size, model.layers);
    let rollout = &config.rollout;
    let slots = if rollout.slots == 0 { 512 } else { rollout.slots };
    let slots = slots.min(rollout.prompts * rollout.group);
    let longest = longest.unwrap_or_else(|| assumed(config, model));
    let response = rollout.max_new_tokens.min(longest);
    let prompt = longest - response;
    // Rows end at different times, so that those under way may be of twice as many prompts.
    let trained = rollout.prompts.min(2 * slots.div_ceil(rollout.group));
    let evaluated = slots.div_ceil(config.eval.samples);
    let either = |does: bool, prompts: usize| if does { prompts } else { 0 };
    let prompts = either(trains, trained).max(either(evaluates, evaluated));

    let head = if on_cpu { model.head_dim.next_multiple_of(LANES) } else { model.head_dim };
    let position = 2 * layers * model.kv_heads * head;
    let number = match rollout.cache_dtype {
        CacheDtype::F32 => F32,
        CacheDtype::F16 => F32 / 2,
    };
    let cache = (prompts * prompt + slots * response) * position * number;
    let copied = if on_cpu { 0 } else { cache / layers }; // one layer's at a time, as rows join
    // As the prompts are read, pass by pass: beyond the whole cache, of which the last pass's is not there before it. The
    // logits come after that.
    let tokens = prompts * prompt;
    let pass = tokens.min(TOKENS_PER_PASS / prompt.max(1) * prompt).max(prompt);
    let (whole, rest) = (tokens / pass.max(1), tokens % pass.max(1));
    let beyond = |before: usize, read: usize| {
        let to_come = number * position * (tokens - before - read) / F32;
        (read * (3 * f + d).max(d + 2 * s.query + 4 * s.kv)).saturating_sub(to_come)
    };
    let reading = beyond(whole.saturating_sub(1) * pass, pass).max(beyond(whole * pass, rest));
    let logits = 3 * slots * model.vocab_size;
    let passing = match logits > reading {
        true => ("logits", format!("{slots} rows of {}", model.vocab_size)),
        false => ("prompts", format!("{pass} tokens of them, as they are read")),
    };
    let of = format!(
        "{prompts} prompts of {prompt} positions, and {slots} rows of {response} after them"
    );
    vec![
        Item { name: "KV cache", bytes: cache + copied, of },
        Item { name: passing.0, bytes: logits.max(reading) * F32, of: passing.1 },
    ]
}

/// Changes of settings that lower the peak, each on top of those before, with the peak that remains, until
/// it is at most `has` bytes; `adapters` are the ones to propose for a model without.
pub fn savings(
    config: &Settings,
    model: &ModelConfig,
    lora: Option<&Lora>,
    here: Circumstances,
    adapters: Option<&Lora>,
    has: usize,
) -> Vec<(String, usize)> {
    let longest = here.longest.unwrap_or_else(|| assumed(config, model));
    let batch = longest.min(config.train.micro_batch_tokens);
    let (mut config, mut lora) = (config.clone(), lora);
    let peak_of = |config: &Settings, lora: Option<&Lora>| {
        let again = recomputed(config, model, lora, here, Some(has));
        plan(config, model, lora, here, again).peak_bytes()
    };
    let mut peak = peak_of(&config, lora);
    let mut ways = Vec::new();
    for way in [Way::Checkpointing, Way::Slots(16), Way::Batch(batch), Way::Adapters, Way::Slots(4)]
    {
        let (mut other, mut other_lora) = (config.clone(), lora);
        let flag = match way {
            Way::Checkpointing => {
                other.train.checkpointing = Checkpointing::Auto;
                "--set train.checkpointing=auto".to_string()
            }
            Way::Slots(slots) => {
                other.rollout.slots = slots;
                format!("--set rollout.slots={slots}")
            }
            Way::Batch(tokens) => {
                other.train.micro_batch_tokens = tokens;
                format!("--set train.micro_batch_tokens={tokens}")
            }
            Way::Adapters => {
                other_lora = lora.or(adapters);
                format!("--lora-rank {}", other_lora.map_or(0, |lora| lora.rank))
            }
        };
        let lower = peak_of(&other, other_lora);
        if peak > has && lower < peak {
            (config, lora, peak) = (other, other_lora, lower);
            ways.push((flag, peak));
        }
    }
    ways
}

/// A way to need less memory.
enum Way {
    Checkpointing,
    Slots(usize),
    Batch(usize),
    Adapters,
}

/// Bytes of the model on disk, as `best` is stored.
pub fn stored_bytes(config: &Settings, model: &ModelConfig, lora: Option<&Lora>) -> usize {
    let numbers = Sizes::new(model, lora).trainable;
    numbers * if config.checkpoint.dtype == Storage::F32 { F32 } else { F32 / 2 }
}
