// Numbers of half precision, two in a word, as f32: exactly, for every finite one.
// Reference: src/ops/half/reference.rs. Launcher: src/ops/half.rs.

@group(0) @binding(0) var<storage, read_write> words: array<u32>;     // [n], low half first
@group(0) @binding(1) var<storage, read_write> out: array<vec2<f32>>; // [n]
@group(0) @binding(2) var<storage, read_write> info: array<u32>;      // n

const W: u32 = {{ workgroup }}u;
const BFLOAT: bool = {{ bfloat }};

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * W + lane;
    if i >= info[0] {
        return;
    }
    let word = words[i];
    if BFLOAT {
        out[i] = bitcast<vec2<f32>>(vec2<u32>(word << 16u, word & 0xffff0000u));
    } else {
        out[i] = unpack2x16float(word);
    }
}
