//! SRFT's loss (Eq. 13) and its relatives: one file a term, and the assembly of an update. Which terms
//! a method is made of is `config/methods`.

pub mod advantage;
mod assemble;
pub mod buffer;
pub mod entropy_bonus;
pub mod entropy_weight;
pub mod kl;
pub mod loss;
pub mod reference;
pub mod rl_demo;
pub mod self_term;
pub mod sft;
pub mod term;

pub use assemble::{Divisors, Update, assemble};
