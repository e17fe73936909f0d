//! Models, and what they think of a text.

use crate::convert::{float_list, to_python};
use crate::device::open;
use crate::drive::{drive, require_own_process};
use crate::error::{OrRaise, exception, input};
use crate::example::Prompt;
use crate::tokenizer::{Tokenizer, folder_of, token_ids};
use burn::tensor::Tensor;
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use serde_json::Value;
use srft::config::{Frozen, Precision, Storage};
use srft::data::batch::{MicroBatch, micro_batches};
use srft::data::encode::encode;
use srft::error::Error;
use srft::model::{Llama, ModelFolder, Parameter, gguf_file, quantise};
use srft::objective::loss::{response_logits, token_statistics};
use srft::ops::readback;
use srft::platform::OutFile;
use srft::records::Sequence;
use srft::text;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

/// A model on a device, as it is now: a trainer that goes on does not change it.
#[pyclass(frozen, weakref, module = "srft")]
pub struct Model {
    /// The files it came from.
    pub folder: Arc<ModelFolder>,
    /// The weights, shared until someone updates them.
    pub policy: Llama,
    /// Text in and out.
    pub tokenizer: text::Tokenizer,
    /// The adapter's name.
    pub adapter: String,
    /// A fingerprint of the tokenizer's file.
    pub vocabulary: u64,
}

#[pymethods]
impl Model {
    /// Loads a Hugging Face folder (Llama, Mistral, Qwen2, Qwen3), a PEFT adapter's, or without a path
    /// (or with "tiny") the built-in model of 0.57 million weights; a name on the hub, "org/name[@revision]", is
    /// downloaded into Python's cache. `base` is the folder of an adapter's
    /// base, where that was moved from where the adapter says. The device's kernels pass their self-test first.
    #[staticmethod]
    #[pyo3(signature = (path = None, device = "auto", *, base = None))]
    fn load(
        py: Python<'_>,
        path: Option<PathBuf>,
        device: &str,
        base: Option<PathBuf>,
    ) -> PyResult<Self> {
        let loaded = py.detach(|| {
            let selected = open(device, Precision::F32)?;
            let folder = folder_of(path, base)?;
            let (policy, tokenizer) = folder.load_frozen(Frozen::F32, &selected.device)?;
            Ok(Self::of(folder, policy, tokenizer, selected.name))
        });
        py.check_signals()?;
        loaded.or_raise()
    }

    /// Writes a folder that `Model.load`, `srft --model` and transformers read; `dtype` is f32, f16 or
    /// bf16. A folder with anything else in it than a model that was saved so is an error; with
    /// `overwrite` files of the same names are replaced there, and nothing is removed.
    #[pyo3(signature = (path, dtype = "f32", *, overwrite = false))]
    fn save(&self, py: Python<'_>, path: PathBuf, dtype: &str, overwrite: bool) -> PyResult<()> {
        let all = [Storage::F32, Storage::F16, Storage::Bf16];
        let storage = all
            .into_iter()
            .find(|s| s.name() == dtype)
            .ok_or_else(|| input(format!("no dtype `{dtype}`"), "one of: f32, f16, bf16"))?;
        py.detach(|| drive(self.folder.export(&path, &self.policy, storage, overwrite)))
    }

    /// Writes a GGUF file for llama.cpp, LM Studio and Ollama, adapters merged; `kind`, how matrices are stored, is
    /// f32, f16, bf16 or q8_0. `pre` is llama.cpp's name for how the tokenizer splits a text, where its files don't
    /// tell. A file that was not written so is an error, unless `overwrite` is set.
    #[pyo3(signature = (path, kind = "q8_0", *, pre = None, overwrite = false))]
    fn export_gguf(
        &self,
        py: Python<'_>,
        path: PathBuf,
        kind: &str,
        pre: Option<&str>,
        overwrite: bool,
    ) -> PyResult<()> {
        let kind = quantise::WRITTEN
            .into_iter()
            .find(|written| written.name().eq_ignore_ascii_case(kind))
            .ok_or_else(|| input(format!("no kind `{kind}`"), "one of: f32, f16, bf16, q8_0"))?;
        py.detach(|| {
            let is_such = gguf_file::is_ours;
            let out = OutFile { path: &path, kind: "GGUF file", is_such, overwrite };
            let mut writer = out.begin().or_raise()?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            drive(self.folder.write_gguf(&mut writer.file, &self.policy, kind, &name, pre))?;
            writer.finish().or_raise()
        })
    }

