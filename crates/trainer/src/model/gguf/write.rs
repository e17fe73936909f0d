//! Writing GGUF: a model with its adapters merged, or the adapters alone. A tensor is read back, put into
//! blocks and written before the next one.

use crate::error::{Error, Result};
use crate::model::gguf_file::{
    self as gguf, Described, Metadata, Modelfile, TextFiles, Vocabulary,
};
use crate::model::linear::Linear;
use crate::model::weights::require_finite;
use crate::model::{BlockType, Llama, ModelFolder, quantise};
use crate::names::{CONFIG, SPECIAL_TOKENS_MAP, TEMPLATE, TOKENIZER_CONFIG};
use crate::ops::readback;
use crate::ops::weight::Weight;
use crate::platform::FileWriter;
use burn::tensor::{Device, Tensor, TensorData};
use srft_formats::model::gguf::names::{is_turned, norm_offset, to_gguf, turned_row};

/// What PEFT puts before a module's name.
const PEFT: &str = "base_model.model.";

impl ModelFolder {
    /// Writes a model of this folder as a GGUF file, its matrices stored as `kind`. `name` is shown to
    /// users; `pre` is llama.cpp's name for what splits a text, where the tokenizer doesn't tell.
    pub async fn write_gguf(
        &self,
        file: &mut FileWriter,
        model: &Llama,
        kind: BlockType,
        name: &str,
        pre: Option<&str>,
    ) -> Result<()> {
        let config = &model.config;
        let described = Described::of(config, &self.at(CONFIG))?;
        let (tokenizer, _) = self.text_and_shape()?;
        let vocabulary = Vocabulary::of(&tokenizer, self.text_files(), config, pre)?;
        let metadata = gguf::model(&described, config, name, kind, vocabulary);
        let mut items = Vec::new();
        if let Some(divisors) = described.rope_divisors {
            let count = divisors.len();
            let data = TensorData::new(divisors, [1, count]);
            let divisors = Weight::Whole(Tensor::from_data(data, &model.device()));
            items.push(Item::new(
                described.architecture,
                "rope_freqs.weight",
                vec![count],
                kind,
                Numbers::Held(vec![divisors]),
            ));
        }
        items.extend(all(described.architecture, model, kind));
        write(file, &metadata, items, described.architecture, config.head_dim).await
    }

    /// Writes the adapters of this folder as a GGUF file for llama.cpp's `--lora`, in F32 as its converter
    /// does. The base's weights are not read.
    pub async fn write_gguf_lora(&self, file: &mut FileWriter, name: &str) -> Result<()> {
        let Some(adapter) = &self.adapter else {
            return Err(Error::input("no adapter is here: adapter_config.json is missing")
                .at(&self.place)
                .next("give the `best` of a run with lora.rank above 0, or write the whole model: --gguf f16"));
        };
        let (_, config) = self.text_and_shape()?;
        let described = Described::of(&config, &self.at(CONFIG))?;
        let device = Device::flex();
        let model = adapter.lay_over(Llama::empty(config, &device), &device)?;
        let lora = model.lora().expect("it was laid over");
        let metadata = gguf::adapter(&described, lora, name);
        let items = model
            .parameters()
            .into_iter()
            .map(|p| (p.name, p.shape, Numbers::Held(vec![p.tensor.into()])))
            .map(|(name, shape, numbers)| {
                Item::new(described.architecture, &name, shape, BlockType::F32, numbers)
            });
        write(file, &metadata, items.collect(), described.architecture, model.config.head_dim).await
    }

    /// The `Modelfile` for a GGUF file of this folder's model.
    pub fn modelfile(&self, file_name: &str) -> Result<Modelfile> {
        let (tokenizer, config) = self.text_and_shape()?;
        let spelled = |ids: &[u32]| tokenizer.decode_spelled(ids);
        let template = self.template()?;
        let begin = spelled(tokenizer.begin_before(&[])?);
        Ok(Modelfile {
            model: file_name.into(),
            is_chat: template.is_some(),
            template: template.and_then(|template| gguf::in_go(template, &begin)),
            stops: config.eos_tokens.iter().map(|&id| spelled(&[id])).collect(),
        })
    }

    fn text_files(&self) -> TextFiles<'_> {
        TextFiles {
            model: &self.config,
            tokenizer: &self.tokenizer,
            config: self.beside(TOKENIZER_CONFIG),
            special: self.beside(SPECIAL_TOKENS_MAP),
            template: self.beside(TEMPLATE),
            place: &self.place,
        }
    }
}

