//! Where llama.cpp's tensors differ from Hugging Face's: in their names, for Llama in the order of the query's
//! and the key's rows, and for Gemma in what the norms' weights count from.

/// Outside of layers: (Hugging Face's name, GGUF's).
const WHOLE: [(&str, &str); 3] = [
    ("model.embed_tokens.weight", "token_embd.weight"),
    ("model.norm.weight", "output_norm.weight"),
    ("lm_head.weight", "output.weight"),
];

/// In a layer, before `.weight` or `.bias`: (Hugging Face's name, GGUF's).
const IN_LAYER: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The same in a layer of Gemma 3, which has norms after its parts, too.
const IN_GEMMA: [(&str, &str); 3] = [
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

/// llama.cpp's name of Gemma 3.
pub const GEMMA: &str = "gemma3";
const LAYER: &str = "model.layers.";
const BLOCK: &str = "blk.";

/// GGUF's name of a tensor that Hugging Face calls `name`, of an architecture that llama.cpp calls
/// `architecture`.
pub fn to_gguf(architecture: &str, name: &str) -> Option<String> {
    translated(architecture, name, LAYER, BLOCK, |row| row)
}

/// Hugging Face's name of a tensor that GGUF calls `name`.
pub fn from_gguf(architecture: &str, name: &str) -> Option<String> {
    translated(architecture, name, BLOCK, LAYER, |(hub, gguf)| (gguf, hub))
}

type Row = (&'static str, &'static str);

/// `name` after a search among the rows, each turned to (given, wanted).
fn translated(
    architecture: &str,
    name: &str,
    from: &str,
    to: &str,
    turn: fn(Row) -> Row,
) -> Option<String> {
    let find = |rows: &[Row], given: &str| {
        let mut turned = rows.iter().copied().map(turn);
        turned.find(|row| row.0 == given).map(|row| row.1)
    };
    let Some(inner) = name.strip_prefix(from) else {
        return find(&WHOLE, name).map(String::from);
    };
    let (layer, part) = inner.split_once('.')?;
    let (part, kind) = part.rsplit_once('.')?;
    let is_layer = layer.parse::<u32>().is_ok_and(|number| number.to_string() == layer);
    let is_kind = ["weight", "bias"].contains(&kind);
    let of_gemma = if architecture == GEMMA { find(&IN_GEMMA, part) } else { None };
    let part = of_gemma.or_else(|| find(&IN_LAYER, part)).filter(|_| is_layer && is_kind)?;
    Some(format!("{to}{layer}.{part}.{kind}"))
}

/// Whether llama.cpp stores the rows of the tensor that Hugging Face calls `name` in its own order, for an
/// architecture that it calls `architecture` (`LlamaModel.permute` in its `convert_hf_to_gguf.py`).
pub fn is_turned(architecture: &str, name: &str) -> bool {
    architecture == "llama" && [".q_proj.", ".k_proj."].iter().any(|part| name.contains(part))
}

/// What llama.cpp has added to the weights that Hugging Face calls `name`: Gemma's norms are stored as the
/// difference from 1 there, and as they are multiplied with in GGUF.
pub fn norm_offset(architecture: &str, name: &str) -> f32 {
    if architecture == GEMMA && name.ends_with("norm.weight") { 1.0 } else { 0.0 }
}

/// The row at which llama.cpp stores Hugging Face's row `row` of such a tensor, in heads of `width` rows.
/// RoPE turns pairs of rows: Hugging Face has a head's first halves of pairs first, then the second ones;
/// llama.cpp has each pair side by side.
pub fn turned_row(row: usize, width: usize) -> usize {
    let (head, inside) = (row / width * width, row % width);
    let (half, pair) = (inside / (width / 2), inside % (width / 2));
    head + 2 * pair + half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for (hub, gguf) in [
            ("lm_head.weight", "output.weight"),
            ("model.layers.0.self_attn.q_proj.bias", "blk.0.attn_q.bias"),
            ("model.layers.27.mlp.down_proj.weight", "blk.27.ffn_down.weight"),
            ("model.layers.3.self_attn.k_norm.weight", "blk.3.attn_k_norm.weight"),
        ] {
            assert_eq!(to_gguf("qwen3", hub).as_deref(), Some(gguf));
            assert_eq!(from_gguf("qwen3", gguf).as_deref(), Some(hub));
        }
        for (architecture, hub, gguf) in [
            ("llama", "post_attention_layernorm", "ffn_norm"),
            (GEMMA, "post_attention_layernorm", "post_attention_norm"),
            (GEMMA, "pre_feedforward_layernorm", "ffn_norm"),
            (GEMMA, "input_layernorm", "attn_norm"),
        ] {
            let (hub, gguf) = (format!("{LAYER}1.{hub}.weight"), format!("{BLOCK}1.{gguf}.weight"));
            assert_eq!(to_gguf(architecture, &hub), Some(gguf.clone()));
            assert_eq!(from_gguf(architecture, &gguf), Some(hub));
        }
        assert_eq!(from_gguf("llama", "blk.0.post_ffw_norm.weight"), None);

        for other in ["blk.01.attn_q.weight", "blk.0.attn_q", "blk.0.attn_q.scale", "rope_freqs"] {
            assert_eq!(from_gguf("llama", other), None, "{other}");
        }
    }

    /// Of two heads of six rows, as `LlamaModel.permute` orders them.
    #[test]
    fn pairs_of_rows_stand_side_by_side() {
        let rows: Vec<usize> = (0..12).map(|row| turned_row(row, 6)).collect();
        assert_eq!(rows, [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
        assert!(is_turned("llama", "model.layers.0.self_attn.k_proj.weight"));
        assert!(!is_turned("llama", "model.layers.0.self_attn.v_proj.weight"));
        assert!(!is_turned("qwen2", "model.layers.0.self_attn.k_proj.weight"));
    }
}
