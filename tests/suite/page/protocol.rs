//! `protocol.d.ts` is what the protocol's types say.

use serde_json::Value;
use srft::metrics::StepReport;
use srft::metrics::{DEFINITIONS, Definition};
use srft_page::lab::protocol::*;
use ts_rs::{Config, TS};

fn declared<T: TS>(config: &Config) -> String {
    let docs = T::docs().map_or(String::new(), |docs| docs.trim_end().to_string() + "\n");
    format!("\n{docs}export {}\n", T::decl(config))
}

fn declarations() -> String {
    let config = Config::new().with_large_int("number");
    let mut text = String::from(
        "// Generated from crates/page/src/lab/protocol.rs by a test, which also holds it against that file:\n\
         //   SRFT_UPDATE=1 cargo test --release --test suite page::protocol\n",
    );
    macro_rules! all {
        ($($type:ty),+ $(,)?) => { $(text += &declared::<$type>(&config);)+ };
    }
    all![
        Command,
        Look,
        Share,
        Start,
        RunRequest,
        Event,
        State,
        Facts,
        StoredView,
        MemoryView,
        Ready,
        AdapterView,
        ModelView,
        RunView,
        PastEvaluation,
        SuiteView,
        Probe,
        TokenScores,
        GroupView,
        PromptView,
        FormulaView,
        Member,
        TermValues,
        TokenView,
        Candidate,
        Answer,
        AnswerToken,
        Complaint,
        Score,
    ];
    text + &step_report()
}

/// From the table of metrics, whose crate knows no TypeScript.
fn step_report() -> String {
    let rewards = [(String::new(), 0.0)].into();
    let report = serde_json::to_value(StepReport { rewards, ..Default::default() }).unwrap();
    let mut text = String::from(
        "\n/**\n * The report of one training step, a line of `metrics.jsonl`.\n */\nexport type StepReport = {\n",
    );
    for Definition { name, doc, .. } in DEFINITIONS {
        let kind = match &report[name] {
            Value::Null => "number | null",
            Value::Object(_) => "Record<string, number>",
            _ => "number",
        };
        // Left out where there are none.
        let name = if report[name].is_object() { format!("{name}?") } else { (*name).into() };
        text += &format!("/**\n * {doc}\n */\n{name}: {kind},\n");
    }
    text + "};\n"
}

#[test]
fn protocol_d_ts_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/web/package/protocol.d.ts");
    if std::env::var_os("SRFT_UPDATE").is_some() {
        std::fs::write(path, declarations()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == declarations(),
        "{path} is not what crates/page/src/lab/protocol.rs says; write it again with\n  \
         SRFT_UPDATE=1 cargo test --release --test suite page::protocol"
    );
}
