//! Reading: each text is encoded once, and in one pass.
