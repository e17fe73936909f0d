//! SRFT's loss (Eq. 13) and its relatives: one file a term, and the assembly of an update.

mod assemble;
pub mod loss;

pub use assemble::{Update, assemble, is_right};
