// Widens half-precision numbers, two in a word, to f32: exactly, for every finite one.
// Reference: crates/kernels/src/stored/reference.rs. Launcher: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> words: array<u32>;     // row after row, low half first
@group(0) @binding(1) var<storage, read_write> rows: array<i32>;      // those to widen, if LISTED
@group(0) @binding(2) var<storage, read_write> out: array<vec2<f32>>; // [n]
@group(0) @binding(3) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;
const BFLOAT: bool = {{ bfloat }};
const LISTED: bool = {{ listed }};

struct Info { n: u32, width: u32, first: u32 } // of out; words a row, the first row if not LISTED

// Shifted into f32's fields, a subnormal would be flushed to 0, so it is counted in steps of 2^-24.
fn from_f16(bits: u32) -> f32 {
    let magnitude = bits & 0x7fffu;
    let normal = (magnitude << 13u) + (112u << 23u); // bias 127 in place of 15
    let small = bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8);
    let value = select(normal, small, magnitude < 0x400u);
    return bitcast<f32>(value | ((bits & 0x8000u) << 16u));
}

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * W + lane;
    if i >= info.n {
        return;
    }
    var row = info.first + i / info.width;
    if LISTED {
        row = u32(rows[row]);
    }
    let word = words[row * info.width + i % info.width];
    if BFLOAT {
        out[i] = bitcast<vec2<f32>>(vec2<u32>(word << 16u, word & 0xffff0000u));
    } else {
        out[i] = vec2<f32>(from_f16(word & 0xffffu), from_f16(word >> 16u));
    }
}
