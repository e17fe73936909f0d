//! What is rewarded is what is trained.
