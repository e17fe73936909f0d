//! The specification of a study, read from TOML: rows (methods and their variants), regimes (settings
//! in which all rows are tried), seeds, and tables. Settings use the same keys as any run.

use crate::config::{Config, Settings, unknown};
use crate::error::{Error, Result};
use crate::run::PRETRAIN;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use toml::{Table, Value};

/// The studies that come with the program: name and text.
pub const PRESETS: [(&str, &str); 4] = [
    ("paper-small", srft_assets::PAPER_SMALL),
    ("equal-compute", srft_assets::EQUAL_COMPUTE),
    ("methods", srft_assets::METHODS),
    ("smoke", srft_assets::SMOKE),
];

/// The text of a preset.
pub fn preset(name: &str) -> Result<&'static str> {
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text).ok_or_else(|| {
        unknown("preset", name, PRESETS.iter().map(|(known, _)| *known)).at("--preset")
    })
}

/// A study, checked: every name is known and every config that it produces is valid.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// Number of seeds of every row: 0, 1, ….
    pub seeds: u32,
    /// The row that all others are compared with.
    pub control: String,
    /// Runs at a time on a CPU; a small model leaves cores idle between its matrix products.
    #[serde(default = "one")]
    pub jobs: usize,
    /// Whether the trained models are kept on disk.
    #[serde(default)]
    pub keep_models: bool,
    /// Settings of every run.
    #[serde(default)]
    settings: Table,
    /// How rows with a grid are tuned.
    tuning: Option<Tuning>,
    /// Bases made for this study, by name.
    #[serde(default)]
    pub bases: BTreeMap<String, Base>,
    /// Methods and their variants, in the order of the tables.
    #[serde(rename = "row")]
    pub rows: Vec<Row>,
    /// Settings in which they are tried.
    #[serde(rename = "regime")]
    pub regimes: Vec<Regime>,
    /// Further tables.
    #[serde(default, rename = "table")]
    pub tables: Vec<TableSpec>,
}

fn one() -> usize {
    1
}

/// A base made for a study.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Whether it is made from nothing, with the settings of `srft pretrain`; otherwise by a run with
    /// the study's settings.
    #[serde(default = "yes")]
    pub pretrain: bool,
    /// Settings that differ from those.
    #[serde(default)]
    settings: Table,
}

fn yes() -> bool {
    true
}

/// How rows with a grid are tuned: on problems and seeds that no table reports.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// Seeds of the trials.
    pub seeds: Vec<u64>,
    /// Settings that differ from the tuned run: other problems to evaluate on.
    settings: Table,
}

/// A method, or a variant of one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name, also of its folder.
    pub name: String,
    /// What it is, in a few words; may be empty.
    #[serde(default)]
    pub about: String,
    /// Its settings.
    #[serde(default)]
    settings: Table,
    /// Lists of values: every combination is tried, and the best is taken.
    #[serde(default)]
    grid: Table,
    /// The regime in which it is tuned for all regimes; absent: in each.
    pub tune_in: Option<String>,
    /// As many as this of the study's seeds; absent: all.
    pub seeds: Option<u32>,
}

/// Settings in which rows are compared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regime {
    /// Its name, also of its folder.
    pub name: String,
    /// What it is, in a few words; may be empty.
    #[serde(default)]
    pub about: String,
    /// Its settings.
    #[serde(default)]
    settings: Table,
    /// The study-made base with which its runs begin; absent: as the settings say.
    pub base: Option<String>,
    /// The rows tried in it; empty: all.
    #[serde(default)]
    pub rows: Vec<String>,
    /// As many as this of the study's seeds; absent: all.
    pub seeds: Option<u32>,
}

/// Selected rows of one regime, as a table of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Its heading.
    pub title: String,
    /// The regime.
    pub regime: String,
    /// The rows, in order.
    pub rows: Vec<String>,
}

/// One combination of a grid's values.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// `section.key=value`, separated by commas.
    pub label: String,
    /// A layer of settings.
    pub settings: Table,
}

/// Identifies the config of a run.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// The regime.
    pub regime: &'a Regime,
    /// The row.
    pub row: &'a Row,
    /// The values taken from its grid.
    pub point: Option<&'a Point>,
    /// Whether this is a trial run of the values.
    pub tuning: bool,
    /// The seed.
    pub seed: u64,
}

