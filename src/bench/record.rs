//! What a bench finds, as `srft bench --json` prints it. Its keys are in docs/gpu.md.

use serde::Serialize;

/// Everything that was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Bench {
    /// srft's version.
    pub version: &'static str,
    /// The commit it was built from, where the build was told (`SRFT_COMMIT`).
    pub commit: Option<&'static str>,
    /// Where it ran.
    pub adapter: Option<Adapter>,
    /// The kernels' checks that passed there.
    pub self_test: Vec<&'static str>,
    /// Of what shape.
    pub model: Option<Model>,
    /// The adapter's own figures.
    pub machine: Option<Machine>,
    /// Sampling by the number of rows.
    pub decode: Vec<Decode>,
    /// An update of adapters.
    pub update: Option<Update>,
    /// Most bytes that the model's part took: on the device, on the CPU of the process.
    pub peak_bytes: Option<u64>,
    /// The model's products.
    pub products: Vec<Product>,
    /// What did not fit into the time or the adapter, and why.
    pub left_out: Vec<String>,
    /// How long all of it took.
    pub secs: f64,
}

/// An adapter.
#[derive(Debug, Clone, Serialize)]
pub struct Adapter {
    /// The vendor's name for it.
    pub name: String,
    /// flex, vulkan, metal, dx12, gl.
    pub backend: String,
    /// Driver and its version.
    pub driver: String,
    /// What it is.
    pub kind: &'static str,
    /// How it computes large products: f32, f16x3 or f16.
    pub precision: &'static str,
}

/// A model's shape.
#[derive(Debug, Clone, Serialize)]
pub struct Model {
    /// What it is called.
    pub name: String,
    /// Numbers in its matrices.
    pub parameters: u64,
    /// How the matrices are held: f32 or bf16.
    pub held: &'static str,
    /// Bytes of the matrices that a token goes through.
    pub weight_bytes: u64,
    /// What `srft plan` says that sampling and update take.
    pub plan_bytes: u64,
}

/// An adapter's own figures.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// A small operation in a queue of a thousand, microseconds.
    pub launch_us: f64,
    /// A small write from the host among a thousand.
    pub host_write_us: f64,
    /// A small operation and the wait for its end.
    pub wait_us: f64,
    /// A small operation and the reading of its result.
    pub readback_us: f64,
    /// Reading and writing a large buffer, 10⁹ bytes a second; on the CPU reading.
    pub bandwidth_gb_per_sec: f64,
    /// The fastest product of all, 10⁹ operations a second.
    pub peak_gflop_per_sec: f64,
}

/// A decoding step: one more token a row.
#[derive(Debug, Clone, Serialize)]
pub struct Decode {
    /// Rows.
    pub rows: usize,
    /// Tokens a row has before.
    pub past: usize,
    /// Milliseconds.
    pub step_ms: f64,
    /// Tokens a second, all rows together.
    pub tokens_per_sec: f64,
    /// What the adapter's own figures allow.
    #[serde(flatten)]
    pub limit: Limit,
    #[serde(skip)]
    pub(super) work: Work,
}

/// One update of adapters, optimiser included, all layers computed again in the backward pass.
#[derive(Debug, Clone, Serialize)]
pub struct Update {
    /// Sequences.
    pub sequences: usize,
    /// Tokens of a prompt.
    pub prompt: usize,
    /// Tokens of a response.
    pub response: usize,
    /// Rank of the adapters.
    pub rank: usize,
    /// Milliseconds.
    pub ms: f64,
    /// Response tokens a second.
    pub tokens_per_sec: f64,
    /// What the adapter's own figures allow.
    #[serde(flatten)]
    pub limit: Limit,
    #[serde(skip)]
    pub(super) work: Work,
}

/// A product x [M, K] · Wᵀ [K, N].
#[derive(Debug, Clone, Serialize)]
pub struct Product {
    /// What W is in the model.
    pub matrix: String,
    /// Columns of the result.
    pub n: usize,
    /// What is summed over.
    pub k: usize,
    /// Rows.
    pub m: usize,
    /// Who computes it.
    pub by: &'static str,
    /// Milliseconds.
    pub ms: f64,
    /// 10⁹ operations a second.
    pub gflop_per_sec: f64,
    /// Share of the peak.
    pub of_peak: f64,
    /// Share of the bandwidth.
    pub of_bandwidth: f64,
    /// What the adapter's own figures allow.
    #[serde(flatten)]
    pub limit: Limit,
    #[serde(skip)]
    pub(super) work: Work,
}

/// The shortest time that bandwidth and peak allow, and how near to it something is.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Limit {
    /// memory or compute: which would take longer.
    pub limit: &'static str,
    /// The shortest time to the one that was measured.
    pub of_limit: f64,
}

/// Bytes that must be read or written, and operations that must be computed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Work {
    /// Bytes.
    pub bytes: f64,
    /// Operations.
    pub flop: f64,
}

impl Machine {
    /// The limit of some work that took `secs`.
    fn limit(&self, work: Work, secs: f64) -> Limit {
        let memory = work.bytes / (1e9 * self.bandwidth_gb_per_sec);
        let compute = work.flop / (1e9 * self.peak_gflop_per_sec);
        let limit = if memory > compute { "memory" } else { "compute" };
        Limit { limit, of_limit: memory.max(compute) / secs }
    }
}

impl Bench {
    /// Takes the fastest product as the peak, and fills in what is a share of it or of the bandwidth.
    pub(super) fn settle(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        for product in &self.products {
            machine.peak_gflop_per_sec = machine.peak_gflop_per_sec.max(product.gflop_per_sec);
        }
        for decode in &mut self.decode {
            decode.limit = machine.limit(decode.work, decode.step_ms / 1e3);
        }
        if let Some(update) = &mut self.update {
            update.limit = machine.limit(update.work, update.ms / 1e3);
        }
        for product in &mut self.products {
            product.of_peak = product.gflop_per_sec / machine.peak_gflop_per_sec;
            let gb_per_sec = product.work.bytes / (1e6 * product.ms);
            product.of_bandwidth = gb_per_sec / machine.bandwidth_gb_per_sec;
            product.limit = machine.limit(product.work, product.ms / 1e3);
        }
    }
}
