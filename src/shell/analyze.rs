//! `srft analyze`.

use super::arguments::{Analyze, AnalyzeDynamics, AnalyzeTokenShift};
use super::ready::ready;
use super::settings::{Settings, of_run};
use super::tables::table;
use super::{load, note, say};
use serde::Serialize;
use srft::analysis::dynamics::{Dynamics, METRIC, Reference, RunPath, path, prompts};
use srft::analysis::token_shift::{Bins, Distribution, ResponseShift, TokenShift, token_shift};
use srft::analysis::{Source, draw, require_same_tokens, responses};
use srft::config::{Config, Model};
use srft::error::{Error, Result};
use srft::platform::OutFile;
use srft::run::{OnFile, Reader, grader};
use srft_hub::Hub;
use std::io::IsTerminal;
use std::path::Path;

/// Smaller changes of a token's probability are shown as none.
const VISIBLE: f64 = 0.005;
/// With fewer checkpoints, a note suggests how to get more.
const COARSE: usize = 3;

/// Runs the requested analysis.
pub async fn analyze(arguments: Analyze) -> Result<()> {
    match arguments {
        Analyze::TokenShift(a) => analyze_token_shift(a).await,
        Analyze::Dynamics(a) => analyze_dynamics(a).await,
    }
}

async fn analyze_token_shift(mut arguments: AnalyzeTokenShift) -> Result<()> {
    let form = Form::of(arguments.out.as_deref(), arguments.overwrite, &arguments.settings)?;
    // This command's only data is what it looks at, as in `srft eval`.
    arguments.settings.look_at_data();
    // Here --base is the model before training; `model.base` is an adapter's base, as everywhere.
    let before = arguments.settings.base.take().unwrap_or_else(|| "tiny".into());
    let config = arguments.settings.resolve(Vec::new(), &[])?;
    let selected = ready(&config, arguments.json).await?;
    let (folder, model, tokenizer) = load(&config.model, &selected)?;
    let before = Model { path: before, base: String::new(), ..config.model.clone() };
    let (base_folder, base, base_tokenizer) = load(&before, &selected)?;
    require_same_tokens(&tokenizer, &base_tokenizer)
        .map_err(|e| e.at(format!("{} and {}", folder.place, base_folder.place)))?;
    let grader = grader(&config)?;
    let mut reader = Reader::new(&config, &folder, &tokenizer, &model.config, &grader)?;
    let source = arguments.samples.into();
    let suites = reader.answered_suites(source == Source::Given)?;
    reader.notes.iter().for_each(note);
    let asked = responses(&model, &tokenizer, &suites, source, &config).await?;
    let tokens = config.train.micro_batch_tokens;
    let shifts = token_shift(&base, &model, &tokenizer, &asked, tokens).await?;
    let shift = TokenShift::new(&before.path, &config.model.path, shifts);
    form.write(&shift, || draw::token_shift(&shift, arguments.strips))?;
    match arguments.json {
        true => say(serde_json::to_value(&shift).expect("a plain record")),
        false => print_shift(&shift, arguments.strips),
    }
}

fn print_shift(shift: &TokenShift, strips: usize) -> Result<()> {
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for response in shift.shown(strips) {
        say(format_args!("{}: {}", response.suite, draw::shown(&response.prompt)))?;
        say(format_args!("  {}", strip(response, coloured)))?;
    }
    let row = |name: &str, d: &Distribution| {
        vec![
            name.to_string(),
            d.responses.to_string(),
            d.tokens.to_string(),
            format!("{:.4}", d.mean_abs_delta_logp),
            format!("{:.1}", 100.0 * d.share_above_0_1),
            format!("{:.1}", 100.0 * d.share_above_0_5),
        ]
    };
    let suites = shift.suites.iter().map(|s| row(&s.suite, &s.distribution));
    let rows = suites.chain([row("all", &shift.all)]).collect();
    let header = [
        "suite",
        "responses",
        "tokens",
        "mean abs Δ ln p (nats)",
        "abs Δp > 0.1 %",
        "abs Δp > 0.5 %",
    ];
    say(format_args!("\n{}", table(&header, rows)))?;
    say_bins("Δp", &shift.all.delta_p)?;
    say_bins("Δ ln p (nats)", &shift.all.delta_logp)
}

