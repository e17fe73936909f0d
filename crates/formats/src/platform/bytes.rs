//! Bytes that may be large: a mapped file, or memory.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Read-only bytes, shared by clones.
#[derive(Clone)]
pub struct Bytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Bytes {
    /// The bytes of `source`, which is kept until the last clone is dropped.
    pub fn of(source: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::of(bytes)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
