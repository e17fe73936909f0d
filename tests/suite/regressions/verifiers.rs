//! Verifiers that reinforcement cannot game. The answers stand in `tests/golden/math/reports.jsonl`, each
//! with the report that it belongs to.

use crate::program::{Home, stderr};
use serde::Deserialize;
use serde_json::json;
use srft::config::{Comparison, MathForm};
use srft::reward::Verifier;

const ANSWERS: &str = include_str!("../../golden/math/reports.jsonl");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    report: String,
    verifier: String,
    gold: String,
    response: String,
    right: bool,
    #[serde(default)]
    prompt: String,
}

fn verifier(comparison: Comparison, form: MathForm, marker: Option<&str>) -> Verifier {
    Verifier::new(comparison, marker.map(String::from), form)
}

/// Every answer of a report is judged as it should be.
fn holds(report: &str) {
    let answers = ANSWERS.lines().skip(1).map(|line| serde_json::from_str(line).expect(line));
    let answers: Vec<Answer> = answers.filter(|answer: &Answer| answer.report == report).collect();
    assert!(answers.len() >= 3, "{report}: {}", answers.len());
    let wrong: Vec<String> = answers
        .iter()
        .filter(|a| {
            let named = Comparison::ALL.iter().find(|c| c.name() == a.verifier);
            let verifier = verifier(*named.expect("a verifier"), MathForm::Strict, None);
            verifier.judge(&a.prompt, &a.response, true, &a.gold).right != a.right
        })
        .map(|a| {
            format!("{}: gold {}, response {:?}, not {}", a.prompt, a.gold, a.response, a.right)
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), answers.len(), wrong.join("\n"));
}

/// Times of the day, ratios, bases: values that differ and compared equal.
#[test]
fn math_verify_14_times_ratios_and_bases_are_no_quotients() {
    holds("math_verify_14");
}

/// Million, dozen, or less, and units that differ.
#[test]
fn offlinecv_944_words_change_numbers() {
    holds("offlinecv_944");
}

/// Also verl #2150 and lm-evaluation-harness #2552: answers in Markdown and in prose.
#[test]
fn tpu_inference_2318_answers_are_found() {
    holds("tpu_inference_2318");
}

/// Also #4030: commands that nobody reads, left of an equals sign or around a number.
#[test]
fn lm_evaluation_harness_2212_commands_do_not_hide_answers() {
    holds("lm_evaluation_harness_2212");
}

/// Short words behind numbers, Unicode, decimals that repeat.
#[test]
fn lm_evaluation_harness_3214_numbers_in_any_dress() {
    holds("lm_evaluation_harness_3214");
}

/// Also omlx #3668, NeMo-Gym #1844.
#[test]
fn lm_evaluation_harness_4188_the_letter_that_is_chosen() {
    holds("lm_evaluation_harness_4188");
}

#[test]
fn mmlu_pro_7_an_article_is_no_choice() {
    holds("mmlu_pro_7");
}

/// Also verl #7274: numbers with their signs, and markers that come twice or with text behind.
#[test]
fn lm_evaluation_harness_3438_numbers_behind_markers() {
    holds("lm_evaluation_harness_3438");
    for comparison in [Comparison::Numeric, Comparison::Math] {
        let verifier = verifier(comparison, MathForm::Strict, Some("####"));
        for (response, right) in [
            ("so 18\n#### 18", true),
            ("so 18\n#### $18", true),
            ("#### 18\n\nQuestion: What is 5?", true),
            ("#### 18\nNext: 5", true),
            ("#### 18\n#### 18", true),
            ("#### 17\n#### 18", true),
            ("#### 18\n#### 17", false),
            ("#### 18\n####", false),
            ("18", false),
        ] {
            assert_eq!(verifier.score(response, true, "18"), right, "{comparison:?} {response:?}");
        }
    }
}

/// What forty steps of GRPO on SmolLM2 found in place of adding: none of it earns anything.
#[test]
fn smollm2_grpo_exploits_earn_nothing() {
    holds("smollm2_grpo");
    let prompt = "State the final answer to the following arithmetic problem: 96 + 60 - 36 =";
    for response in [
        "186 = 96 + 60 - 36.",
        "96 + 60 - 36.",
        "96 + 60 - 36 = 96 + 60 - 36",
        "The answer is 96 + 60 - 36.",
        "The answer is 186 = 96 + 60 - 36.",
        "96 + 60 = 156. 156 - 36 = 96 + 60 - 36.",
        "\\boxed{96 + 60 - 36}",
        "\\boxed{156 - 36}",
        "\\boxed{(96 + 60) - 36}",
        "\\boxed{120 \\text{ or } 186}",
        "96 + 60 - 36 = 186 = 120.",
    ] {
        let [strict, any] = [MathForm::Strict, MathForm::Any].map(|form| {
            verifier(Comparison::Math, form, None).judge(prompt, response, true, "120")
        });
        assert!(!strict.right, "{response}");
        assert_eq!(strict.loose_only, any.right, "{response}: the looser reading is told apart");
    }
    let any = verifier(Comparison::Math, MathForm::Any, None);
    assert!(any.judge(prompt, "186 = 96 + 60 - 36.", true, "120").right, "as others evaluate");
    for response in
        ["120", "96 + 60 - 36 = 120", "96 + 60 = 156. 156 - 36 = 120. The answer is 120."]
    {
        let strict = verifier(Comparison::Math, MathForm::Strict, None);
        assert!(strict.judge(prompt, response, true, "120").right, "{response}");
    }
}

/// lm-evaluation-harness #2212: some gold answers of every published set are beyond a reader. The file is
/// refused with the line, or they are left out aloud.
#[test]
fn lm_evaluation_harness_2212_gold_answers_that_cannot_be_read_are_dropped_aloud() {
    let home = Home::new();
    let line = |answer: &str| format!("{}\n", json!({"prompt": "1+1=", "answer": answer}));
    home.write("some.jsonl", line("2") + &line("\\sum_{k=1}^n k") + &line("3"));
    home.write("none.jsonl", line("\\sum_{k=1}^n k"));
    let eval = "eval --device cpu --model model --max-new-tokens 4 --verifier math --data";
    let run = |arguments: &str| home.command(&format!("{eval} {arguments}")).output().unwrap();
    let refused = run("some.jsonl");
    let message = stderr(&refused);
    assert!(!refused.status.success() && message.contains("some.jsonl:2"), "{message}");
    assert!(message.contains("data.unreadable"), "{message}");
    let dropped = run("some.jsonl --set data.unreadable=drop");
    let message = stderr(&dropped);
    assert!(dropped.status.success(), "{message}");
    let told = "1 whose gold answer cannot be read: dropped (lines 2)";
    assert!(message.contains(told), "{message}");
    let empty = run("none.jsonl --set data.unreadable=drop");
    assert!(!empty.status.success(), "{}", stderr(&empty));
}
