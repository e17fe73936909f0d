//! What the reader asks of a file of the user's.

/// What is asked of each example of a file.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// A response must be there.
    pub response: bool,
    /// An answer must be there.
    pub answer: bool,
    /// A response that is there is kept; else nothing of it is read.
    pub keeps_responses: bool,
}

/// Prompts with answers, whatever was answered.
pub const PROBLEMS: Wanted = Wanted { response: false, answer: true, keeps_responses: false };
