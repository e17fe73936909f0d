// Widens ggml's blocks of quantised numbers to f32. A number is scale · q, less the block's least where the
// type has one: all products are exact in f32, so only that difference rounds, fused or not.
// Reference: crates/kernels/src/stored/reference.rs. Launcher: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> words: array<u32>;     // the blocks' bytes, row after row
@group(0) @binding(1) var<storage, read_write> rows: array<i32>;      // those to widen, if LISTED
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>; // [n]
@group(0) @binding(3) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;
const KIND: u32 = {{ kind }}u; // ggml's number of the type
const ELEMENTS: u32 = {{ elements }}u; // of a block
const BYTES: u32 = {{ bytes }}u;
const LISTED: bool = {{ listed }};

struct Info { n: u32, width: u32, first: u32 } // of out; vectors a row, the first row if not LISTED

const Q4_0 = 2u;
const Q4_1 = 3u;
const Q5_0 = 6u;
const Q5_1 = 7u;
const Q8_0 = 8u;
const Q4_K = 12u;
const Q5_K = 13u;
const Q6_K = 14u;

fn byte(at: u32) -> u32 {
    return (words[at >> 2u] >> (8u * (at & 3u))) & 0xffu;
}

fn signed_byte(at: u32) -> f32 {
    return f32(bitcast<i32>(byte(at) << 24u) >> 24u);
}

// A binary16; see widen.wgsl.
fn half(at: u32) -> f32 {
    let bits = byte(at) | (byte(at + 1u) << 8u);
    let magnitude = bits & 0x7fffu;
    let normal = (magnitude << 13u) + (112u << 23u);
    let small = bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8);
    let value = select(normal, small, magnitude < 0x400u);
    return bitcast<f32>(value | ((bits & 0x8000u) << 16u));
}

fn bit(at: u32, which: u32) -> u32 {
    return (byte(at + (which >> 3u)) >> (which & 7u)) & 1u;
}

// Scale and least of the 32 numbers `part` of a block of Q4_K or Q5_K, 6 bits each, packed in 12 bytes.
fn packed_scale(at: u32, part: u32) -> vec2<f32> {
    if part < 4u {
        return vec2<f32>(f32(byte(at + part) & 63u), f32(byte(at + part + 4u) & 63u));
    }
    let low = byte(at + part + 4u);
    let scale = (low & 15u) | ((byte(at + part - 4u) >> 6u) << 4u);
    let least = (low >> 4u) | ((byte(at + part) >> 6u) << 4u);
    return vec2<f32>(f32(scale), f32(least));
}

// Number e of the block at byte `at`.
fn number(at: u32, e: u32) -> f32 {
    let scale = half(at);
    if KIND == Q8_0 {
        return scale * signed_byte(at + 2u + e);
    }
    if KIND == Q6_K {
        let half_block = e >> 7u;
        let quarter = (e >> 5u) & 3u;
        let low = byte(at + 64u * half_block + 32u * (quarter & 1u) + (e & 31u));
        let high = byte(at + 128u + 32u * half_block + (e & 31u));
        let q = ((low >> (4u * (quarter >> 1u))) & 15u) | (((high >> (2u * quarter)) & 3u) << 4u);
        let d = half(at + 208u) * signed_byte(at + 192u + (e >> 4u));
        return d * (f32(q) - 32.0);
    }
    if KIND == Q4_K || KIND == Q5_K {
        let part = e >> 5u;
        let low_bits = select(at + 16u, at + 48u, KIND == Q5_K);
        var q = (byte(low_bits + 32u * (part >> 1u) + (e & 31u)) >> (4u * (part & 1u))) & 15u;
        if KIND == Q5_K {
            q |= ((byte(at + 16u + (e & 31u)) >> part) & 1u) << 4u;
        }
        let of_part = packed_scale(at + 4u, part);
        return scale * of_part.x * f32(q) - half(at + 2u) * of_part.y;
    }
    let has_least = KIND == Q4_1 || KIND == Q5_1;
    let has_fifth = KIND == Q5_0 || KIND == Q5_1;
    let fifth_bits = select(at + 2u, at + 4u, has_least);
    let low_bits = select(fifth_bits, fifth_bits + 4u, has_fifth);
    var q = (byte(low_bits + (e & 15u)) >> (4u * (e >> 4u))) & 15u;
    if has_fifth {
        q |= bit(fifth_bits, e) << 4u;
    }
    if has_least {
        return scale * f32(q) + half(at + 2u);
    }
    return scale * (f32(q) - select(8.0, 16.0, has_fifth));
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
    let vector = row * info.width + i % info.width;
    let at = (vector / (ELEMENTS / 4u)) * BYTES;
    let e = 4u * (vector % (ELEMENTS / 4u));
    out[i] = vec4<f32>(number(at, e), number(at, e + 1u), number(at, e + 2u), number(at, e + 3u));
}
