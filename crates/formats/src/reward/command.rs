//! A program of the user's that scores responses: for each episode it reads one line of JSON on its
//! standard input and writes one on its standard output. It is started at the first episode and kept;
//! its standard error goes to the user.
//!
//! In: `{"id": 0, …}` with the fields of [`Request`]. Out, in the same order: `{"score": 0.5}` (from 0
//! to 1), `{"right": true}`, a bare `0.5`, or `{"error": "why"}`; an `id` in the answer must be that of
//! the question.
//!
//! A program that wants batches ([`Command::in_batches`]) reads an array of such records in a line, and writes
//! an array of as many answers.

use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::process::{Process, Silence};
use crate::error::{self, Error};

/// After this many failures in a row the program isn't started again: a broken one must not stall a run
/// for hours.
const MAX_FAILURES: usize = 3;
/// Most characters of a bad line that an error shows.
const MAX_SHOWN: usize = 200;

/// The result for one episode.
pub type Result<T> = std::result::Result<T, Failure>;

/// A program that scores episodes.
#[derive(Debug)]
pub struct Command {
    program: String,
    arguments: Vec<String>,
    time_limit: Duration,
    /// Most episodes in a line; 0: one, and no array.
    batch: usize,
    state: Mutex<State>,
}

/// What the program is told about an episode.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Request<'a> {
    /// The prompt as the model read it.
    pub prompt: &'a str,
    /// What the model wrote, without end-of-text.
    pub response: &'a str,
    /// The gold answer, where there is one.
    pub answer: Option<&'a str>,
    /// The suite of the example.
    pub suite: &'a str,
    /// Whether the length limit cut the response before end-of-text.
    pub truncated: bool,
    /// The example's other columns.
    pub extra: &'a Map<String, Value>,
}

