//! The parts of `srft` that read strangers' files, without the rest of the crate: burn alone would
//! build longer than all of this. The modules stand where they stand in the crate, so that their
//! own imports hold.

#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/platform/mod.rs"]
pub mod platform;
#[path = "../../src/random.rs"]
pub mod random;
#[path = "../../src/ops"]
pub mod ops {
    //! What a model's config says of its positions.
    pub mod attention {
        //! See [`ops`](super).
        #[allow(dead_code, reason = "the tables that are scaled are burn's")]
        mod scaling;
        pub use scaling::Scaling;
    }
    pub mod sampling {
        //! See [`ops`](super); as in the crate.
        /// The largest vocabulary.
        pub const MAX_VOCABULARY: usize = 400_000;
    }
}
#[path = "../../src/text/mod.rs"]
pub mod text;
#[path = "../../src/model"]
pub mod model {
    //! What is read of a model's folder.
    pub mod config;
    pub mod lora;
    mod targets;
    pub mod tensors;
}
#[path = "../../src/reward"]
pub mod reward {
    //! What reads answers.
    pub mod math;
}
#[path = "../../src/data"]
pub mod data {
    //! What reads the user's data.
    mod csv;
    mod fields;
    pub mod file;
    mod messages;
    pub mod shape;
}

/// Up to `N` files that were joined by the byte 0, which stands in no text that is worth reading;
/// those that are missing are `None`.
pub fn files<const N: usize>(input: &[u8]) -> [Option<&[u8]>; N] {
    let mut files = input.splitn(N, |&byte| byte == 0);
    [(); N].map(|()| files.next())
}
