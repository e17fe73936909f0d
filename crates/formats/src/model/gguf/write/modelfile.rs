//! A `Modelfile`, from which `ollama create` makes a model of a GGUF file.
//!
//! Ollama does not run the chat template that is in the file. It compares it with the templates that it
//! knows, takes the nearest one's form in Go's template language, and where none is near passes prompts on
//! as they are (its `template/template.go`). So the form is written here, where a plain one says the same.

use crate::text::chat::ChatTemplate;
use serde_json::{Map, Value as Json, json};

/// How the first line of a file of ours begins; a checksum of the other lines follows.
const FIRST: &str = "# Written by srft export, ";

/// What a `Modelfile` says.
#[derive(Debug, Clone)]
pub struct Modelfile {
    /// The GGUF file beside it.
    pub model: String,
    /// Go's form of the chat template, if there is one.
    pub template: Option<String>,
    /// Whether the model has a chat template.
    pub is_chat: bool,
    /// Texts that end a response.
    pub stops: Vec<String>,
}

impl Modelfile {
    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut rest = format!("FROM ./{}\n", self.model);
        match &self.template {
            Some(template) => rest += &format!("TEMPLATE \"\"\"{template}\"\"\"\n"),
            None if self.is_chat => {
                rest += "# No TEMPLATE: the model's chat template has no plain form in Go's language. Ollama \
                         takes one of\n# its own where it knows one like it; else write one here.\n";
            }
            None => {}
        }
        for stop in self.stops.iter().filter(|stop| !stop.contains(['"', '\n'])) {
            rest += &format!("PARAMETER stop \"{stop}\"\n");
        }
        format!("{FIRST}{:08x}\n{rest}", crc32fast::hash(rest.as_bytes()))
    }

    /// Whether a file is as [`Self::to_text`] wrote it.
    pub fn is_ours(file: &[u8]) -> bool {
        let text = std::str::from_utf8(file).ok().and_then(|text| text.strip_prefix(FIRST));
        text.and_then(|text| text.split_once('\n')).is_some_and(|(sum, rest)| {
            u32::from_str_radix(sum, 16).is_ok_and(|sum| sum == crc32fast::hash(rest.as_bytes()))
        })
    }
}

/// Contents that occur in no template.
const SYSTEM: &str = "qSq";
const TURNS: [&str; 5] = ["qAq", "qBq", "qCq", "qDq", "qEq"];

/// What a chat template writes around contents.
#[derive(Debug, PartialEq)]
struct Around {
    /// Before and after a system message, which comes first.
    system: [String; 2],
    /// Before the first turn of a conversation without one.
    start: String,
    /// After what a user said.
    user: String,
    /// After what the assistant said.
    assistant: String,
}

/// The chat template in Go's language, without `begin`, which is put before the tokens of every text. None
/// if it does more than write fixed texts around what was said, as far as a few conversations show.
pub fn in_go(template: ChatTemplate, begin: &str) -> Option<String> {
    let template = template.at_time(0);
    let around = Around::of(&template)?;
    // A date, say, would stay as it is today.
    let later = template.at_time(1_000_000_000);
    let is_so = [(false, 1), (true, 1), (false, 3), (true, 3), (false, 5)]
        .into_iter()
        .all(|(system, turns)| rendered(&later, system, turns) == Some(around.text(system, turns)));
    is_so.then(|| around.in_go(begin)).flatten()
}

/// The text of a conversation that a user's turn ends, and where the assistant's begins.
fn rendered(template: &ChatTemplate, system: bool, turns: usize) -> Option<String> {
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let role = |index: usize| if index.is_multiple_of(2) { "user" } else { "assistant" };
    let system = system.then(|| message("system", SYSTEM)).into_iter();
    let turns =
        TURNS.iter().enumerate().take(turns).map(|(index, text)| message(role(index), text));
    let messages: Vec<Json> = system.chain(turns).collect();
    template.render(&messages, None, true, &Map::new()).ok()
}

impl Around {
    fn of(template: &ChatTemplate) -> Option<Self> {
        let (with, without) = (rendered(template, true, 1)?, rendered(template, false, 3)?);
        let (before, with) = with.split_once(SYSTEM)?;
        let (after, _) = with.split_once(TURNS[0])?;
        let (start, rest) = without.split_once(TURNS[0])?;
        let (user, rest) = rest.split_once(TURNS[1])?;
        let (assistant, _) = rest.split_once(TURNS[2])?;
        Some(Self {
            system: [before.into(), after.into()],
            start: start.into(),
            user: user.into(),
            assistant: assistant.into(),
        })
    }

