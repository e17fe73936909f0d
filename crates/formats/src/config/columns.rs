//! Which column of a data set is which part of a row: `data.columns`.

/// Where columns can go: the fields of a row, and the parts of a conversation.
const PARTS: [&str; 9] =
    ["prompt", "response", "messages", "text", "answer", "tools", "system", "user", "assistant"];

/// The columns to take, each under the name of the part that it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns(Vec<(String, String)>);

impl Columns {
    /// Reads `PART=COLUMN` settings; `None` if one isn't of this form, or a part is given twice.
    pub fn new(settings: &[String]) -> Option<Self> {
        let mut columns: Vec<(String, String)> = Vec::with_capacity(settings.len());
        for setting in settings {
            let (part, column) = setting.split_once('=')?;
            let (part, column) = (part.trim(), column.trim());
            let known = PARTS.contains(&part) && !column.is_empty();
            if !known || columns.iter().any(|(given, _)| given == part) {
                return None;
            }
            columns.push((part.into(), column.into()));
        }
        Some(Self(columns))
    }

    /// Part and column of each, in the order in which they were given.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}
