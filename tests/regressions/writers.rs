//! Nothing is deleted that isn't ours.
