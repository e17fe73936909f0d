//! A column's pages, unpacked here: the crate's own codecs unpack whatever a page comes to, and set aside
//! what its header says.

use brotli_decompressor::Decompressor;
use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use lz4_flex::block::DecompressError;
use parquet::basic::Compression;
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::RowGroupReader;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use std::io::Read;
use std::sync::Arc;

use super::super::fields;
use super::budget::Budget;
use super::header;

/// What a value takes at least, in bytes, once it is in memory; in the file a million of them may be three.
const VALUE_BYTES: usize = 8;

/// A row group whose columns give pages that are unpacked.
pub struct Group<'a> {
    pub of: &'a RowGroupMetaData,
    pub file: Arc<Bytes>,
    pub budget: Budget,
}

impl RowGroupReader for Group<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.of
    }

    fn num_columns(&self) -> usize {
        self.of.num_columns()
    }

    fn get_column_page_reader(&self, index: usize) -> Result<Box<dyn PageReader>> {
        let column = self.of.column(index);
        // As if its pages were not packed, so that they come as they lie in the file.
        let packed = column.clone().into_builder().set_compression(Compression::UNCOMPRESSED);
        let rows = self.of.num_rows() as usize;
        let pages = SerializedPageReader::new(self.file.clone(), &packed.build()?, rows, None)?;
        let (start, size) = column.byte_range();
        let [start, end] =
            [start, start.saturating_add(size)].map(|at| self.file.len().min(at as usize));
        let chunk = self.file.slice(start..end);
        let (codec, budget) = (column.compression(), self.budget.clone());
        let column = column.column_path().string();
        Ok(Box::new(Pages { pages, chunk, codec, budget, column }))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, _: Option<Type>) -> Result<RowIter<'_>> {
        Err(ParquetError::NYI("rows are read by TreeBuilder".into()))
    }
}

struct Pages {
    pages: SerializedPageReader<Bytes>,
    /// What `pages` still has to read, as far as the file has it.
    chunk: Bytes,
    codec: Compression,
    budget: Budget,
    column: String,
}

impl Pages {
    /// How much of the chunk the coming page takes, once its header is checked; the crate reads it after this.
    fn checked(&self) -> Result<usize> {
        match self.chunk.is_empty() {
            true => Ok(0),
            false => {
                header::page(&self.chunk).ok_or_else(|| self.error("a page's header is damaged"))
            }
        }
    }

    fn error(&self, reason: impl std::fmt::Display) -> ParquetError {
        ParquetError::General(format!("column `{}`: {reason}", self.column))
    }

    fn unpacked(&self, mut page: Page) -> fields::Result<Page> {
        let values = page.num_values() as usize;
        match &mut page {
            Page::DataPage { buf, .. } => *buf = self.unpack(buf)?,
            Page::DataPageV2 {
                buf,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed: true,
                ..
            } => {
                let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
                let (levels, values) =
                    buf.split_at_checked(levels).ok_or("a page is shorter than its levels")?;
                // Nothing but nulls has no values, packed or not.
                if !values.is_empty() {
                    *buf = [levels, &self.unpack(values)?].concat().into();
                }
            }
            Page::DataPageV2 { .. } => {}
            Page::DictionaryPage { buf, .. } => {
                *buf = self.unpack(buf)?;
                // The crate allocates as many as the file claims to have.
                if values > buf.len() {
                    return Err("its dictionary is shorter than it says".into());
                }
            }
        }
        self.budget.take(values.saturating_mul(VALUE_BYTES))?;
        Ok(page)
    }

    fn unpack(&self, packed: &[u8]) -> fields::Result<Bytes> {
        let unpacked = unpack(self.codec, packed, &self.budget)?;
        self.budget.take(unpacked.len())?;
        Ok(unpacked.into())
    }
}

/// What `packed` comes to, or at most one byte more than the budget has.
fn unpack(codec: Compression, packed: &[u8], budget: &Budget) -> fields::Result<Vec<u8>> {
    let most = budget.left();
    let read = |from: &mut dyn Read| {
        let mut unpacked = Vec::new();
        from.take(most as u64 + 1).read_to_end(&mut unpacked).map_err(|e| damaged(&e))?;
        Ok(unpacked)
    };
    match codec {
        Compression::UNCOMPRESSED => Ok(packed.to_vec()),
        Compression::SNAPPY => {
            let size = snap::raw::decompress_len(packed).map_err(|e| damaged(&e))?;
            budget.allows(size)?;
            snap::raw::Decoder::new().decompress_vec(packed).map_err(|e| damaged(&e))
        }
        Compression::GZIP(_) => read(&mut MultiGzDecoder::new(packed)),
        Compression::BROTLI(_) => read(&mut Decompressor::new(packed, packed.len().clamp(1, 4096))),
        Compression::ZSTD(_) => {
            read(&mut ruzstd::decoding::StreamingDecoder::new(packed).map_err(|e| damaged(&e))?)
        }
        Compression::LZ4_RAW => lz4(packed, most),
        Compression::LZ4 | Compression::LZO => {
            Err(format!("packed by {codec}, which can't be read; write it with snappy or zstd"))
        }
    }
}

fn damaged(error: &dyn std::fmt::Display) -> String {
    format!("a packed page is damaged: {error}")
}

/// An LZ4 block doesn't say what it comes to.
fn lz4(packed: &[u8], most: usize) -> fields::Result<Vec<u8>> {
    let mut size = packed.len().saturating_mul(4);
    loop {
        size = size.min(most.saturating_add(1));
        match lz4_flex::block::decompress(packed, size) {
            Err(DecompressError::OutputTooSmall { .. }) if size <= most => {
                size = size.saturating_mul(4);
            }
            unpacked => return unpacked.map_err(|e| damaged(&e)),
        }
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let size = self.checked()?;
        let page = self.pages.get_next_page()?;
        self.chunk.advance(size);
        page.map(|page| self.unpacked(page).map_err(|e| self.error(e))).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.checked()?;
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        let size = self.checked()?;
        self.pages.skip_next_page()?;
        self.chunk.advance(size);
        Ok(())
    }
}