/// A tensor to write.
struct Item {
    /// Hugging Face's name, for errors.
    name: String,
    tensor: gguf::Tensor,
    numbers: Numbers,
}

/// Where its numbers come from.
enum Numbers {
    /// Blocks of rows.
    Held(Vec<Weight>),
    /// A matrix, with its adapter's change.
    Matrix(Box<Linear>),
}

impl Item {
    /// `architecture` is llama.cpp's name of the model's.
    fn new(
        architecture: &str,
        name: &str,
        shape: Vec<usize>,
        kind: BlockType,
        numbers: Numbers,
    ) -> Self {
        let module = name.strip_prefix(PEFT).unwrap_or(name);
        let theirs = [(".lora_A.weight", ".lora_a"), (".lora_B.weight", ".lora_b")]
            .into_iter()
            .find_map(|(end, theirs)| {
                let matrix = module.strip_suffix(end)?;
                Some(to_gguf(architecture, &format!("{matrix}.weight"))? + theirs)
            })
            .or_else(|| to_gguf(architecture, module))
            .unwrap_or_else(|| name.into());
        let tensor = gguf::Tensor::new(theirs, &shape, kind);
        Self { name: name.into(), tensor, numbers }
    }

    /// Whether llama.cpp has its rows in another order.
    fn is_turned(&self, architecture: &str) -> bool {
        is_turned(architecture, &self.name) && !self.name.ends_with("lora_A.weight")
    }
}

/// Every weight of a model.
fn all(architecture: &str, model: &Llama, kind: BlockType) -> Vec<Item> {
    let mut model = model.clone();
    let matrices: Vec<(String, Linear)> =
        model.matrices_mut().map(|(name, matrix)| (name, matrix.clone())).collect();
    let mut tables: Vec<Item> = model
        .tables_mut()
        .map(|(name, table)| {
            let numbers = Numbers::Held(table.parts());
            Item::new(architecture, name, table.dims().to_vec(), kind, numbers)
        })
        .collect();
    let held = |name: &str| {
        matrices.iter().any(|(n, _)| n == name) || tables.iter().any(|table| table.name == name)
    };
    let others = model.weights().into_iter().filter(|p| !held(&p.name)).map(|p| {
        let numbers = Numbers::Held(vec![p.tensor.into()]);
        Item::new(architecture, &p.name, p.shape, kind, numbers)
    });
    let others: Vec<Item> = others.collect();
    let matrices = matrices.iter().map(|(name, matrix)| {
        let numbers = Numbers::Matrix(Box::new(matrix.clone()));
        Item::new(architecture, name, matrix.dims().to_vec(), kind, numbers)
    });
    let head = tables.split_off(1);
    tables.into_iter().chain(others).chain(head).chain(matrices).collect()
}

/// Writes a whole file.
async fn write(
    file: &mut FileWriter,
    metadata: &Metadata,
    items: Vec<Item>,
    architecture: &str,
    head_dim: usize,
) -> Result<()> {
    let tensors: Vec<gguf::Tensor> = items.iter().map(|item| item.tensor.clone()).collect();
    file.write(&gguf::header(metadata, &tensors))?;
    let mut bytes = Vec::new();
    for item in items {
        let turns = item.is_turned(architecture);
        let offset = norm_offset(architecture, &item.name);
        let rows = item.tensor.shape[0];
        let blocks = match item.numbers {
            Numbers::Held(blocks) => blocks,
            Numbers::Matrix(matrix) => vec![matrix.merged().into()],
        };
        let mut written = 0;
        for block in blocks {
            let mut values = readback::floats(block.widen()).await.map_err(|e| e.at(&item.name))?;
            require_finite(&item.name, &values)?;
            if offset != 0.0 {
                values.iter_mut().for_each(|value| *value += offset);
            }
            if turns {
                values = turned(&values, rows, head_dim);
            }
            bytes.clear();
            quantise::append(&values, item.tensor.kind, &mut bytes)
                .map_err(|e| e.at(&item.name))?;
            file.write(&bytes)?;
            written += bytes.len();
        }
        file.write(&vec![0; gguf::padding(written)])?;
    }
    Ok(())
}

/// The rows in llama.cpp's order.
fn turned(values: &[f32], rows: usize, head_dim: usize) -> Vec<f32> {
    let columns = values.len() / rows;
    let mut turned = vec![0.0; values.len()];
    for (row, values) in values.chunks_exact(columns).enumerate() {
        let at = turned_row(row, head_dim) * columns;
        turned[at..at + columns].copy_from_slice(values);
    }
    turned
}