    /// The model with its adapters' change in its weights, as `srft merge` writes it: `merge().save(path)`.
    fn merge(&self, py: Python<'_>) -> PyResult<Self> {
        if self.policy.lora().is_none() {
            let what = Error::input("the model has no adapters").at(&self.folder.place);
            return Err(exception(what.next("it can be saved as it is")));
        }
        py.detach(|| {
            require_own_process().or_raise()?;
            let mut policy = self.policy.clone();
            policy.merge();
            let mut folder = (*self.folder).clone();
            folder.adapter = None;
            Ok(Self::of(folder, policy, self.tokenizer.clone(), self.adapter.clone()))
        })
    }

    /// Its tokenizer.
    #[getter]
    fn tokenizer(&self) -> Tokenizer {
        Tokenizer(self.tokenizer.clone(), self.folder.clone())
    }

    /// The adapter that it is on.
    #[getter]
    fn device(&self) -> &str {
        &self.adapter
    }

    /// Its `config.json`.
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let config: Value = serde_json::from_slice(&self.folder.config)
            .map_err(|e| exception(Error::input(e.to_string()).at(&self.folder.place)))?;
        to_python(py, &config)
    }

    /// What trains: a dict of float32 arrays by their names in `model.safetensors`. A copy.
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        arrays(py, self.policy.parameters())
    }

    /// Number of weights.
    #[getter]
    fn size(&self) -> usize {
        self.policy.count()
    }

    /// Logits before each token of a response and its end-of-text, whole: float32 [N, V].
    ///
    /// `response` is text, or the token ids of an episode; with None, an example's demonstration, and of a
    /// text itself the tokens from the second on. softmax(logits[t]) is what the model expects at token t.
    #[pyo3(signature = (prompt, response = None))]
    fn logits<'py>(
        &self,
        py: Python<'py>,
        prompt: Prompt,
        response: Option<Response>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (batch, _) = self.batch(prompt, response)?;
        let (values, shape) = py.detach(|| {
            require_own_process().or_raise()?;
            let logits = response_logits(&self.policy, &batch);
            let shape = logits.dims();
            Ok::<_, PyErr>((drive(readback::floats(logits))?, shape))
        })?;
        PyArray1::from_vec(py, values).reshape(shape)
    }

    fn __repr__(&self) -> String {
        let (place, size) = (&self.folder.place, self.policy.count());
        format!("Model({place:?}, {size} weights, on {})", self.adapter)
    }
}

/// A response: text, or token ids.
pub enum Response {
    /// Text; its end-of-text is added.
    Text(String),
    /// Token ids as they are.
    Tokens(Vec<u32>),
}

impl<'py> FromPyObject<'_, 'py> for Response {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match given.cast::<PyString>() {
            Ok(text) => Ok(Self::Text(text.to_str()?.into())),
            Err(_) => token_ids(&given).map(Self::Tokens),
        }
    }
}

/// A fingerprint of a folder's tokenizer.
pub fn vocabulary(folder: &ModelFolder) -> u64 {
    let mut hasher = DefaultHasher::new();
    folder.tokenizer.hash(&mut hasher);
    hasher.finish()
}

impl Model {
    /// What a folder holds.
    pub fn of(
        folder: ModelFolder,
        policy: Llama,
        tokenizer: text::Tokenizer,
        adapter: String,
    ) -> Self {
        let vocabulary = vocabulary(&folder);
        Self { folder: Arc::new(folder), policy, tokenizer, adapter, vocabulary }
    }

    /// The fault of ids that this model has no rows for.
    pub fn check_ids(&self, ids: &[u32]) -> PyResult<()> {
        let last = self.policy.config.vocab_size - 1;
        match ids.iter().find(|&&id| id as usize > last) {
            None => Ok(()),
            Some(id) => Err(input(format!("token {id}"), &format!("ids go from 0 to {last}"))),
        }
    }

    /// A batch of one response, and its tokens.
    fn batch(
        &self,
        prompt: Prompt,
        response: Option<Response>,
    ) -> PyResult<(MicroBatch, Vec<u32>)> {
        let mut example = prompt.written(&self.folder).or_raise()?;
        let tokens = match response {
            None if matches!(prompt, Prompt::Example(_)) => match &example.demonstration {
                Some(_) => None,
                None => {
                    let next = "give a response, or the prompt as text";
                    return Err(input("the example has no demonstration", next));
                }
            },
            None => {
                // Bare text is a demonstration without a prompt.
                example.demonstration = Some(std::mem::take(&mut example.prompt));
                None
            }
            Some(Response::Text(text)) => {
                // Turns that the layout knows are those of another response.
                let prompt = example.prompt.len();
                example.layout.learned.retain(|turn| turn.end <= prompt);
                example.demonstration = Some(text);
                None
            }
            Some(Response::Tokens(tokens)) => Some(tokens),
        };
        let config = &self.policy.config;
        let encoded = encode(&self.tokenizer, &config.eos_tokens, &example).or_raise()?;
        let sequence = match tokens {
            Some(tokens) => Sequence::to_score(encoded.prompt, tokens),
            None => encoded.sequence(),
        };
        let learned = sequence.learned.iter().map(|&position| sequence.prompt[position]);
        let response: Vec<u32> = learned.chain(sequence.response.iter().copied()).collect();
        self.check_ids(&response)?;
        if response.is_empty() {
            return Err(input("the response has no tokens", "give at least one"));
        }
        config.require_fits(sequence.prompt.len(), sequence.response.len()).or_raise()?;
        let batch = micro_batches(&[sequence], usize::MAX).swap_remove(0);
        Ok((batch, response))
    }
}

