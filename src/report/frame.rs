//! The frame of every report: one self-contained HTML file with sections rendered from templates, in
//! which every text is escaped.

use crate::text::chat::json::value;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment};
use serde_json::json;

const FRAME: &str = include_str!("page/frame.html.jinja");
/// The colours of the browser page and what looks alike in both, as of when the program was built.
const COLOURS: &str = include_str!("../../web/page/colours.css");
const COMMON: &str = include_str!("../../web/page/common.css");
const STYLE: &str = include_str!("page/report.css");
const SCRIPT: &str = include_str!("page/report.js");

/// A section of a report on `R`: its anchor and title, its template, and the values for that.
pub struct Section<R> {
    /// Anchor.
    pub id: &'static str,
    /// Heading.
    pub title: &'static str,
    /// Name of the minijinja template.
    pub template: &'static str,
    /// The values that the template shows.
    pub fill: fn(&R) -> serde_json::Value,
}

/// A page of `sections`; `head` holds the values that the frame and every section use.
pub fn page<R>(head: serde_json::Value, report: &R, sections: &[Section<R>]) -> String {
    let environment = templates();
    let body = |section: &Section<R>| {
        let about = json!({"id": section.id, "title": section.title});
        let fill = merged(merged(head.clone(), about), (section.fill)(report));
        let body = environment.render_str(section.template, value(&fill));
        let body = body.expect("the program's own template, filled by it");
        Value::from_pairs([
            ("id", Value::from(section.id)),
            ("title", Value::from(section.title)),
            ("body", Value::from_safe_string(body)),
        ])
    };
    let sections: Vec<Value> = sections.iter().map(body).collect();
    let own = Value::from_pairs([
        ("version", Value::from(env!("CARGO_PKG_VERSION"))),
        ("style", Value::from_safe_string(format!("{COLOURS}{COMMON}{STYLE}"))),
        ("script", Value::from_safe_string(SCRIPT.into())),
        ("sections", Value::from_iter(sections)),
    ]);
    let frame = minijinja::context! { ..own, ..value(&head) };
    environment.render_str(FRAME, frame).expect("the program's own template, filled by it")
}

/// Every `{{ }}` is escaped, whatever the template's name.
fn templates() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("two switches"));
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment
}

fn merged(mut one: serde_json::Value, other: serde_json::Value) -> serde_json::Value {
    if let (Some(one), serde_json::Value::Object(other)) = (one.as_object_mut(), other) {
        one.extend(other);
    }
    one
}

/// The text percent-encoded for a URL.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b',' => {
                encoded.push(byte.into());
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_cannot_end_itself() {
        assert!(!SCRIPT.contains("</script"));
        assert!([COLOURS, COMMON, STYLE].iter().all(|style| !style.contains("</style")));
    }

    #[test]
    fn a_url_carries_any_text() {
        assert_eq!(percent_encoded("a,b\n\"é\""), "a,b%0A%22%C3%A9%22");
    }
}
