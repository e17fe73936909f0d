//! The command line: each command with its own flags.

use super::settings::Settings;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use srft::analysis::Source;
use srft::bench::Part;
use srft::config::Frozen;
use std::path::PathBuf;

/// Single-stage supervised + reinforcement fine-tuning of language models, on any GPU or none.
#[derive(Parser)]
#[command(
    version,
    bin_name = "srft", // Windows would say srft.exe
    after_help = "Examples:
  srft train                                   train the built-in model on the built-in task
  srft train --method grpo --seed 3            another method, another seed
  srft train --data problems.jsonl --model ./Qwen2.5-0.5B-Instruct --lora-rank 16
  srft train --data openai/gsm8k:main --model Qwen/Qwen2.5-0.5B-Instruct --lora-rank 16
  srft train --resume runs/srft-seed0          continue after Ctrl-C or a crash
  srft report runs/srft-seed0                  what happened, as one HTML file
  srft explain                                 one group of rollouts, every term of the loss
  srft chat --model runs/qwen/best             a conversation with it
  srft devices                                 devices, limits, self-tests
  srft bench                                   how fast this machine samples and learns"
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Train a model; ends with a table of accuracy before and after.
    Train(Train),
    /// Work for runs that are started elsewhere: do shards of their steps.
    Worker(Worker),
    /// Evaluate a model on the built-in suites or on your data.
    Eval(Eval),
    /// Sample responses to a prompt.
    Generate(Generate),
    /// Talk with a model in the terminal, or through a pipe.
    Chat(Chat),
    /// Compute the log-probability and entropy of each token of given responses.
    Score(Score),
    /// Show a group: rollouts, rewards, advantages, weights, each term and its gradient norm.
    Explain(Explain),
    /// Show what training did to a model: the paper's token shift and learning dynamics.
    #[command(subcommand)]
    Analyze(Analyze),
    /// Compare methods over regimes and seeds; ends with tables, and continues where it was stopped.
    Study(Study),
    /// Train a tiny base model from scratch, as the built-in one was.
    Pretrain(Pretrain),
    /// Show what happened in runs: one HTML file with charts, or text.
    Report(Report),
    /// Merge an adapter and its base into one model.
    Merge(Merge),
    /// Write a model, or an adapter alone, as a GGUF file for llama.cpp, LM Studio and Ollama.
    Export(Export),
    /// Estimate a run's memory, and whether it fits, without allocating it.
    Plan(Plan),
    /// List devices with their limits and self-test results.
    Devices(Devices),
    /// Measure an adapter: launches, memory, a model's products, decoding and updates.
    Bench(Bench),
    /// Print the resolved config with a comment for each key.
    Config(ConfigArguments),
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft train                                      the built-in model and task
  srft train --method grpo --steps 100 --out runs/grpo
  srft train --data train.jsonl --eval-data test.jsonl --verifier numeric --model ./my-model
  srft train --config runs/grpo/config.toml --seed 1
  srft train --devices 1,2                        two GPUs share each step
  srft train --resume runs/grpo                   continue after Ctrl-C, a crash, a full disk")]
