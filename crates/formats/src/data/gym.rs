//! reasoning-gym's tasks by name, `reasoning_gym:chain_sum?max_terms=3`: its problems, and its own scorer as the
//! judge. A small program in Python makes and judges them (`gym_adapter.py`); here it is the user's
//! `python3`, in srft's Python module it is the interpreter that runs.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::names::REASONING_GYM;
use crate::reward::command::Command;
use crate::reward::process::{Process, Silence};
use crate::reward::{Part, Scores, Submission};

/// The program.
pub const SCRIPT: &str = include_str!("gym_adapter.py");
/// The fields of a row that say which problem it is.
pub const TASK: &str = "task";
/// Its number among the task's problems.
pub const INDEX: &str = "index";

const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

/// Problems of a task: each a question and its answer.
pub type Problems = Vec<(String, String)>;

/// What a task could not be made by, and what to do.
pub fn refused(why: &str) -> Error {
    Error::input(why).next(
        "name a task and its settings as reasoning_gym.create_dataset takes them, such as \
         reasoning_gym:chain_sum?max_terms=3&size=500",
    )
}

/// What makes problems and judges answers to them.
pub trait Tasks: Debug + Send + Sync {
    /// The problems of a task, `NAME?KEY=VALUE&…`. The longest wait for one is `limit`.
    fn problems(&self, task: &str, limit: Duration) -> Result<Arc<Problems>>;

    /// The tasks' own scorers. The answer is what follows the marker, if there is one.
    fn judge(&self, marker: &str, limit: Duration) -> Arc<dyn Part>;
}

/// The task in a name with the prefix.
pub fn task_of(name: &str) -> Option<&str> {
    name.strip_prefix(REASONING_GYM)
}

/// The rows of a task as JSONL; `chat` makes each question a user's message.
pub fn jsonl(task: &str, problems: &Problems, chat: bool) -> Vec<u8> {
    let mut text = String::new();
    for (index, (question, answer)) in problems.iter().enumerate() {
        let prompt = match chat {
            true => json!([{"role": "user", "content": question}]),
            false => json!(question),
        };
        let row = json!({"prompt": prompt, "answer": answer, TASK: task, INDEX: index});
        text += &format!("{row}\n");
    }
    text.into_bytes()
}

/// The user's `python3`, as a process.
#[derive(Debug)]
pub struct ByProcess;

/// Those that were made, by task: they are read twice, for the run and for what it remembers of its inputs.
static MADE: Mutex<BTreeMap<String, Arc<Problems>>> = Mutex::new(BTreeMap::new());

impl Tasks for ByProcess {
    fn problems(&self, task: &str, limit: Duration) -> Result<Arc<Problems>> {
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problems) = made.get(task) {
            return Ok(problems.clone());
        }
        let problems =
            make(PYTHON, task, limit).map_err(|e| e.at(format!("{REASONING_GYM}{task}")))?;
        let problems = Arc::new(problems);
        made.insert(task.into(), problems.clone());
        Ok(problems)
    }

    fn judge(&self, marker: &str, limit: Duration) -> Arc<dyn Part> {
        Arc::new(Scorer(Command::of(PYTHON, arguments(marker), limit)))
    }
}

fn arguments(marker: &str) -> Vec<String> {
    ["-c", SCRIPT, marker].map(String::from).to_vec()
}

fn make(python: &str, task: &str, limit: Duration) -> Result<Problems> {
    let no_python = |e: std::io::Error| {
        Error::input(format!("`{python}` can't be started: {e}")).next(
            "reasoning-gym is a Python package: install Python 3 and pip install reasoning-gym",
        )
    };
    let mut process = Process::start(python, &arguments("")).map_err(no_python)?;
    let size = asked(&mut process, &[json!({TASK: task})], limit)?.remove(0);
    let size = size["size"].as_u64().ok_or_else(|| odd(&size))?;
    let lines: Vec<Value> = (0..size).map(|index| json!({TASK: task, INDEX: index})).collect();
    let text = |value: &Value, key: &str| value[key].as_str().map(String::from);
    let problems = asked(&mut process, &lines, limit)?.into_iter().map(|answer| {
        let both = text(&answer, "question").zip(text(&answer, "answer"));
        both.ok_or_else(|| odd(&answer))
    });
    let problems = problems.collect::<Result<Problems>>()?;
    match problems.is_empty() {
        true => Err(Error::input("the task has no problems").next("raise its size, as ?size=500")),
        false => Ok(problems),
    }
}

/// The answer to each line.
fn asked(process: &mut Process, lines: &[Value], limit: Duration) -> Result<Vec<Value>> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    process.ask(lines.iter().map(|line| format!("{line}\n")).collect(), 0);
    let answer = |_| {
        let line = process.answer(limit).map_err(|silence| match silence {
            Silence::TimedOut => Error::machine(format!("reasoning-gym took more than {limit:?}"))
                .next("make the task easier, or give it more time with reward.command_secs"),
            Silence::Ended(how) => Error::machine(format!("reasoning-gym's process ended ({how})"))
                .next("what it wrote above says why"),
        })?;
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|_| json!(line));
        match &value["error"] {
            Value::String(why) => Err(refused(why)),
            _ => Ok(value),
        }
    };
    lines.iter().map(answer).collect()
}

