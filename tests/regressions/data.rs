//! Data as it comes: files, lists, stop texts.
