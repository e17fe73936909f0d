//! What a step costs on the wire. For adapters every byte passes the coordinator; a whole model's weights and
//! gradients go from worker to worker (`chain`).

/// Bytes of a token that is sampled or trained on, with its numbers, in a message.
const TOKEN: usize = 15;

/// What part of a link's nominal rate arrives as payload.
const PAYLOAD: f64 = 0.94;

/// What decides the traffic of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Numbers that train.
    pub trained: usize,
    /// Bytes of the model's files, which a worker that has never seen them is sent once.
    pub files: usize,
    /// Shards that a step is cut into.
    pub shards: usize,
    /// Updates a step.
    pub updates: usize,
    /// Tokens of a step's prompts and responses, at most.
    pub tokens: usize,
    /// Whether workers pass weights and sums on.
    pub chain: bool,
}

impl Traffic {
    /// Bytes through the coordinator in a step: weights to each worker, a gradient from each shard, tokens. Of a chain
    /// weights go to one worker and one gradient comes back. That is then also what goes through any of the
    /// workers, either way, and all of them at once.
    pub fn step_bytes(&self, workers: usize) -> usize {
        let weights = 4 * self.trained;
        let times = if self.chain && workers > 1 { 2 } else { workers + self.shards };
        self.updates * times * weights + 2 * self.tokens * TOKEN
    }

    /// Seconds of that, at `link` bits a second.
    pub fn step_secs(&self, workers: usize, link: f64) -> f64 {
        8.0 * self.step_bytes(workers) as f64 / (link * PAYLOAD)
    }

    /// How much faster than alone a step of `alone` seconds is with so many workers, all alike. Shards are taken
    /// to cost the same, and to go round evenly.
    pub fn speedup(&self, workers: usize, link: f64, alone: f64) -> f64 {
        let rounds = self.shards.div_ceil(workers.max(1)) as f64 / self.shards as f64;
        alone / (alone * rounds + self.step_secs(workers, link))
    }
}

/// A link's rate in bits a second: `100m`, `1g`, `10g`.
pub fn link(text: &str) -> Option<f64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" | "M" => 1e6,
        "g" | "G" => 1e9,
        _ => return None,
    };
    let rate = digits.parse::<f64>().ok()? * unit;
    (rate > 0.0 && rate.is_finite()).then_some(rate)
}
