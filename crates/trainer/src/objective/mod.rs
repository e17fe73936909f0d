//! SRFT's loss (Eq. 13) and its relatives: the assembly of an update. Each term is a file of
//! `ops::objective`; which of them a method is made of is `config/methods`.

pub mod advantage;
mod assemble;
pub mod bonus;
pub mod buffer;
mod factors;
pub mod loss;
mod members;
mod part;
pub mod turns;

pub use assemble::{Divisors, Update, assemble, assemble_with, teaches_nothing};
pub use factors::Draw;
pub use members::Member;
pub use srft_kernels::objective::{entropy_weight, formula, reference};
