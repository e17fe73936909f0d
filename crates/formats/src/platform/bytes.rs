//! Bytes that may be large: a file's, mapped rather than read, or held in memory.

use std::ops::Deref;
use std::sync::Arc;

/// Read-only bytes, shared by clones.
#[derive(Debug, Clone)]
pub struct Bytes(Arc<Source>);

#[derive(Debug)]
enum Source {
    Held(Vec<u8>),
    #[cfg(not(target_family = "wasm"))]
    Mapped(memmap2::Mmap),
}

impl Bytes {
    /// Maps a file: pages come in when they are looked at, and may be dropped again.
    #[cfg(not(target_family = "wasm"))]
    pub(super) fn map(file: &std::fs::File) -> std::io::Result<Self> {
        #[expect(
            unsafe_code,
            reason = "a map is only as constant as its file; srft replaces files by renaming, which \
                      leaves mapped ones alone, and whoever cuts a model short while it is read \
                      would break any reader"
        )]
        let map = unsafe { memmap2::Mmap::map(file) }?;
        Ok(Self(Arc::new(Source::Mapped(map))))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Source::Held(bytes)))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Source::Held(bytes) => bytes,
            #[cfg(not(target_family = "wasm"))]
            Source::Mapped(map) => map,
        }
    }
}