fn say_bins(what: &str, bins: &Bins) -> Result<()> {
    let named = bins.rows().into_iter().zip(&bins.counts);
    let rows = named.map(|((name, share), count)| {
        vec![name, count.to_string(), format!("{:.1}", 100.0 * share)]
    });
    say(format_args!("\n{}", table(&[what, "tokens", "%"], rows.collect())))
}

/// A response's tokens with the change of each one's probability: as background colour on a terminal,
/// else as a number after each token that moved visibly.
fn strip(response: &ResponseShift, coloured: bool) -> String {
    let tokens = response.tokens.iter().map(|t| draw::shown(t)).zip(&response.delta_p);
    let marked = tokens.map(|(text, &delta)| {
        let [r, g, b] = draw::colour(delta);
        match (delta.abs() < VISIBLE, coloured) {
            (true, _) => text,
            (false, true) => format!("\x1b[30;48;2;{r};{g};{b}m{text}\x1b[0m"),
            (false, false) => format!("{text}({delta:+.2})"),
        }
    });
    marked.collect()
}

async fn analyze_dynamics(arguments: AnalyzeDynamics) -> Result<()> {
    let form = Form::of(arguments.out.as_deref(), arguments.overwrite, &arguments.settings)?;
    let named = references(&arguments.references, &arguments.settings.hub())?;
    let config = config_of(&arguments.run[0], &arguments.settings)?;
    let selected = ready(&config, arguments.json).await?;
    let at = |path: &str| Model { path: path.into(), base: String::new(), ..config.model.clone() };
    let (folder, first, tokenizer) = load(&at(&named[0].1), &selected)?;
    let grader = grader(&config)?;
    let mut reader = Reader::new(&config, &folder, &tokenizer, &first.config, &grader)?;
    let suites = reader.suites()?;
    reader.notes.iter().for_each(note);
    let eos = &first.config.eos_tokens;
    let prompts = prompts(&suites, &tokenizer, eos, arguments.responses)?;
    let (mut references, mut views) = (Vec::new(), Vec::new());
    for (name, place) in named {
        let (folder, model, own) = load(&at(&place), &selected)?;
        require_same_tokens(&tokenizer, &own).map_err(|e| e.at(&folder.place))?;
        let generated =
            Reference::generate(&model, &own, &prompts, arguments.responses, &config).await;
        let reference = generated.map_err(|e| e.at(&folder.place))?;
        views.push(reference.view(&name, &place));
        references.push(reference);
    }
    let mut paths = Vec::new();
    for run in &arguments.run {
        let path = path(run, &references, &tokenizer, &selected.device).await?;
        note_gaps(run, &path)?;
        paths.push(path);
    }
    let dynamics = Dynamics { metric: METRIC.into(), references: views, paths };
    form.write(&dynamics, || draw::dynamics(&dynamics))?;
    match arguments.json {
        true => say(serde_json::to_value(&dynamics).expect("a plain record")),
        false => print_dynamics(&dynamics),
    }
}

/// The first run's settings, so that the problems are those of its evaluations, but a single seed for
/// all runs, so that the references' responses do not depend on the run.
fn config_of(run: &Path, settings: &Settings) -> Result<Config> {
    let seed = Config::layer("[run]\nseed = 0", "analyze")?;
    settings.resolve(vec![OnFile::of(run).config_layer()?, seed], &[])
}

/// Pairs `name=DIR` with distinct names; what is named on the hub is then in its cache.
fn references(texts: &[String], hub: &Hub) -> Result<Vec<(String, String)>> {
    let mut named: Vec<(String, String)> = Vec::new();
    for text in texts {
        let next = "for example --reference base=tiny --reference rl=runs/grpo/best";
        let refused = |why| Error::input(format!("the reference `{text}` {why}")).next(next);
        let pair =
            text.split_once('=').filter(|(name, place)| !name.is_empty() && !place.is_empty());
        let (name, place) = pair.ok_or_else(|| refused("is not of the form NAME=DIR"))?;
        if place.contains(',') && !Path::new(place).exists() {
            return Err(refused("is not a folder; give each reference its own --reference"));
        }
        if named.iter().any(|(other, _)| other == name) {
            return Err(refused("has the same name as another"));
        }
        named.push((name.into(), of_run(place)));
    }
    for (_, place) in &mut named {
        *place = srft_hub::fetched_model(place, hub)?;
    }
    Ok(named)
}