    /// What the template must render.
    fn text(&self, system: bool, turns: usize) -> String {
        let start = match system {
            true => self.system.join(SYSTEM),
            false => self.start.clone(),
        };
        let ends = [&self.user, &self.assistant].into_iter().cycle();
        let turns = TURNS.iter().take(turns).zip(ends);
        start + &turns.map(|(text, end)| format!("{text}{end}")).collect::<String>()
    }

    fn in_go(&self, begin: &str) -> Option<String> {
        let [before, after] = self.system.each_ref().map(String::as_str);
        let (start, user, assistant) = (&*self.start, &*self.user, &*self.assistant);
        let [before, start] = [before, start].map(|text| text.strip_prefix(begin).unwrap_or(text));
        let is_plain = |text: &str| !text.contains("{{") && !text.contains("\"\"\"");
        [before, after, start, user, assistant].iter().all(|text| is_plain(text)).then(|| {
            format!(
                "{{{{ if .System }}}}{before}{{{{ .System }}}}{after}{{{{ else }}}}{start}{{{{ end }}}}\
                 {{{{ range .Messages }}}}\
                 {{{{ if eq .Role \"user\" }}}}{{{{ .Content }}}}{user}\
                 {{{{ else if eq .Role \"assistant\" }}}}{{{{ .Content }}}}{assistant}\
                 {{{{ end }}}}{{{{ end }}}}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> ChatTemplate {
        ChatTemplate::from_files(Some(text.as_bytes()), None, None, "m").unwrap().unwrap()
    }

    const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\
        {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

    #[test]
    fn a_plain_template_has_a_form_in_go() {
        let go = in_go(template(CHATML), "").unwrap();
        assert_eq!(
            go,
            "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n<|im_start|>user\n\
             {{ else }}<|im_start|>user\n{{ end }}\
             {{ range .Messages }}{{ if eq .Role \"user\" }}{{ .Content }}\
             <|im_end|>\n<|im_start|>assistant\n\
             {{ else if eq .Role \"assistant\" }}{{ .Content }}\
             <|im_end|>\n<|im_start|>user\n{{ end }}{{ end }}"
        );
        // A system message of its own where there is none; begin-of-text is put there by the tokenizer.
        let own = "<s>{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}";
        let go = in_go(template(&[own, CHATML].concat()), "<s>").unwrap();
        assert!(go.starts_with("{{ if .System }}<|im_start|>system\n{{ .System }}"), "{go}");
        assert!(go.contains(
            "{{ else }}<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n{{ end }}"
        ));
    }

    #[test]
    fn what_is_not_plain_has_none() {
        for (text, what) in [
            (CHATML.replace("m.content", "m.content|upper"), "changes what was said"),
            (CHATML.replace("<|im_start|>{{", "{{ strftime_now('%Y') }}{{"), "the date"),
            (CHATML.replace("m.role }}", "m.role }}{{ loop.index }}"), "turns differ"),
            (CHATML.replace("m.role }}", "m.role }}\"\"\""), "would end the TEMPLATE"),
            (CHATML.replace("m.role }}", "m.role }}{{ '{{' }}"), "Go's own brackets"),
            ("{{ raise_exception('no') }}".into(), "refuses"),
        ] {
            assert_eq!(in_go(template(&text), ""), None, "{what}");
        }
    }

    #[test]
    fn a_file_that_was_changed_is_not_ours() {
        let file = Modelfile {
            model: "my model.gguf".into(),
            template: Some("{{ .Prompt }}".into()),
            is_chat: true,
            stops: vec!["<|im_end|>".into(), "\"".into()],
        };
        let text = file.to_text();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        let expected = [
            "FROM ./my model.gguf",
            "TEMPLATE \"\"\"{{ .Prompt }}\"\"\"",
            "PARAMETER stop \"<|im_end|>\"",
        ];
        assert_eq!(lines, expected);
        assert!(Modelfile::is_ours(text.as_bytes()));
        for other in [text.replace("stop", "Stop"), "FROM llama3".into(), String::new()] {
            assert!(!Modelfile::is_ours(other.as_bytes()), "{other}");
        }
        let bare = Modelfile { template: None, ..file }.to_text();
        assert!(bare.contains("# No TEMPLATE") && !bare.contains("\nTEMPLATE"), "{bare}");
    }
}
