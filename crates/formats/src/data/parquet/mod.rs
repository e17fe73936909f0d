//! Parquet: a table's rows as the objects that JSONL would have. The `parquet` crate reads it; what here
//! stands around the crate keeps a stranger's file from taking all memory or ending the program.

mod budget;
mod footer;
mod header;
mod pages;
mod thrift;
mod value;

use bytes::Bytes;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::record::reader::{ReaderIter, TreeBuilder};
use serde_json::{Map, Value};
use std::iter::once;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::fields::{Bad, Record, Records, Result};
use budget::Budget;
use pages::Group;

/// What a row costs at least once it is in memory, in bytes; rows of nothing come to an end too.
const ROW_BYTES: usize = 512;

/// The file's rows, each with its number, counted from 1; what is wrong with the whole file is at row 0.
pub fn records(bytes: Vec<u8>) -> Records<'static> {
    match caught(|| Rows::open(bytes.into())) {
        Ok(rows) => Box::new(rows),
        Err(reason) => Box::new(once(Err(Bad { line: 0, reason }))),
    }
}

/// The file, and how far it is read.
struct Rows {
    file: Arc<Bytes>,
    metadata: ParquetMetaData,
    /// The next row group.
    group: usize,
    /// What is left of the one before it.
    rows: Option<ReaderIter>,
    row: usize,
    /// What its pages may still unpack to.
    pages: Budget,
    /// What its rows may still come to: a few bytes can stand for a million equal rows.
    values: Budget,
    failed: bool,
}

impl Rows {
    fn open(bytes: Bytes) -> Result<Self> {
        footer::check(&bytes)?;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).map_err(shown)?;
        let (pages, values) = (Budget::of(bytes.len()), Budget::of(bytes.len()));
        let file = Arc::new(bytes);
        Ok(Self { file, metadata, group: 0, rows: None, row: 0, pages, values, failed: false })
    }

    /// The next row; `None` at the end.
    fn read(&mut self) -> Result<Option<Map<String, Value>>> {
        let schema = self.metadata.file_metadata().schema_descr_ptr();
        loop {
            if let Some(row) = self.rows.as_mut().and_then(Iterator::next) {
                self.row += 1;
                self.values.take(ROW_BYTES)?;
                let row = row.map_err(shown)?;
                return value::row(&row, schema.root_schema(), &self.values).map(Some);
            }
            let Some(group) = self.metadata.row_groups().get(self.group) else { return Ok(None) };
            let group = Group { of: group, file: self.file.clone(), budget: self.pages.clone() };
            self.rows = Some(TreeBuilder::new().as_iter(schema.clone(), &group).map_err(shown)?);
            self.group += 1;
        }
    }
}

impl Iterator for Rows {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.failed {
            return None;
        }
        let (before, row) = (self.row, caught(|| self.read()));
        self.failed = row.is_err();
        // An error between two rows is the coming row's.
        let line = self.row.max(before + 1);
        match row {
            Ok(fields) => fields.map(|fields| Ok((self.row, fields))),
            Err(reason) => Some(Err(Bad { line, reason })),
        }
    }
}

/// The crate panics at some files that no writer makes.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("damaged: its pages don't hold what its footer says".into()))
}

/// The crate's error in few words; it may quote a whole value.
fn shown(error: parquet::errors::ParquetError) -> String {
    const MOST: usize = 200;
    let text = error.to_string();
    let text = text.strip_prefix("Parquet error: ").unwrap_or(&text);
    let cut = text.char_indices().nth(MOST).map_or(text.len(), |(end, _)| end);
    format!("damaged, or of a kind that can't be read: {}", &text[..cut])
}
