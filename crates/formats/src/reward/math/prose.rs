//! Answers in prose: what announces them, where they end, and the Markdown around them.

use super::formulas::formulas;
use super::units::{Meaning, meaning, number_words};
use super::words;

/// Most characters of a sentence that is an answer without announcement.
const MAX_SENTENCE: usize = 100;
/// Most words between "answer" and the "is" that follows: "the answer to the first question is".
const MAX_WORDS: usize = 8;
/// Most bytes searched around a word "answer", and of a text between Markdown marks. A search repeated
/// at many places must not cover the whole text each time.
const NEAR: usize = 400;
/// Most bytes of a sentence whose end is tidied; longer ones are no answers.
const MAX_TIDIED: usize = 8_000;
/// Words after which an answer follows.
const COPULAS: [&str; 6] = ["is", "are", "be", "was", "equals", "="];
/// Words with which an explanation begins.
const EXPLANATIONS: [&str; 18] = [
    " because ",
    " since ",
    " as ",
    ", which ",
    " which ",
    ", where ",
    " where ",
    ", so ",
    ", i.e",
    " when ",
    ", because",
    ", that is",
    " -- ",
    " - that",
    " – that",
    " — ",
    " rather than ",
    " instead of ",
];
/// Words with which a sentence begins to say what the answer is not.
const DENIALS: [&str; 3] = [", not ", " and not ", " but not "];
/// Abbreviations whose full stop does not end a sentence.
const ABBREVIATIONS: [&str; 10] =
    ["sq", "cu", "ft", "in", "yd", "lb", "oz", "approx", "p.m", "a.m"];

/// The readings of the answer that `response` announces last.
pub fn announced(response: &str) -> Option<Vec<String>> {
    let text = without_markup(response);
    let lower = text.to_ascii_lowercase();
    let tags = ["<answer>", "<final_answer>", "####"];
    let tags = tags.iter().filter_map(|tag| Some((lower.rfind(tag)? + tag.len(), Place::After)));
    let words = lower.rmatch_indices("answer").find_map(|(at, word)| {
        let end = at + word.len();
        let before = &lower[lower.ceil_char_boundary(at.saturating_sub(NEAR))..at];
        let after = &lower[end..lower.floor_char_boundary(end + NEAR)];
        place(before, after).map(|(offset, place)| (end + offset, place))
    });
    let (start, place) = tags.chain(words).max_by_key(|(start, _)| *start)?;
    let read = |text: &str| readings(text, true);
    let rest = match place {
        Place::Before => {
            let line = text[..start].lines().last().unwrap_or_default();
            let end = line.to_ascii_lowercase().rfind(" is ").unwrap_or(line.len());
            return Some(read(&line[..end]));
        }
        Place::Json => {
            let rest = text[start..].trim_start();
            let end = rest.find([',', '}', '\n']).unwrap_or(rest.len());
            rest[..end].trim_matches(|c: char| c == '"' || c.is_whitespace())
        }
        Place::After => &text[start..],
    };
    let rest = rest.find("</").map_or(rest, |end| &rest[..end]);
    let mark = |c: char| c.is_whitespace() || "*:=>→…\"".contains(c);
    Some(read(rest.trim_start_matches(mark).trim_start_matches("...").trim_start_matches(mark)))
}