impl Spec {
    /// Reads and checks a study, with `seeds` in place of its own number if given; `place` names the
    /// text in messages.
    pub fn read(text: &str, place: &str, seeds: Option<u32>) -> Result<Self> {
        let mut spec: Spec = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |s| text[..s.start].lines().count().max(1));
            Error::input(e.message().trim().replace('\n', " ").to_string())
                .at(format!("{place}:{line}"))
                .next("assets/studies/smoke.toml of the sources is a short example")
        })?;
        spec.seeds = seeds.unwrap_or(spec.seeds);
        spec.check().map_err(|e| e.at(place))?;
        Ok(spec)
    }

    /// The regime of that name.
    pub fn regime(&self, name: &str) -> Result<&Regime> {
        let found = self.regimes.iter().find(|r| r.name == name);
        found.ok_or_else(|| unknown("regime", name, self.regimes.iter().map(|r| &*r.name)))
    }

    /// The row of that name.
    pub fn row(&self, name: &str) -> Result<&Row> {
        let found = self.rows.iter().find(|r| r.name == name);
        found.ok_or_else(|| unknown("row", name, self.rows.iter().map(|r| &*r.name)))
    }

    /// The rows of a regime.
    pub fn rows_of<'a>(&'a self, regime: &'a Regime) -> impl Iterator<Item = &'a Row> {
        let takes = |row: &&Row| regime.rows.is_empty() || regime.rows.contains(&row.name);
        self.rows.iter().filter(takes)
    }

    /// How many seeds a row has in a regime.
    pub fn seeds_of(&self, regime: &Regime, row: &Row) -> u32 {
        [regime.seeds, row.seeds].into_iter().flatten().fold(self.seeds, u32::min)
    }

    /// The seeds that rows are tuned with.
    pub fn tuning_seeds(&self) -> &[u64] {
        self.tuning.as_ref().map_or(&[], |t| &t.seeds)
    }

    /// The regime in which a row is tuned for running in `regime`; `None` if it has no grid.
    pub fn tuned_in<'a>(&'a self, regime: &'a Regime, row: &'a Row) -> Result<Option<&'a Regime>> {
        match (&row.tune_in, row.grid.is_empty()) {
            (_, true) => Ok(None),
            (None, _) => Ok(Some(regime)),
            (Some(name), _) => self.regime(name).map(Some),
        }
    }

    /// The config of a run. `base` is the folder of its regime's base.
    pub fn config(&self, cell: Cell, base: Option<&Path>, device: &str) -> Result<Config> {
        let Cell { regime, row, point, tuning, seed } = cell;
        let mut layers = Vec::new();
        if base.is_some() {
            layers.push(("the built-in model's defaults".to_string(), builtin_defaults()));
        }
        layers.push(("settings".into(), self.settings.clone()));
        layers.push((format!("regime {}", regime.name), regime.settings.clone()));
        layers.push((format!("row {}", row.name), row.settings.clone()));
        if let Some(point) = point {
            layers.push((format!("row {}: grid", row.name), point.settings.clone()));
        }
        if let Some(tuning) = self.tuning.as_ref().filter(|_| tuning) {
            layers.push(("tuning".into(), tuning.settings.clone()));
        }
        layers.push(("study".into(), of_the_study(seed, device, base)));
        Config::resolve(&layers)
    }

    /// The config of the run that makes a base.
    pub fn base_config(&self, name: &str, device: &str) -> Result<Config> {
        let found = self.bases.get(name);
        let base = found.ok_or_else(|| unknown("base", name, self.bases.keys().map(|k| &**k)))?;
        let first = match base.pretrain {
            true => Config::layer(PRETRAIN, "srft pretrain")?,
            false => ("settings".into(), self.settings.clone()),
        };
        let own = (format!("base {name}"), base.settings.clone());
        Config::resolve(&[first, own, Config::one_key("study", "run", "device", device)])
    }

    fn check(&self) -> Result<()> {
        if self.seeds == 0 {
            return Err(Error::input("seeds must be at least 1").next("5 are usual"));
        }
        if self.jobs == 0 {
            return Err(Error::input("jobs must be at least 1").next("leave it out for 1"));
        }
        require_names("row", self.rows.iter().map(|r| &*r.name))?;
        require_names("regime", self.regimes.iter().map(|r| &*r.name))?;
        require_names("base", self.bases.keys().map(|k| &**k))?;
        let control = self.row(&self.control).map_err(|e| e.at("control"))?;
        for regime in &self.regimes {
            self.check_regime(regime, control)
                .map_err(|e| e.at(format!("regime {}", regime.name)))?;
        }
        for table in &self.tables {
            self.check_table(table).map_err(|e| e.at(format!("table {:?}", table.title)))?;
        }
        Ok(())
    }

    fn check_regime(&self, regime: &Regime, control: &Row) -> Result<()> {
        for name in &regime.rows {
            self.row(name)?;
        }
        if !self.rows_of(regime).any(|row| row.name == control.name) {
            return Err(Error::input(format!("the control row {} is not in it", control.name))
                .next("add it to the regime's rows: all others are compared with it"));
        }
        if let Some(base) = &regime.base {
            self.base_config(base, "auto")?;
        }
        for row in self.rows_of(regime) {
            self.check_cell(regime, row).map_err(|e| e.at(format!("row {}", row.name)))?;
        }
        Ok(())
    }

    fn check_cell(&self, regime: &Regime, row: &Row) -> Result<()> {
        let points = row.points()?;
        let base = regime.base.as_deref().map(Path::new);
        let cell = Cell { regime, row, point: points.first(), tuning: false, seed: 0 };
        let config = self.config(cell, base, "auto")?;
        if self.tuned_in(regime, row)?.is_none() {
            return Ok(());
        }
        if self.tuning_seeds().is_empty() {
            return Err(Error::input("there is a grid, but no seed to tune it with")
                .at("grid")
                .next(
                    "add [tuning] with seeds = [1000] and other problems, as settings.eval.skip",
                ));
        }
        if let Some(seed) = self.tuning_seeds().iter().find(|&&s| s < u64::from(self.seeds)) {
            return Err(Error::input(format!("seed {seed} is one of the study's own"))
                .at("tuning.seeds")
                .next(
                    "settings must not be reported on the seed that chose them: use another seed",
                ));
        }
        for point in &points {
            let cell = Cell { point: Some(point), tuning: true, ..cell };
            require_other_problems(&self.config(cell, base, "auto")?, &config)?;
        }
        Ok(())
    }

    fn check_table(&self, table: &TableSpec) -> Result<()> {
        let regime = self.regime(&table.regime)?;
        for name in &table.rows {
            self.row(name)?;
            if !self.rows_of(regime).any(|row| row.name == *name) {
                return Err(Error::input(format!("row {name} is not tried in {}", regime.name))
                    .next("add it to the regime's rows"));
            }
        }
        Ok(())
    }
}