/// Notes where the path has gaps, and how to train without them.
fn note_gaps(run: &Path, path: &RunPath) -> Result<()> {
    let config = OnFile::of(run).config()?;
    let run = run.display();
    let steps: Vec<u32> = path.points.iter().map(|p| p.step).filter(|&step| step > 0).collect();
    if steps.len() == path.points.len() {
        note(format_args!("{run}: {} is not here, so the path begins later", config.model.path));
    }
    let (found, last) = (steps.len(), steps.last().copied().unwrap_or(0));
    let every = if config.checkpoint.every == 0 { last } else { config.checkpoint.every };
    let saved = last.div_ceil(every.max(1)) as usize;
    if found < saved {
        note(format_args!(
            "{run}: {found} of {saved} checkpoints are left: train with --set \
             checkpoint.keep={saved} for the whole path"
        ));
    } else if found < COARSE {
        note(format_args!(
            "{run}: only {found} checkpoints: train with a smaller checkpoint.every and a larger \
             checkpoint.keep for a path of more points"
        ));
    }
    Ok(())
}

fn print_dynamics(dynamics: &Dynamics) -> Result<()> {
    say(format_args!("distance: {}", dynamics.metric))?;
    let rows = dynamics.references.iter().map(|r| {
        vec![r.name.clone(), r.model.clone(), r.responses.to_string(), r.tokens.to_string()]
    });
    say(table(&["reference", "model", "responses", "tokens"], rows.collect()))?;
    for path in &dynamics.paths {
        let names = dynamics.references.iter().map(|r| format!("to {}", r.name));
        let header: Vec<String> = ["step".to_string()].into_iter().chain(names).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let rows = path.points.iter().map(|point| {
            let distances = point.distances.iter().map(|d| format!("{d:.4}"));
            [point.step.to_string()].into_iter().chain(distances).collect()
        });
        say(format_args!("\n{} ({})", path.run, path.method))?;
        say(table(&header, rows.collect()))?;
    }
    Ok(())
}

/// The file form of the whole result, besides the terminal.
enum Form<'a> {
    None,
    Json(OutFile<'a>),
    Svg(OutFile<'a>),
}

impl<'a> Form<'a> {
    /// Chosen by the file's name; refused before anything is computed.
    fn of(out: Option<&'a Path>, overwrite: bool, settings: &Settings) -> Result<Self> {
        let Some(path) = out else { return Ok(Form::None) };
        let form = match path.extension().and_then(|e| e.to_str()) {
            Some("json") => {
                Form::Json(OutFile { path, kind: "analysis", is_such: is_numbers, overwrite })
            }
            Some("svg") => {
                Form::Svg(OutFile { path, kind: "picture", is_such: is_picture, overwrite })
            }
            _ => {
                return Err(Error::input("the file's name doesn't tell its format")
                    .at(path.display())
                    .next("name it .json (every number) or .svg (a picture)"));
            }
        };
        if let Form::Json(file) | Form::Svg(file) = &form {
            let read = settings.data.iter().chain(&settings.eval_data);
            file.require_free(&read.map(Path::new).collect::<Vec<_>>())?;
        }
        Ok(form)
    }

    fn write(&self, record: &impl Serialize, svg: impl FnOnce() -> String) -> Result<()> {
        match self {
            Form::None => Ok(()),
            Form::Json(file) => {
                let mut text = serde_json::to_vec(record).expect("a plain record");
                text.push(b'\n');
                file.write(&text)
            }
            Form::Svg(file) => file.write(svg().as_bytes()),
        }
    }
}

/// Whether bytes are an analysis with all its numbers.
fn is_numbers(bytes: &[u8]) -> bool {
    serde_json::from_slice::<TokenShift>(bytes).is_ok()
        || serde_json::from_slice::<Dynamics>(bytes).is_ok()
}

/// Whether bytes are a picture of an analysis.
fn is_picture(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(4000)]);
    let headings = [">Token shift from ", ">Learning dynamics<"];
    head.starts_with("<svg") && headings.iter().any(|heading| head.contains(heading))
}