/// The readings of the last sentence of the last line, if it is short.
pub fn last_sentence(response: &str) -> Vec<String> {
    let text = without_markup(response);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let line = line.trim_start_matches(|c: char| c == '#' || c.is_whitespace());
    let body = line.trim_end_matches(|c: char| c.is_whitespace() || ".!?".contains(c));
    let sentence = sentence_ends(body).last().map_or(line, |end| &line[end + 2..]);
    let hesitates = line[..line.len() - sentence.len()].trim_end().ends_with("...");
    // "Q: 3 + 5? A: 8", but not the first option of a multiple choice.
    let labelled = sentence.strip_prefix("A:").filter(|_| !text.contains("B:"));
    let sentence = labelled.map_or(sentence, str::trim_start);
    let lower = sentence.to_ascii_lowercase();
    let said = |copula: &&str| Some(lower.rfind(&format!(" {copula} "))? + copula.len() + 2);
    let spoken = COPULAS.iter().filter(|c| **c != "=").filter_map(said).max();
    if sentence.chars().count() > MAX_SENTENCE
        || denies(&lower[..spoken.unwrap_or(0)])
        || denies_verb(&lower)
    {
        return Vec::new();
    }
    let worded = sentence.split(|c: char| !c.is_alphabetic()).any(|word| word.len() > 1);
    let told = worded || hesitates || labelled.is_some();
    readings(spoken.map_or(sentence, |start| &sentence[start..]), told)
}

/// Where an announced answer is, relative to the word "answer".
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    After,
    /// "12 is the answer."
    Before,
    /// {"answer": 12}
    Json,
}

/// Where the answer is that a word "answer" announces, counted from the end of the word; `None` if it
/// announces none.
fn place(before: &str, after: &str) -> Option<(usize, Place)> {
    let offset = |rest: &str| after.len() - rest.len();
    let rest = after.strip_prefix('s').unwrap_or(after);
    if let Some(value) = rest.strip_prefix("\":").or(rest.strip_prefix("\" :")) {
        return Some((offset(value), Place::Json));
    }
    let rest = rest.trim_start_matches([' ', '*', '_', '"', '\'']);
    let rest = match rest.strip_prefix('(').and_then(|inside| inside.split_once(')')) {
        Some((inside, rest)) if !inside.contains('\n') => rest.trim_start_matches([' ', '*']),
        _ => rest,
    };
    if let Some(rest) = rest.strip_prefix([':', '=', '→']) {
        return Some((offset(rest), Place::After));
    }
    let line_before = before.rsplit('\n').next().unwrap_or_default();
    let (line, below) = rest.split_once('\n').unwrap_or((rest, ""));
    let words =
        |text: &str| text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).count();
    if words(line) == 0 {
        let is_the = ["is the ", "is my ", "is our "];
        if is_the
            .iter()
            .any(|is| line_before.rfind(is).is_some_and(|at| words(&line_before[at..]) <= 3))
        {
            return Some((0, Place::Before));
        }
        // A heading such as "Final Answer".
        return (words(line_before) <= 3 && !below.trim().is_empty())
            .then(|| (offset(below), Place::After));
    }
    let mut passed = 0;
    for word in line.split_inclusive(' ').take(MAX_WORDS + 1) {
        passed += word.len();
        let bare = word.trim_end_matches([' ', ':', ',', '…']).trim_end_matches("...");
        if COPULAS.contains(&bare) || word.trim_end().ends_with(':') {
            if denies(&line[..passed]) {
                return Some((after.len(), Place::After));
            }
            return Some((offset(&rest[passed..]), Place::After));
        }
        if word.trim_end().ends_with(['.', '!', '?']) || bare.contains(|c: char| c.is_ascii_digit())
        {
            break;
        }
    }
    // "Answer - 12".
    let dashed = ["- ", "– ", "— "].iter().find_map(|dash| rest.trim_start().strip_prefix(dash));
    if let Some(behind) = dashed.filter(|_| words(line_before) <= 2) {
        return Some((offset(behind), Place::After));
    }
    // "The answer is\n12".
    let last = line.trim_end_matches([' ', ':']);
    let asked = COPULAS.iter().any(|c| last == *c || last.ends_with(&format!(" {c}")));
    (asked && words(line) <= MAX_WORDS).then(|| (offset(below), Place::After))
}

