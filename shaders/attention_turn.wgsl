// Turns the heads of q and k, in place, each to its row's position (RoPE) or, for gradients, back from it, and multiplies q's.
//
// Reference: crates/kernels/src/attention/reference.rs. Launcher: tiled.rs beside it.

@group(0) @binding(0) var<storage, read_write> q: array<vec2<f32>>;     // [N, Hq·dh]
@group(0) @binding(1) var<storage, read_write> k: array<vec2<f32>>;     // [N, Hkv·dh]
@group(0) @binding(2) var<storage, read_write> turns: array<vec2<f32>>; // [2, positions, dh/2]: cos, sin
@group(0) @binding(3) var<storage, read_write> tables: array<u32>;      // rows' positions first
@group(0) @binding(4) var<uniform> info: Info;

struct Info {
    rows: u32,      // N
    heads: u32,
    key_heads: u32,
    positions: u32, // in `turns`
    scale: f32,     // of q
    way: f32,       // 1, or −1 for back
}

const W = {{ workgroup }}u;
const PAIRS = {{ head_dim }}u / 4u; // vectors of half a head

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * W + local;
    let pair = index % PAIRS;
    let both = info.heads + info.key_heads;
    let head = index / PAIRS % both;
    let row = index / PAIRS / both;
    if row >= info.rows {
        return;
    }
    let at = tables[row] * PAIRS + pair;
    let cosine = turns[at];
    let sine = turns[info.positions * PAIRS + at] * info.way;
    // Element i of a head's first half turns with element i of its second, as in Hugging Face's models.
    if head < info.heads {
        let low = (row * info.heads + head) * 2u * PAIRS + pair;
        let a = q[low] * info.scale;
        let b = q[low + PAIRS] * info.scale;
        q[low] = a * cosine - b * sine;
        q[low + PAIRS] = b * cosine + a * sine;
    } else {
        let low = (row * info.key_heads + head - info.heads) * 2u * PAIRS + pair;
        let a = k[low];
        let b = k[low + PAIRS];
        k[low] = a * cosine - b * sine;
        k[low + PAIRS] = b * cosine + a * sine;
    }
}
