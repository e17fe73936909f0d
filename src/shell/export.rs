//! `srft export`.

use super::arguments::{Export, GgufType};
use super::{note, say};
use srft::config::Frozen;
use srft::device::select;
use srft::error::Result;
use srft::model::gguf_file::{Modelfile, is_ours};
use srft::model::{BlockType, ModelFolder};
use srft::platform::OutFile;
use srft::run::open_model;
use std::path::Path;

impl From<GgufType> for BlockType {
    fn from(kind: GgufType) -> Self {
        match kind {
            GgufType::F32 => Self::F32,
            GgufType::F16 => Self::F16,
            GgufType::Bf16 => Self::Bf16,
            GgufType::Q8_0 => Self::Q8_0,
        }
    }
}

/// Writes a model, or an adapter alone, as a GGUF file.
pub async fn export(arguments: Export) -> Result<()> {
    let config = arguments.settings.resolve(Vec::new(), &[])?;
    let Export { out, overwrite, .. } = &arguments;
    let out = OutFile { path: out, kind: "GGUF file", is_such: is_ours, overwrite: *overwrite };
    out.require_free(&[Path::new(&config.model.path)])?;
    let folder = open_model(&config.model)?;
    let name = out.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match arguments.gguf {
        Some(kind) => whole(&folder, kind.into(), &name, arguments.gguf_pre.as_deref(), &out).await,
        None => adapter(&folder, &name, &out).await,
    }
}

async fn whole(
    folder: &ModelFolder,
    kind: BlockType,
    name: &str,
    pre: Option<&str>,
    out: &OutFile<'_>,
) -> Result<()> {
    let modelfile_path = out.path.with_extension("Modelfile");
    let modelfile = OutFile {
        path: &modelfile_path,
        kind: "Modelfile",
        is_such: Modelfile::is_ours,
        overwrite: out.overwrite,
    };
    modelfile.require_free(&[])?;
    let file_name = out.path.file_name().unwrap_or_default().to_string_lossy();
    let text = folder.modelfile(&file_name)?.to_text();
    // The sums are too little work to open a GPU for.
    let selected = select("cpu").await?;
    let (model, _) = folder.load_frozen(Frozen::Stored, &selected.device)?;
    folder.notes(&model.config).iter().for_each(note);
    let mut writer = out.begin()?;
    folder.write_gguf(&mut writer.file, &model, kind, name, pre).await?;
    writer.finish()?;
    modelfile.write(text.as_bytes())?;
    say(format_args!("model: {}", out.path.display()))?;
    say(format_args!("for Ollama: ollama create {name} -f {}", modelfile_path.display()))
}

async fn adapter(folder: &ModelFolder, name: &str, out: &OutFile<'_>) -> Result<()> {
    let mut writer = out.begin()?;
    folder.write_gguf_lora(&mut writer.file, name).await?;
    writer.finish()?;
    say(format_args!("adapter: {}", out.path.display()))?;
    say(format_args!(
        "for llama.cpp: llama-server -m BASE.gguf --lora {}, where BASE.gguf is `srft export --gguf` of {}",
        out.path.display(),
        folder.name
    ))
}
