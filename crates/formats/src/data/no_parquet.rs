//! A page reads no Parquet: its readers would be a tenth of its download.

use super::fields::{Bad, Records};
use std::iter::once;

/// Why there are no rows.
pub fn records(_: Vec<u8>) -> Records<'static> {
    let reason = "Parquet can't be read in a browser; write it as JSONL first".into();
    Box::new(once(Err(Bad { line: 0, reason })))
}