pub struct Train {
    #[command(flatten)]
    pub settings: Settings,
    /// Number of updates.
    #[arg(long, allow_negative_numbers = true)]
    pub steps: Option<u32>,
    /// Train adapters of this rank instead of the whole model.
    #[arg(long, value_name = "R")]
    pub lora_rank: Option<usize>,
    /// Devices of this machine that share each step, named as for --device; the first holds the weights. A new
    /// run has a shard for each (`train.shards`).
    #[arg(long, value_name = "DEVICE,…", value_delimiter = ',', conflicts_with = "device")]
    pub devices: Vec<String>,
    /// Machines that share each step, on which `srft worker` runs: HOST[:PORT], or a file with one a line.
    #[arg(long, value_name = "HOST,…|FILE", value_delimiter = ',', requires = "token_file")]
    pub workers: Vec<String>,
    /// The workers' token.
    #[arg(long, value_name = "FILE", requires = "workers")]
    pub token_file: Option<PathBuf>,
    /// Run folder; by default a new one under runs/.
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub out: Option<PathBuf>,
    /// Continue the run in this folder.
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// With --resume: continue even if the data or the base changed since the run began.
    #[arg(long, requires = "resume")]
    pub accept_changes: bool,
    /// One JSON object per line instead of a progress bar and tables.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft worker --token-file token                  makes the token, if there is none; copy it to the other machines
  srft train --workers lab1,lab2 --token-file token")]
pub struct Worker {
    /// The token that workers and the run share; made, if there is no such file.
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// The UDP port that it listens on.
    #[arg(long, default_value_t = 7117, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// auto | cpu | vulkan | metal | dx12 | gl | index or part of a name.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// f32 | f16x3 | f16, as `run.precision` of the runs that it works for.
    #[arg(long, default_value = "f32")]
    pub precision: String,
    /// Where it keeps the models that it is sent; nothing is written elsewhere.
    #[arg(long, value_name = "DIR", default_value = "srft-worker")]
    pub folder: PathBuf,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft pretrain --out my-base                     a tiny base like the built-in one
  srft pretrain --out small --steps 500 --shape ./folder-with-config-and-tokenizer")]
pub struct Pretrain {
    #[command(flatten)]
    pub settings: Settings,
    /// Number of updates.
    #[arg(long, allow_negative_numbers = true)]
    pub steps: Option<u32>,
    /// Where to write the model folder.
    #[arg(long, value_name = "DIR", default_value = "tiny")]
    pub out: PathBuf,
    /// Folder with the model's shape and tokenizer; the weights start random.
    #[arg(long, value_name = "DIR", default_value = "tiny")]
    pub shape: String,
    /// Continue even if the data changed since it began.
    #[arg(long)]
    pub accept_changes: bool,
    /// One JSON object per line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft eval                                       the built-in base on the built-in suites
  srft eval --model runs/srft-seed0/best --samples 4
  srft eval --model runs/qwen/best --data heldout.jsonl --verifier math --samples 8 --out results
  srft eval --model ./my-model --data easy.jsonl --data hard.jsonl --verifier numeric --json")]
pub struct Eval {
    #[command(flatten)]
    pub settings: Settings,
    /// Samples per problem: accuracy is their mean; pass@k says whether at least one is right.
    #[arg(long)]
    pub samples: Option<usize>,
    /// Folder for every sample, one JSONL file per suite.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write even if files are there: those of the same names are replaced, nothing else is touched.
    #[arg(long)]
    pub overwrite: bool,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft generate '59+63='
  srft generate '59+63=' -n 8 --temperature 0.6 --model runs/srft-seed0/best
  srft generate '59+63=' --temperature 0 --json
  srft generate --model ./Qwen2.5-0.5B-Instruct --chat 'Is 2^61-1 prime?'
  srft generate --model runs/qwen/best --chat --system 'Answer in one word.' 'Is 91 prime?'")]
pub struct Generate {
    #[command(flatten)]
    pub settings: Settings,
    /// The prompt, as the model reads it; with --chat what the user says.
    pub prompt: String,
    /// Put the prompt into the model's chat template.
    #[arg(long)]
    pub chat: bool,
    /// With --chat: the system message in front.
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub system: Option<String>,
    /// Number of samples.
    #[arg(short, long, default_value_t = 1)]
    pub n: usize,
    /// Softmax temperature; 0 is greedy.
    #[arg(long, allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// One JSON object per line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft chat --model runs/qwen/best --temperature 0.6
  srft chat --model runs/qwen/best --beside base      the model before training answers too
  srft chat --model ./Qwen2.5-0.5B-Instruct --system 'Answer in one word.'
  srft chat --model runs/qwen/best < questions.txt > answers.txt

A message a line; /help lists what else a line may be. Ctrl-C stops an answer; a second one, or Ctrl-D,
leaves. Answers go to standard output, all else to standard error.")]
pub struct Chat {
    #[command(flatten)]
    pub settings: Settings,
    /// The system message.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Softmax temperature; 0 is greedy.
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// Draws from the fewest most probable tokens that hold this much mass; 1: from all.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f64>,
    /// A second model answers each message too, before the first: another folder or name, or `base`, what was
    /// trained.
    #[arg(long, value_name = "DIR|base")]
    pub beside: Option<String>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft score --model runs/srft-seed0/best --data responses.jsonl --out scores.jsonl

Each line of --data has a prompt and a response; each line of --out has the tokens, logprobs and
entropies (nats) of the response, end-of-text included.")]
pub struct Score {
    #[command(flatten)]
    pub settings: Settings,
    /// Where to write the results, one object per line: tokens, logprobs, entropies.
    #[arg(long, value_name = "O.jsonl")]
    pub out: PathBuf,
    /// Write even if files are there: those of the same names are replaced, nothing else is touched.
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft explain                                    a problem of the task, G rollouts
  srft explain --prompt '59+63=' --answer 122 --demonstration '9+3=12,5+6+1=12>122'
  srft explain --episodes given.jsonl --json")]
pub struct Explain {
    #[command(flatten)]
    pub settings: Settings,
    /// A prompt to sample a group for; by default a problem of the task.
    #[arg(long, conflicts_with = "episodes")]
    pub prompt: Option<String>,
    /// With --prompt: the gold answer; without it every rollout is wrong.
    #[arg(long, requires = "prompt")]
    pub answer: Option<String>,
    /// With --prompt: the teacher's response.
    #[arg(long, requires = "prompt")]
    pub demonstration: Option<String>,
    /// Episodes to explain, one object per prompt: {"prompt", "demonstration", "episodes": [{"response", "reward"}]}.
    #[arg(long, value_name = "F.jsonl")]
    pub episodes: Option<PathBuf>,
    /// JSON instead of tables.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft report runs/srft-seed0                     runs/srft-seed0/report.html
  srft report runs/srft-seed0 runs/grpo-seed0     both in ./report.html, side by side
  srft report runs/* --out study.html
  srft report runs/srft-seed0 --text              in the terminal

The file needs no network and no other files. A run that is still training, or that crashed, is
shown as far as it got.")]
pub struct Report {
    /// Run folders, or the folder of one study.
    #[arg(required = true, value_name = "DIR")]
    pub runs: Vec<PathBuf>,
    /// Where to write the report; by default report.html in the folder, or here for several runs.
    #[arg(long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,
    /// Write even if files are there: those of the same names are replaced, nothing else is touched.
    #[arg(long)]
    pub overwrite: bool,
    /// Print it as text; a file is then written only with --out.
    #[arg(long)]
    pub text: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft devices
  srft devices --no-self-test --json")]
pub struct Devices {
    /// One JSON object per line.
    #[arg(long)]
    pub json: bool,
    /// List only; do not run the self-tests.
    #[arg(long)]
    pub no_self_test: bool,
}

/// How frozen matrices are held.
#[derive(Clone, Copy, ValueEnum)]
pub enum Held {
    /// As published models store them: in bfloat16.
    Stored,
    /// In f32.
    F32,
}

impl From<Held> for Frozen {
    fn from(held: Held) -> Self {
        match held {
            Held::Stored => Frozen::Stored,
            Held::F32 => Frozen::F32,
        }
    }
}

/// What is measured besides the adapter's own figures.
#[derive(Clone, Copy, ValueEnum)]
pub enum BenchPart {
    /// A decoding step of 1, 16 and 64 rows.
    Decode,
    /// An update of adapters.
    Update,
    /// Each product of the model's shape.
    Products,
}

impl From<BenchPart> for Part {
    fn from(part: BenchPart) -> Self {
        match part {
            BenchPart::Decode => Part::Decode,
            BenchPart::Update => Part::Update,
            BenchPart::Products => Part::Products,
        }
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft bench                                      this machine, SmolLM2-135M's shape
  srft bench --device vulkan --model qwen2.5-0.5b
  srft bench --only products --seconds 60
  srft bench --json > figures.json

Weights are random: of a model's folder only the shape is read. The last line is one to send in
(docs/gpu.md). What does not fit into the time is named, never silently dropped.")]
pub struct Bench {
    /// Whose shape: tiny | smollm2-135m | smollm2-360m | qwen2.5-0.5b | qwen3-0.6b | llama-3.2-1b |
    /// qwen2.5-1.5b, or a model's folder, GGUF file or name on the hub.
    #[arg(long, value_name = "SHAPE|DIR|NAME", default_value = "smollm2-135m")]
    pub model: String,
    /// Download nothing: what is named on the hub must be in its cache (as HF_HUB_OFFLINE=1).
    #[arg(long)]
    pub offline: bool,
    /// auto | cpu | vulkan | metal | dx12 | gl | index or part of a name.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// How the frozen matrices under the adapters are held (`model.frozen`).
    #[arg(long, value_name = "HOW", default_value = "stored")]
    pub frozen: Held,
    /// f32 | f16x3 | f16: how large products are computed (`run.precision`).
    #[arg(long, value_name = "HOW", default_value = "f32")]
    pub precision: String,
    /// About how long all of it may take.
    #[arg(long, value_name = "S", default_value_t = 240)]
    pub seconds: u32,
    /// Measure only this, and the adapter's own figures (repeatable).
    #[arg(long, value_name = "PART")]
    pub only: Vec<BenchPart>,
    /// One JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft config > my.toml                           every key with its default and meaning
  srft config --method luffy --set optimizer.lr=1e-4
  srft config --metrics                           what each key of metrics.jsonl means")]
pub struct ConfigArguments {
    #[command(flatten)]
    pub settings: Settings,
    /// Print what each metric means instead (docs/metrics.md).
    #[arg(long)]
    pub metrics: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft merge --model runs/qwen/best --out merged
  srft merge --model runs/qwen/best --out merged --set checkpoint.dtype=bf16")]
pub struct Merge {
    #[command(flatten)]
    pub settings: Settings,
    /// Where to write the model folder.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Write even if files are there: those of the same names are replaced, nothing else is touched.
    #[arg(long)]
    pub overwrite: bool,
}

/// How a GGUF file stores matrices; vectors stay in F32.
#[derive(Clone, Copy, ValueEnum)]
pub enum GgufType {
    /// As they are here, 4 bytes a number.
    F32,
    /// Half precision, 2 bytes.
    F16,
    /// bfloat16, 2 bytes.
    Bf16,
    /// Whole numbers with a scale for each 32, 1.06 bytes.
    #[value(name = "q8_0")]
    Q8_0,
}

#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true)), after_help = "Examples:
  srft export --model runs/qwen/best --gguf q8_0 --out my-model.gguf
  srft export --model runs/qwen --gguf-lora --out my-adapter.gguf
  srft export --model ./Qwen2.5-0.5B-Instruct --gguf bf16 --out base.gguf

--model is a run, its `best`, an adapter over a base, or any model folder. Adapters are merged into their
base, except by --gguf-lora. Beside my-model.gguf goes my-model.Modelfile for `ollama create`.")]
pub struct Export {
    #[command(flatten)]
    pub settings: Settings,
    /// Write the whole model, its matrices stored so.
    #[arg(long, value_name = "TYPE", group = "what")]
    pub gguf: Option<GgufType>,
    /// Write the adapter alone, for llama.cpp's --lora.
    #[arg(long, group = "what")]
    pub gguf_lora: bool,
    /// llama.cpp's name for how the tokenizer splits a text (tokenizer.ggml.pre), where its files don't tell.
    #[arg(long, value_name = "NAME", requires = "gguf")]
    pub gguf_pre: Option<String>,
    /// Where the file goes.
    #[arg(long, value_name = "FILE.gguf")]
    pub out: PathBuf,
    /// Write even if files are there: those of the same names are replaced, nothing else is touched.
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft plan --model ./Qwen2.5-0.5B-Instruct --lora-rank 16 --memory 8
  srft plan --model ./SmolLM2-135M --device cpu --set data.max_tokens=1024
  srft plan --model ./Qwen2.5-0.5B-Instruct --lora-rank 16 --workers 8 --link 1g --step-secs 34")]
pub struct Plan {
    #[command(flatten)]
    pub settings: Settings,
    /// Train adapters of this rank instead of the whole model.
    #[arg(long, value_name = "R")]
    pub lora_rank: Option<usize>,
    /// The device's memory; not needed with --device cpu.
    #[arg(long, value_name = "GIB")]
    pub memory: Option<f64>,
    /// Also what sharing each step with up to so many machines costs on the wire.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub workers: Option<u16>,
    /// The coordinator's link, bits a second: 100m, 1g, 10g.
    #[arg(long, value_name = "RATE", default_value = "1g", requires = "workers")]
    pub link: String,
    /// How long a step takes on one device, in seconds: then also how much faster it gets.
    #[arg(long, value_name = "SECS", requires = "workers")]
    pub step_secs: Option<f64>,
    /// JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand)]
#[command(after_help = "Examples:
  srft analyze token-shift --model runs/srft-seed0/best
  srft analyze dynamics --reference base=tiny --reference rl=runs/grpo/best --run runs/srft-seed0")]
pub enum Analyze {
    /// Show how far fine-tuning moved the probability of each token of responses (Fig. 2).
    TokenShift(AnalyzeTokenShift),
    /// Show a run as a path, by its distances to reference models (Fig. 3).
    Dynamics(AnalyzeDynamics),
}

/// Where the responses come from.
#[derive(Clone, Copy, ValueEnum)]
pub enum Samples {
    /// The data's responses (built in: the demonstrations); where one is missing, --model's greedy one.
    Given,
    /// --model's most probable tokens.
    Greedy,
    /// Sampled from --model, as in training.
    Drawn,
}

impl From<Samples> for Source {
    fn from(samples: Samples) -> Self {
        match samples {
            Samples::Given => Source::Given,
            Samples::Greedy => Source::Greedy,
            Samples::Drawn => Source::Drawn,
        }
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft analyze token-shift --model runs/srft-seed0/best
  srft analyze token-shift --model runs/srft-seed0/best --samples greedy --out shift.svg
  srft analyze token-shift --base ./Qwen2.5-0.5B --model runs/qwen/best --data F.jsonl --out shift.json

Each line of --data has a prompt and may have a response; see `srft score`. Responses are taken from
up to eval.examples lines of a file, or problems of a built-in suite.

Here --base is the model before training: a folder, or `tiny`. If an adapter's base was moved, name it
with --set model.base=DIR.")]
pub struct AnalyzeTokenShift {
    #[command(flatten)]
    pub settings: Settings,
    /// Where the responses come from.
    #[arg(long, default_value = "given")]
    pub samples: Samples,
    /// Responses shown token by token.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub strips: usize,
    /// Where to write the result: every number (.json), or a picture (.svg).
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write even if files are there: those of the same names are replaced, nothing else is touched.
    #[arg(long)]
    pub overwrite: bool,
    /// JSON instead of strips and tables.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft train --set checkpoint.every=10 --set checkpoint.keep=1000 --out runs/srft
  srft analyze dynamics --run runs/srft --reference base=tiny --reference rl=runs/grpo/best
  srft analyze dynamics --run runs/a --run runs/b --reference base=tiny --reference rl=runs/grpo/best \\
    --out d.svg

Each reference answers the problems that the first run is evaluated on; a model's distance to it is the
mean |Δ ln p| over the tokens of those answers. The settings are the first run's, the seed is 0.")]
pub struct AnalyzeDynamics {
    #[command(flatten)]
    pub settings: Settings,
    /// A reference model and its name (repeatable).
    #[arg(long = "reference", alias = "references", value_name = "NAME=DIR", required = true)]
    pub references: Vec<String>,
    /// A run folder; every checkpoint in it is a point (repeatable).
    #[arg(long, value_name = "DIR", required = true)]
    pub run: Vec<PathBuf>,
    /// Responses that each reference generates.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub responses: usize,
    /// Where to write the result: every number (.json), or a picture (.svg).
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write even if files are there: those of the same names are replaced, nothing else is touched.
    #[arg(long)]
    pub overwrite: bool,
    /// JSON instead of tables.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  srft study --preset paper-small --seeds 5 --out studies/paper-small
  srft study --preset paper-small --dry-run       its runs, and how long they take here
  srft study --out studies/paper-small            continue after Ctrl-C, a crash, a full disk
  srft study --out studies/paper-small --tables   the tables of what is done so far
  srft study --spec my.toml --only main/srft      a study of your own; one of its cells")]
pub struct Study {
    /// A study that comes with the program: paper-small | equal-compute | methods | smoke.
    #[arg(long, conflicts_with = "spec")]
    pub preset: Option<String>,
    /// A study file of your own (see assets/studies in the sources).
    #[arg(long, value_name = "F.toml")]
    pub spec: Option<PathBuf>,
    /// How many seeds (0, 1, ...) for every row, instead of the study's own number.
    #[arg(long, value_name = "N")]
    pub seeds: Option<u32>,
    /// The study's folder; studies/NAME by default. If it holds a study, --preset and --spec are not
    /// needed.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// auto | cpu | vulkan | metal | dx12 | gl | index or part of a name.
    #[arg(long)]
    pub device: Option<String>,
    /// Runs at the same time, instead of the study's own number.
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Only these runs and what they need; * matches any name.
    #[arg(long, value_name = "REGIME/ROW")]
    pub only: Option<String>,
    /// Continue even if data or models changed since the study began.
    #[arg(long)]
    pub accept_changes: bool,
    /// Train nothing: write the tables of the runs that are done.
    #[arg(long)]
    pub tables: bool,
    /// Train nothing: list the runs and say how long they would take.
    #[arg(long, conflicts_with = "tables")]
    pub dry_run: bool,
}
