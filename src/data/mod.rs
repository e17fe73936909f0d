//! Where problems come from: the built-in task, or the user's own JSONL. Both give
//! [`Example`](crate::records::Example)s, and nothing downstream knows which.

pub mod batch;
pub mod builtin;
pub mod jsonl;
pub mod source;
