//! What the reader requires of a user's file.

/// What each example of a file must have.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Whether it must have a response.
    pub response: bool,
    /// Whether it must have an answer.
    pub answer: bool,
    /// Whether a response is kept; if not, it is not even read.
    pub keeps_responses: bool,
}

/// Prompts with gold answers; responses, if there are any, are ignored.
pub const PROBLEMS: Wanted = Wanted { response: false, answer: true, keeps_responses: false };
