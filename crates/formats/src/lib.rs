//! Everything users bring, without tensors: settings, text, data, templates, verifiers, and what a
//! model's folder says about itself. `srft` builds on this crate; the fuzz targets call it alone.
//!
//! ```
//! use srft_formats::config::{Comparison, MathForm};
//! use srft_formats::reward::Verifier;
//!
//! let verifier = Verifier::new(Comparison::Math, None, MathForm::Strict);
//! assert!(verifier.score(r"A half is left: \boxed{\frac{1}{2}}", true, "0.5"));
//! assert!(!verifier.score("Perhaps 0.4", true, "0.5"));
//! ```
//!
//! The modules are listed in the order in which data flows; a module imports only from those before it.

pub mod error;
pub mod records;
pub mod packing;
pub mod platform;
pub mod hub;
pub mod names;
pub mod random;
pub mod config;
pub mod text;
pub mod model;
pub mod reward;
pub mod data;