fn odd(answer: &Value) -> Error {
    let shown: String = answer.to_string().chars().take(200).collect();
    Error::machine(format!("reasoning-gym answered {shown}"))
        .next("another version of the package may help: pip install -U reasoning-gym")
}

/// The scorers, behind the protocol of reward commands.
#[derive(Debug)]
struct Scorer(Command);

impl Part for Scorer {
    fn name(&self) -> &'static str {
        "reasoning_gym"
    }

    fn scores(&self, submissions: &[Submission]) -> Result<Scores> {
        self.0.scores(submissions)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::records::Example;
    use std::fs;
    use std::path::Path;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A package of the same interface: its tasks count.
    const PACKAGE: &str = "
import time
class Sums:
    def __init__(self, size, seed, slow, first):
        assert first >= 0, 'first must be positive'
        self.size, self.slow, self.first = size, slow, first
    def __len__(self):
        return self.size
    def __getitem__(self, index):
        print('made')
        if self.slow:
            time.sleep(60)
        return {'question': f'{index + self.first} + 1', 'answer': index + self.first + 1, 'metadata': (1, 2)}
    def score_answer(self, answer, entry):
        assert entry['metadata'] == (1, 2)
        if answer == 'raise':
            raise RuntimeError
        return 1.0 if answer == str(entry['answer']) else 0.25 if answer else 0
def create_dataset(name, size=3, seed=None, slow=False, first=0):
    if name != 'sums':
        raise ValueError(f'Dataset {name!r} not registered')
    return Sums(size, seed, slow, first)
";

    /// A `python3` that finds the package above, or none.
    fn python(home: &Path, has_package: bool) -> String {
        let package = home.join("reasoning_gym.py");
        let text = if has_package { PACKAGE } else { "raise ImportError('not here')" };
        fs::write(package, text).unwrap();
        let path = home.join("python");
        let home = home.display();
        let script = format!(
            "#!/bin/sh\nPYTHONPATH='{home}' PYTHONDONTWRITEBYTECODE=1 exec python3 \"$@\"\n"
        );
        fs::write(&path, script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
        path.display().to_string()
    }

    #[test]
    fn a_task_gives_problems_and_judges_answers() {
        let home = tempfile::tempdir().unwrap();
        let python = python(home.path(), true);
        let problems = make(&python, "sums?size=2&first=4", LIMIT).unwrap();
        assert_eq!(problems, [("4 + 1", "5"), ("5 + 1", "6")].map(|(q, a)| (q.into(), a.into())));
        let rows = jsonl("sums", &problems, true);
        let last = rows.split(|&b| b == b'\n').nth(1).unwrap();
        let expected = json!({
            "prompt": [{"role": "user", "content": "5 + 1"}], "answer": "6", TASK: "sums", INDEX: 1
        });
        assert_eq!(serde_json::from_slice::<Value>(last).unwrap(), expected);
        let example = Example {
            extra: json!({TASK: "sums?size=2&first=4", INDEX: 1}).as_object().unwrap().clone(),
            ..Example::default()
        };
        for (marker, response, score) in [
            ("", "6", Ok(1.0)),
            ("", "<answer>5</answer>, no: <answer> 6 </answer>.", Ok(1.0)),
            ("", "I say 6", Ok(0.25)),
            ("####", "1 + 5\n#### 6", Ok(1.0)),
            ("####", "6", Ok(0.0)),
            ("", "raise", Err("the reward program gave no score: RuntimeError")),
        ] {
            let judge = Scorer(Command::of(&python, arguments(marker), LIMIT));
            let submission = |finished| Submission { example: &example, response, finished };
            let scores = judge.scores(&[submission(true), submission(false)]).unwrap();
            assert_eq!(scores[0], score.map_err(String::from), "{response}");
            assert_eq!(scores[1], Ok(0.0), "{response}, cut");
        }
    }

    #[test]
    fn what_goes_wrong_is_said() {
        let home = tempfile::tempdir().unwrap();
        let with = python(home.path(), true);
        for (task, expected) in [
            ("products", "ValueError: Dataset 'products' not registered"),
            ("sums?last=3", "unexpected keyword argument 'last'"),
            ("sums?first=-1", "AssertionError: first must be positive"),
            ("sums?first", "`first` is not of the form key=value"),
            ("sums?size=0", "the task has no problems"),
        ] {
            let error = make(&with, task, LIMIT).unwrap_err();
            assert!(error.what.contains(expected) && error.next.is_some(), "{task}: {error}");
        }
        let slow = make(&with, "sums?slow=True", Duration::from_secs(5)).unwrap_err();
        assert!(slow.what.contains("took more than 5s"), "{slow}");
        let without = python(home.path(), false);
        let error = make(&without, "sums", LIMIT).unwrap_err();
        assert!(error.what.contains("pip install reasoning-gym"), "{error}");
        let error = make("no-such-python", "sums", LIMIT).unwrap_err().to_string();
        assert!(error.contains("can't be started") && error.contains("pip install"), "{error}");
    }
}