/// The readings of `text`, which begins with an answer: its first formula with the words after it, the
/// formula alone if these words say nothing about the amount, or the first sentence. If the answer was
/// `told` in words, a ! at its end is no factorial.
fn readings(text: &str, told: bool) -> Vec<String> {
    let Some(formulas) = formulas(text) else {
        let sentence = without_opening(explained(sentence(text)));
        let short = if told { without_subject(sentence) } else { sentence };
        let [short, sentence] = [short, sentence].map(|text| once(trimmed(text, told)));
        return if short == sentence { short } else { [short, sentence].concat() };
    };
    let end = formulas.end + sentence(&text[formulas.end..]).len();
    let whole = &text[formulas.start
        ..end.min(formulas.start + explained(&text[formulas.start..end]).len()).max(formulas.end)];
    let before = without_opening(&text[..formulas.start]).trim_start();
    let behind = &whole[formulas.len()..];
    let with_words = match says_nothing(before) {
        true => trimmed(whole, false).to_string(),
        false => format!("{before}{}", trimmed(whole, false)),
    };
    let alone = says_nothing(before) && says_nothing(behind);
    once(&with_words).into_iter().chain(alone.then(|| text[formulas].to_string())).collect()
}

/// Whether the words next to a number leave it as it is.
fn says_nothing(words: &str) -> bool {
    words.split(|c: char| !c.is_alphanumeric()).all(|word| {
        let meaning = meaning(&word.to_lowercase());
        matches!(meaning, Meaning::Unknown | Meaning::Filler | Meaning::Per)
            && !word.contains(|c: char| c.is_ascii_digit())
    })
}

fn once(text: &str) -> Vec<String> {
    Some(text.trim().to_string()).filter(|text| !text.is_empty()).into_iter().collect()
}

/// The first line of `text`, up to the end of its first sentence.
fn sentence(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    sentence_ends(line).next().map_or(line, |end| &line[..end])
}

/// The ends of sentences within a line, at the sign before the space.
fn sentence_ends(line: &str) -> impl Iterator<Item = usize> {
    let signs = line.match_indices([' ']).filter_map(|(space, _)| space.checked_sub(1));
    signs.filter(move |&at| {
        let ends = line.is_char_boundary(at) && line[at..].starts_with(['.', '!', '?']);
        let short = |word: &&str| line[..at].ends_with(&format!(" {word}"));
        ends && !ABBREVIATIONS.iter().any(short)
    })
}

/// Whether a "not" stands in `lower`.
fn denies(lower: &str) -> bool {
    let words = ["not", "cannot", "never"];
    denies_verb(lower) || lower.split(' ').any(|word| words.contains(&word.trim_matches(',')))
}

fn denies_verb(lower: &str) -> bool {
    lower.contains("n't") || lower.contains("n’t")
}

/// "Tom has 8 apples" without the subject, if nothing there changes the number.
fn without_subject(sentence: &str) -> &str {
    let Some(digit) = sentence.find(|c: char| c.is_ascii_digit()) else { return sentence };
    let start = sentence[..digit].rfind(' ').map_or(0, |space| space + 1);
    let subject = sentence[..start].trim_end();
    // "Result: 8"
    let subject = subject.strip_suffix(':').unwrap_or(subject);
    let plain = |word: &str| {
        let lower = word.to_lowercase();
        let spoken = word.len() > 1 || matches!(word, "a" | "A" | "I");
        spoken
            && word.chars().all(char::is_alphabetic)
            && words::word(&lower).is_none()
            && number_words(&[&lower]).is_none()
            && says_nothing(&lower)
    };
    if subject.split_whitespace().all(plain) { &sentence[start..] } else { sentence }
}

/// `sentence` up to where an explanation begins: "12, which is even", "12 (a dozen)".
fn explained(sentence: &str) -> &str {
    let lower = sentence.to_ascii_lowercase();
    let says = |end: &usize| sentence[..*end].contains(|c: char| c.is_alphanumeric());
    let words = EXPLANATIONS.iter().chain(&DENIALS).filter_map(|word| lower.find(word));
    let words = words.filter(says).min();
    let aside = lower.find(" (").filter(|&at| {
        let inside = &lower[at + 2..];
        let inside = inside.split_once(')').map_or(inside, |(inside, _)| inside);
        let worded = |text: &str| text.split(|c: char| !c.is_alphabetic()).any(|w| w.len() > 2);
        worded(inside)
            && !inside.contains('\\')
            && says(&at)
            && !inside.starts_with("or ")
            && !inside.starts_with("base ")
            && lower[..at].ends_with(|c: char| c.is_alphanumeric())
    });
    let end = words.into_iter().chain(aside).min();
    end.map_or(sentence, |end| &sentence[..end])
}