impl Row {
    /// Every combination of the grid's values; the first key varies slowest.
    pub fn points(&self) -> Result<Vec<Point>> {
        if self.grid.is_empty() {
            return Ok(Vec::new());
        }
        let mut points = vec![Point { label: String::new(), settings: Table::new() }];
        for (section, keys) in &self.grid {
            let keys = keys.as_table().into_iter().flatten();
            for (key, values) in keys {
                let values = values.as_array().filter(|v| !v.is_empty()).ok_or_else(|| {
                    Error::input("a grid has a list of values for each key")
                        .at(format!("grid.{section}.{key}"))
                        .next("for example grid.optimizer.lr = [4e-4, 8e-4]")
                })?;
                let with = |point: &Point| {
                    values.iter().map(|value| point.with(section, key, value)).collect::<Vec<_>>()
                };
                points = points.iter().flat_map(with).collect();
            }
        }
        Ok(points)
    }
}

impl Point {
    fn with(&self, section: &str, key: &str, value: &Value) -> Self {
        let Self { mut label, mut settings } = self.clone();
        let gap = if label.is_empty() { "" } else { "," };
        label += &format!("{gap}{section}.{key}={}", value.to_string().replace(['"', '/'], ""));
        let slot = settings.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let Some(keys) = slot.as_table_mut() {
            keys.insert(key.into(), value.clone());
        }
        Self { label, settings }
    }
}

/// Names must be valid as names of folders.
fn require_names<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "+-_.".contains(c);
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() || name.starts_with('.') || !name.chars().all(fine) {
            return Err(Error::input(format!("`{name}` cannot be the name of a {what}"))
                .next("use letters, digits and +-_., and no dot at the start"));
        }
        if !seen.insert(name) {
            return Err(Error::input(format!("two {what}s are named {name}"))
                .next("rename one: its runs are kept under that name"));
        }
    }
    match seen.is_empty() && what != "base" {
        true => Err(Error::input(format!("no {what}")).next(format!("add a [[{what}]]"))),
        false => Ok(()),
    }
}

/// Problems used for choosing must not be reported.
fn require_other_problems(tuning: &Config, test: &Config) -> Result<()> {
    let taken = |c: &Config| match c.data.eval.is_empty() {
        true => c.eval.builtin_examples(),
        false => c.eval.file_examples(),
    };
    let range = |c: &Config| (c.eval.skip, c.eval.skip.saturating_add(taken(c)));
    let ((a, b), (c, d)) = (range(tuning), range(test));
    if tuning.data.eval != test.data.eval || b <= c || d <= a {
        return Ok(());
    }
    Err(Error::input("tuning would be judged on problems that the tables report")
        .at("tuning.settings")
        .next(format!("set eval.skip = {d} there, or another data.eval")))
}

/// A base made by a study has the built-in model's shape, so it gets that model's defaults, and not those
/// of a model in a folder.
fn builtin_defaults() -> Table {
    let mut table = Settings::default().to_table();
    table.remove("objective");
    table
}

/// The settings that the study itself decides.
fn of_the_study(seed: u64, device: &str, base: Option<&Path>) -> Table {
    let section = |pairs: Vec<(&str, Value)>| {
        Value::Table(pairs.into_iter().map(|(key, value)| (key.to_string(), value)).collect())
    };
    let seed = i64::try_from(seed).unwrap_or(i64::MAX);
    let mut table = Table::from_iter([
        ("run".into(), section(vec![("seed", seed.into()), ("device", device.into())])),
        // Needed because intervals are taken over problems.
        ("eval".into(), section(vec![("write_samples", true.into())])),
    ]);
    if let Some(base) = base {
        let path = base.display().to_string();
        table.insert("model".into(), section(vec![("path", path.into())]));
    }
    table
}