/// What a model thinks of each token of a response.
#[pyclass(frozen, get_all, weakref, module = "srft")]
pub struct TokenStats {
    /// Token ids [N], end-of-text included.
    tokens: Py<PyArray1<u32>>,
    /// Each as the vocabulary spells it.
    pieces: Vec<String>,
    /// ln π of each [N], nats.
    logprobs: Py<PyArray1<f32>>,
    /// H = -Σ p ln p over the whole vocabulary where each is predicted [N], nats.
    entropies: Py<PyArray1<f32>>,
}

#[pymethods]
impl TokenStats {
    #[new]
    fn new(
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        pieces: Vec<String>,
        logprobs: &Bound<'_, PyAny>,
        entropies: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let floats = |given, what| {
            let values = float_list(given, what)?.into_iter().map(|v| v as f32).collect();
            Ok::<_, PyErr>(PyArray1::from_vec(py, values).unbind())
        };
        Ok(Self {
            tokens: PyArray1::from_vec(py, token_ids(tokens)?).unbind(),
            pieces,
            logprobs: floats(logprobs, "logprobs")?,
            entropies: floats(entropies, "entropies")?,
        })
    }

    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        (&self.tokens, &self.pieces, &self.logprobs, &self.entropies).into_pyobject(py)
    }

    fn __len__(&self) -> usize {
        self.pieces.len()
    }

    fn __repr__(&self) -> String {
        format!("TokenStats({:?})", self.pieces.concat())
    }
}

/// Log-probability and entropy of each token of a response, by the fused kernel that trains.
///
/// `token_stats(model, prompt, response)`: the response's tokens and its end-of-text, or given token
/// ids as they are. `token_stats(model, example)`: those of its demonstration. `token_stats(model, text)`:
/// those of the text, from its second token on.
#[pyfunction]
#[pyo3(signature = (model, prompt, response = None))]
pub fn token_stats(
    py: Python<'_>,
    model: &Bound<'_, Model>,
    prompt: Prompt,
    response: Option<Response>,
) -> PyResult<TokenStats> {
    let model = model.get();
    let (batch, tokens) = model.batch(prompt, response)?;
    let stats = py.detach(|| {
        require_own_process().or_raise()?;
        drive(readback::floats(token_statistics(&model.policy, &batch)))
    })?;
    let (mut logprobs, mut entropies) = (Vec::new(), Vec::new());
    for pair in stats.chunks_exact(2) {
        logprobs.push(pair[0]);
        entropies.push(pair[1]);
    }
    Ok(TokenStats {
        pieces: model.tokenizer.spelled(&tokens),
        tokens: PyArray1::from_vec(py, tokens).unbind(),
        logprobs: PyArray1::from_vec(py, logprobs).unbind(),
        entropies: PyArray1::from_vec(py, entropies).unbind(),
    })
}

/// Weights, or their gradients, as arrays by name; the blocks of one weight joined.
pub fn arrays<'py>(py: Python<'py>, parameters: Vec<Parameter>) -> PyResult<Bound<'py, PyDict>> {
    let mut whole: Vec<(String, Vec<usize>, Vec<Tensor<2>>)> = Vec::new();
    for Parameter { name, shape, tensor } in parameters {
        match whole.last_mut() {
            Some((last, _, blocks)) if *last == name => blocks.push(tensor),
            _ => whole.push((name, shape, vec![tensor])),
        }
    }
    let dict = PyDict::new(py);
    for (name, shape, blocks) in whole {
        let values = py.detach(|| {
            require_own_process().or_raise()?;
            drive(readback::floats(Tensor::cat(blocks, 0)))
        })?;
        dict.set_item(name, PyArray1::from_vec(py, values).reshape(shape)?)?;
    }
    Ok(dict)
}