/// Why an episode has no score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No answer within the time limit; the program was killed.
    TimedOut(Duration),
    /// The program ended, as described, when an answer was due.
    Exited(String),
    /// The program wrote something else than an answer; it was killed.
    BadLine(String),
    /// The program answered that it can't score this episode.
    Refused(String),
    /// The program couldn't be started, or has failed too often to be started again.
    NotStarted(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(
                f,
                "the reward program gave no answer within {limit:?}; it must flush its output \
                 after each line, or needs more time"
            ),
            Self::Exited(how) => write!(
                f,
                "the reward program ended ({how}) when an answer was due; it must answer each line \
                 until its input ends"
            ),
            Self::BadLine(what) => write!(
                f,
                "the reward program answered {what}; expected one line for each request, such as \
                 {{\"score\": 0.5}} with a score from 0 to 1, {{\"right\": true}} or {{\"error\": \
                 \"why\"}}"
            ),
            Self::Refused(why) => write!(f, "the reward program gave no score: {why}"),
            Self::NotStarted(why) => write!(f, "the reward program doesn't run: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

/// The process and its record.
#[derive(Debug, Default)]
struct State {
    process: Option<Process>,
    /// Number of the next episode, over all processes.
    next_id: u64,
    /// The failures since the last answer.
    failures: Vec<Failure>,
}

impl Command {
    /// The program that `line` names, with its arguments. The line is split as a POSIX shell would,
    /// also on Windows (put backslashes in single quotes), but no shell runs: variables and pipes need
    /// an explicit `sh -c '…'`. `time_limit` is the longest wait for one answer, also for the first
    /// after a start.
    pub fn new(line: &str, time_limit: Duration) -> error::Result<Self> {
        let wrong = |what: &str| {
            Err(Error::input(format!("{what}: {line:?}"))
                .at("--reward-cmd")
                .next("write it as in a shell, such as \"python3 reward.py --strict\""))
        };
        let Some(words) = shlex::split(line) else {
            return wrong("the command has an unclosed quote");
        };
        let mut words = words.into_iter();
        match words.next() {
            Some(program) if !program.is_empty() => {
                Ok(Self::of(&program, words.collect(), time_limit))
            }
            _ => wrong("the command names no program"),
        }
    }

    /// A program with its arguments, as they are.
    pub fn of(program: &str, arguments: Vec<String>, time_limit: Duration) -> Self {
        let (program, state) = (program.into(), Mutex::default());
        Self { program, arguments, time_limit, batch: 0, state }
    }

    /// The same program, which is to be asked for at most so many episodes in a line; 0: for one, without an
    /// array.
    pub fn in_batches(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    fn start(&self) -> Result<Process> {
        Process::start(&self.program, &self.arguments)
            .map_err(|e| Failure::NotStarted(format!("`{}`: {e}", self.program)))
    }

    /// A score from 0 to 1, or why there is none.
    pub fn score(&self, request: &Request) -> Result<f64> {
        self.score_all(std::slice::from_ref(request)).remove(0)
    }

    /// The scores of many episodes, in order. The program gets all lines at once, so it may work on
    /// several; the time limit is for the wait from one answer to the next. A line at which the
    /// program fails isn't retried; those after it go to a new process.
    pub fn score_all(&self, requests: &[Request]) -> Vec<Result<f64>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let first = state.next_id;
        state.next_id += requests.len() as u64;
        let asked: Vec<Asked> = (first..).zip(requests).map(|(id, of)| Asked { id, of }).collect();
        let asked: Vec<&[Asked]> = asked.chunks(self.batch.max(1)).collect();
        let lines: Arc<[String]> = asked.iter().map(|asked| self.line(asked)).collect();
        let scores = |(index, asked): (usize, &&[Asked])| {
            let (id, count) = (asked[0].id, asked.len());
            state.answer(self, &lines, index, id, count).unwrap_or_else(|why| vec![Err(why); count])
        };
        asked.iter().enumerate().flat_map(scores).collect()
    }

    /// The line that describes episodes to the program.
    fn line(&self, asked: &[Asked]) -> String {
        let line = match self.batch {
            0 => serde_json::to_string(&asked[0]),
            _ => serde_json::to_string(asked),
        };
        line.expect("a plain record") + "\n"
    }

    /// What an answer to `count` episodes from `id` on says.
    fn scores(&self, answer: &str, id: u64, count: usize) -> Result<Vec<Result<f64>>> {
        let value: Value =
            serde_json::from_str(answer).map_err(|_| bad(answer, "which isn't JSON"))?;
        let values = match value {
            Value::Array(values) if self.batch > 0 => values,
            value if self.batch == 0 => vec![value],
            _ => return Err(bad(answer, "which isn't an array, as a batch's answer is")),
        };
        if values.len() != count {
            let why = format!("which has {} answers for {count} responses", values.len());
            return Err(bad(answer, &why));
        }
        let scores = (id..).zip(&values).map(|(id, value)| match score(value, answer, id) {
            Err(failure @ Failure::Refused(_)) => Ok(Err(failure)),
            score => score.map(Ok),
        });
        scores.collect()
    }
}

impl State {
    /// The answer to the line at `index`, whose episodes have `count` numbers from `id` on.
    fn answer(
        &mut self,
        command: &Command,
        lines: &Arc<[String]>,
        index: usize,
        id: u64,
        count: usize,
    ) -> Result<Vec<Result<f64>>> {
        if let Some(last) = self.failures.get(MAX_FAILURES - 1) {
            return Err(Failure::NotStarted(format!(
                "it failed {MAX_FAILURES} times in a row and is not started again; the last time: \
                 {last}"
            )));
        }
        let answer = self.ask(command, lines, index);
        let result = answer.and_then(|answer| command.scores(&answer, id, count));
        match &result {
            Ok(_) => self.failures.clear(),
            Err(failure) => {
                self.failures.push(failure.clone());
                if let Some(mut process) = self.process.take() {
                    process.end(Duration::ZERO);
                }
            }
        }
        result
    }

    /// The answer to the line at `index`. A process that owes no answers (a new process, or new lines)
    /// is given all remaining lines.
    fn ask(&mut self, command: &Command, lines: &Arc<[String]>, index: usize) -> Result<String> {
        let process = match &mut self.process {
            Some(process) => process,
            none => none.insert(command.start()?),
        };
        if process.due() == 0 {
            if let Some(line) = process.unasked() {
                return Err(bad(&line, "before it was asked"));
            }
            process.ask(lines.clone(), index);
        }
        process.answer(command.time_limit).map_err(|silence| match silence {
            Silence::TimedOut => Failure::TimedOut(command.time_limit),
            Silence::Ended(how) => Failure::Exited(how),
        })
    }
}

/// An episode with its number.
#[derive(Serialize)]
struct Asked<'a> {
    id: u64,
    #[serde(flatten)]
    of: &'a Request<'a>,
}

/// What the `value` in an answer says of episode `id`.
fn score(value: &Value, answer: &str, id: u64) -> Result<f64> {
    let in_range = |score: &Value| match score.as_f64() {
        Some(score) if (0.0..=1.0).contains(&score) => Ok(score),
        _ => Err(bad(answer, "whose score isn't a number from 0 to 1")),
    };
    if value.is_number() {
        return in_range(value);
    }
    let field = |name: &str| value.get(name).filter(|value| !value.is_null());
    if field("id").is_some_and(|given| *given != id) {
        return Err(bad(answer, &format!("instead of the answer to id {id}")));
    }
    match [field("score"), field("right"), field("error")] {
        [Some(score), None, None] => in_range(score),
        [None, Some(Value::Bool(right)), None] => Ok(f64::from(*right)),
        [None, None, Some(Value::String(why))] => Err(Failure::Refused(shown(why))),
        _ => Err(bad(answer, "which must have exactly one of `score`, `right` and `error`")),
    }
}

/// The failure for a line that isn't the expected answer.
fn bad(line: &str, why: &str) -> Failure {
    Failure::BadLine(format!("{:?}, {why}", shown(line)))
}

/// A text, shortened to fit into an error.
fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn request<'a>(response: &'a str, extra: &'a Map<String, Value>) -> Request<'a> {
        let (prompt, answer, suite) = ("2+2=", Some("4"), "sums");
        Request { prompt, response, answer, suite, truncated: false, extra }
    }

    #[test]
    fn answers_mean_what_they_say() {
        let long = format!("\"{}", "é".repeat(300));
        for (answer, expected) in [
            ("0.25", Ok(0.25)),
            ("1", Ok(1.0)),
            (r#"{"score": 0}"#, Ok(0.0)),
            (r#"{"score": 0.5, "id": 7, "error": null, "why": "half"}"#, Ok(0.5)),
            (r#"{"right": true}"#, Ok(1.0)),
            (r#" {"id": 7, "right": false} "#, Ok(0.0)),
            (r#"{"error": "no answer"}"#, Err("gave no score: no answer")),
            ("1.5", Err("answered \"1.5\", whose score isn't a number from 0 to 1")),
            (r#"{"score": -0.1}"#, Err("isn't a number from 0 to 1")),
            (r#"{"score": true}"#, Err("isn't a number from 0 to 1")),
            (r#"{"score": NaN}"#, Err("which isn't JSON")),
            ("", Err("answered \"\", which isn't JSON")),
            ("0.5 0.5", Err("which isn't JSON")),
            ("true", Err("exactly one of")),
            ("[0.5]", Err("exactly one of")),
            ("{}", Err("exactly one of")),
            (r#"{"right": 1}"#, Err("exactly one of")),
            (r#"{"score": 1, "right": true}"#, Err("exactly one of")),
            (r#"{"score": 1, "error": "no"}"#, Err("exactly one of")),
            (r#"{"score": 1, "id": 8}"#, Err("instead of the answer to id 7")),
            (r#"{"score": 1, "id": "7"}"#, Err("instead of the answer to id 7")),
            (&long, Err("é…\", which isn't JSON")),
        ] {
            let command = Command::new("judge", LONG).unwrap();
            let score = command.scores(answer, 7, 1).and_then(|mut scores| scores.remove(0));
            match (score, expected) {
                (Ok(score), Ok(expected)) => assert_eq!(score, expected, "{answer}"),
                (Err(failure), Err(expected)) => {
                    assert!(failure.to_string().contains(expected), "{answer}: {failure}");
                }
                (score, _) => panic!("{answer}: {score:?}"),
            }
        }
    }

    #[test]
    fn a_request_is_one_line() {
        let extra = Map::from_iter([("level".into(), Value::from("a\nb"))]);
        let request = request("\"4\"", &extra);
        let expected = concat!(
            r#"{"id":3,"prompt":"2+2=","response":"\"4\"","answer":"4","suite":"sums","#,
            r#""truncated":false,"extra":{"level":"a\nb"}}"#,
            "\n"
        );
        let asked = [Asked { id: 3, of: &request }];
        let command = Command::new("judge", LONG).unwrap();
        assert_eq!(command.line(&asked), expected);
        assert_eq!(command.in_batches(8).line(&asked), format!("[{}]\n", expected.trim_end()));
    }

    #[test]
    fn a_batch_has_an_answer_each() {
        let command = Command::new("judge", LONG).unwrap().in_batches(8);
        let answer = r#"[0.5, {"id": 8, "right": true}, {"error": "no answer"}]"#;
        let refused = Failure::Refused("no answer".into());
        assert_eq!(command.scores(answer, 7, 3).unwrap(), [Ok(0.5), Ok(1.0), Err(refused)]);
        for (answer, expected) in [
            ("[0.5, 0.5]", "which has 2 answers for 3 responses"),
            ("[1, 1, 1, 1]", "which has 4 answers for 3 responses"),
            ("0.5", "which isn't an array"),
            (r#"{"score": 0.5}"#, "which isn't an array"),
            ("[0.5, 2, 0.5]", "isn't a number from 0 to 1"),
            ("[0.5, [0.5], 0.5]", "exactly one of"),
            (r#"[0.5, {"id": 7, "score": 0.5}, 0.5]"#, "instead of the answer to id 8"),
        ] {
            let failure = command.scores(answer, 7, 3).unwrap_err().to_string();
            assert!(failure.contains(expected), "{answer}: {failure}");
        }
        let single = Command::new("judge", LONG).unwrap();
        assert!(single.scores("[0.5]", 7, 1).unwrap_err().to_string().contains("exactly one of"));
    }

    #[test]
    fn commands_are_split_as_a_shell_would() {
        for (line, words) in [
            ("python3 reward.py --strict", &["python3", "reward.py", "--strict"][..]),
            (r#" 'C:\my tools\judge.exe' "a b"\ c"#, &[r"C:\my tools\judge.exe", "a b c"]),
            ("a | b $C", &["a", "|", "b", "$C"]),
        ] {
            let command = Command::new(line, LONG).unwrap();
            assert_eq!(command.program, words[0]);
            assert_eq!(command.arguments, words[1..]);
        }
        for line in ["", "  ", "''", "a 'b", "a \"b"] {
            let error = Command::new(line, LONG).unwrap_err();
            assert_eq!(error.place.as_deref(), Some("--reward-cmd"), "{line}");
        }
    }

    #[cfg(unix)]
    mod processes {
        use super::*;

        fn sh(script: &str, time_limit: Duration) -> Command {
            let quoted = shlex::try_quote(script).expect("no NUL");
            Command::new(&format!("sh -c {quoted}"), time_limit).unwrap()
        }

        /// One episode a response; `expected` is each one's score, or what its failure contains.
        fn check(
            command: &Command,
            responses: &[&str],
            expected: &[std::result::Result<f64, &str>],
        ) {
            let extra = Map::new();
            let requests: Vec<_> = responses.iter().map(|r| request(r, &extra)).collect();
            let results = command.score_all(&requests);
            assert_eq!(results.len(), expected.len());
            for (index, (result, expected)) in results.iter().zip(expected).enumerate() {
                match (result, expected) {
                    (Ok(score), Ok(expected)) => assert_eq!(score, expected, "episode {index}"),
                    (Err(failure), Err(expected)) => {
                        assert!(failure.to_string().contains(expected), "{index}: {failure}");
                    }
                    _ => panic!("episode {index}: {result:?}, not {expected:?}"),
                }
            }
        }

        #[test]
        fn scores_come_in_order_with_ids_that_go_on() {
            let script = r#"while read -r l; do
                echo "noise" >&2; id=${l#*:}; id=${id%%,*}; echo "{\"id\": $id, \"score\": 0.$id}"
            done"#;
            let command = sh(script, LONG);
            check(&command, &["a", "b", "c"], &[Ok(0.0), Ok(0.1), Ok(0.2)]);
            check(&command, &[], &[]);
            check(&command, &["d"], &[Ok(0.3)]);
        }

        #[test]
        fn batches_are_lines_of_at_most_so_many() {
            // Two scores a line: right for all but the last, which has one response.
            let script =
                "while read -r l; do case $l in *stop*) exit 3;; *) echo '[0.5, 1]';; esac; done";
            let command = sh(script, LONG).in_batches(2);
            let short = Err("which has 2 answers for 1 responses");
            check(
                &command,
                &["a", "b", "c", "d", "e"],
                &[Ok(0.5), Ok(1.0), Ok(0.5), Ok(1.0), short],
            );
            check(&command, &[], &[]);
            let ended = Err("ended (exit status: 3)");
            check(&command, &["a", "stop", "b", "c"], &[ended, ended, Ok(0.5), Ok(1.0)]);
        }

        #[test]
        fn an_episode_at_which_the_program_fails_costs_no_other_one() {
            // Each program answers until it sees the word.
            for (on_stop, failure) in [
                ("exit 3", "ended (exit status: 3)"),
                ("kill -9 $$", "ended (signal: 9"),
                ("echo what?", "answered \"what?\", which isn't JSON"),
                ("echo 7", "isn't a number from 0 to 1"),
                (r#"echo '{"id": 99, "score": 1}'"#, "instead of the answer to id 2"),
                (r#"echo '{"error": "can not"}'"#, "gave no score: can not"),
            ] {
                let script = format!(
                    "while read -r l; do case $l in *stop*) {on_stop};; *) echo 0.5;; esac; done"
                );
                let ok = Ok(0.5);
                let command = sh(&script, LONG);
                check(&command, &["a", "b", "stop", "c", "d"], &[ok, ok, Err(failure), ok, ok]);
                check(&command, &["a"], &[ok]);
            }
        }

        #[test]
        fn a_program_that_hangs_is_killed_and_the_next_episode_answered() {
            let script =
                "while read -r l; do case $l in *stop*) sleep 60;; *) echo 0.5;; esac; done";
            let command = sh(script, Duration::from_secs(5));
            check(&command, &["a", "stop", "b"], &[Ok(0.5), Err("no answer within 5s"), Ok(0.5)]);
        }

        #[test]
        fn a_broken_program_is_given_up() {
            let limit = Duration::from_millis(200);
            for (script, failure) in [
                ("exit 0", "ended (exit status: 0)"),
                ("sleep 60", "no answer within 200ms"),
                ("exec >&-; sleep 60", "ended (it had closed its output)"),
                ("while read -r l; do echo nonsense; done", "which isn't JSON"),
            ] {
                let limit = if script.starts_with("sleep") { limit } else { LONG };
                let command = sh(script, limit);
                check(&command, &["a", "b"], &[Err(failure), Err(failure)]);
                let given_up = Err("failed 3 times in a row and is not started again");
                check(&command, &["c", "d", "e"], &[Err(failure), given_up, given_up]);
                check(&command, &["f"], &[Err(failure)]);
            }
            let command = Command::new("./no-such-program --x", LONG).unwrap();
            check(&command, &["a"], &[Err("`./no-such-program`: No such file")]);
        }

        #[test]
        fn failures_that_are_not_in_a_row_do_not_add_up() {
            let command = sh("read -r l; echo 0.5", LONG);
            let (ok, ended) = (Ok(0.5), Err("ended (exit status: 0)"));
            check(&command, &["a"; 9], &[ok, ended, ok, ended, ok, ended, ok, ended, ok]);
        }

        #[test]
        fn a_large_batch_blocks_neither_side() {
            let response = "x".repeat(10_000);
            for script in [
                "head -n 1000 > /dev/null; yes 0.5 | head -n 1000; cat > /dev/null",
                r#"head -c 1 > /dev/null; long=$(printf %10000s)
                yes "{\"score\": 0.5, \"note\": \"$long\"}" | head -n 1000; cat > /dev/null"#,
            ] {
                check(&sh(script, LONG), &[&*response; 1000], &[Ok(0.5); 1000]);
            }
        }

        #[test]
        fn an_answer_too_many_is_noticed() {
            let command = sh("while read -r l; do echo 0.5; echo 0.5; done", LONG);
            let extra = Map::new();
            let request = request("", &extra);
            // How soon it is noticed depends on when the second line arrives.
            let noticed = std::iter::repeat_with(|| {
                std::thread::sleep(Duration::from_millis(5));
                command.score(&request)
            });
            let failure = noticed.take(1000).find_map(|result| result.err()).expect("noticed");
            assert_eq!(failure, bad("0.5", "before it was asked"));
        }
    }
}
