//! Words that mislead.
