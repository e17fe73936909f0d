//! Model and adapter folders as they come.
