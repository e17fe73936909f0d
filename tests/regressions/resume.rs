//! A run survives: signals, cuts, changed files and settings.