/// Without an opening such as "Therefore,".
fn without_opening(sentence: &str) -> &str {
    match sentence.split_once(", ") {
        Some((opening, rest))
            if opening.len() > 1
                && opening.chars().all(|c| c.is_alphabetic() || c == ' ')
                && opening.split(' ').all(|w| w.len() > 1)
                && rest.contains(|c: char| c.is_ascii_digit()) =>
        {
            rest
        }
        _ => sentence,
    }
}

/// Without punctuation and brackets that belong to the sentence and not to the answer.
fn trimmed(sentence: &str, told: bool) -> &str {
    let mut text = sentence;
    if text.len() > MAX_TIDIED {
        return text;
    }
    loop {
        let count = |c: char| text.matches(c).count();
        let open = |close: char, open: char| text.ends_with(close) && count(close) > count(open);
        let stray = open(')', '(')
            || open('}', '{')
            || open(']', '[') && count('(') == 0 && !text.starts_with(']');
        // 0.333...
        if text.ends_with("...") && !text.ends_with("....") {
            return text;
        }
        // "The answer is 12!" exclaims; it is no factorial.
        let told = told && text.ends_with('!') && !text.contains(['(', '\\', '$']);
        let stop = |c: char| c.is_whitespace() || "*.,;:?\"'`".contains(c);
        match text.strip_suffix(|c: char| stop(c) || told && c == '!' || stray && ")}]".contains(c))
        {
            Some(shorter) => text = shorter,
            None => return text,
        }
    }
}

/// Without Markdown marks and the tags of tokenizers.
fn without_markup(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("```")) {
        let mut line = without_pairs(&without_pairs(line, "**"), "__");
        for mark in ["*", "_"] {
            line = without_pairs(&line, mark);
        }
        line.retain(|c| c != '`');
        let mut parts = line.split("<|");
        let mut plain = parts.next().unwrap_or_default().to_string();
        for part in parts {
            match part.split_once("|>") {
                Some((_, after)) => plain += after,
                None => plain.extend(["<|", part]),
            }
        }
        lines.push(plain.replace("</s>", "").replace("<s>", ""));
    }
    lines.join("\n")
}

/// Without pairs of `mark` at word boundaries: `**12**`, `*Answer*:`, but not `2*3*4`.
fn without_pairs(line: &str, mark: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(mark) {
        let (before, inside) = (&rest[..at], &rest[at + mark.len()..]);
        let border = !kept.ends_with('\\')
            && before
                .chars()
                .next_back()
                .or(kept.chars().next_back())
                .is_none_or(|c| !c.is_alphanumeric() && !")}]\\^_*$".contains(c));
        let opens = border && !inside.starts_with([' ', '*', '_', '{']);
        let closes = |end: &usize| {
            let after = inside[end + mark.len()..].chars().next();
            !inside[..*end].ends_with([' ', '^', '\\'])
                && *end > 0
                && after.is_none_or(|c| !c.is_alphanumeric() && !"({[\\".contains(c))
        };
        let near = &inside[..inside.floor_char_boundary(NEAR)];
        let end = opens.then(|| near.match_indices(mark).map(|(i, _)| i).find(closes)).flatten();
        kept += before;
        match end {
            Some(end) => {
                kept += &inside[..end];
                rest = &inside[end + mark.len()..];
            }
            None => {
                kept += mark;
                rest = inside;
            }
        }
    }
    kept + rest
}
