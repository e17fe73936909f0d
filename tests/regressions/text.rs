//! Text as the model reads it: tokenizers, templates, ends of text.
