// How a matrix that stays as its file stores it is read, four numbers at a time: f32, half precision, or GGUF's blocks.
// Included by shaders that have `sixteen(index)`, the bytes 16·index to 16·index + 15 of the matrix's rows.

const KIND = {{ kind }}u;   // ggml's number of how the matrix is stored
const BYTES = {{ bytes }}u; // of a block of it

const F32 = 0u;
const F16 = 1u;
const Q4_0 = 2u;
const Q4_1 = 3u;
const Q5_0 = 6u;
const Q5_1 = 7u;
const Q8_0 = 8u;
const Q4_K = 12u;
const Q5_K = 13u;
const Q6_K = 14u;
const BF16 = 30u;
const BLOCK_QUADS = select(8u, 64u, KIND == Q4_K || KIND == Q5_K || KIND == Q6_K);

// Numbers 4·quad to 4·quad + 3 of all rows.
fn widened(quad: u32) -> vec4<f32> {
    if (KIND == F32) {
        return bitcast<vec4<f32>>(sixteen(quad));
    }
    if (KIND == F16 || KIND == BF16) {
        let both = sixteen(quad >> 1u);
        let pairs = select(both.xy, both.zw, (quad & 1u) == 1u);
        if (KIND == BF16) {
            return bitcast<vec4<f32>>(vec4<u32>(
                pairs.x << 16u, pairs.x & 0xffff0000u, pairs.y << 16u, pairs.y & 0xffff0000u,
            ));
        }
        return vec4<f32>(
            from_f16(pairs.x & 0xffffu), from_f16(pairs.x >> 16u),
            from_f16(pairs.y & 0xffffu), from_f16(pairs.y >> 16u),
        );
    }
    return of_block(quad / BLOCK_QUADS * BYTES, 4u * (quad % BLOCK_QUADS));
}

// A binary16; see widen.wgsl.
fn from_f16(bits: u32) -> f32 {
    let magnitude = bits & 0x7fffu;
    let normal = (magnitude << 13u) + (112u << 23u);
    let small = bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8);
    let value = select(normal, small, magnitude < 0x400u);
    return bitcast<f32>(value | ((bits & 0x8000u) << 16u));
}

fn word(index: u32) -> u32 {
    return sixteen(index >> 2u)[index & 3u];
}

// Four bytes from byte `at` on, which is even, as blocks and their fields are.
fn word_at(at: u32) -> u32 {
    let low = word(at >> 2u);
    if ((at & 2u) == 0u) {
        return low;
    }
    return (low >> 16u) | (word((at >> 2u) + 1u) << 16u);
}

fn half_at(at: u32) -> f32 {
    return from_f16((word(at >> 2u) >> (8u * (at & 2u))) & 0xffffu);
}

fn byte_at(at: u32) -> u32 {
    return (word(at >> 2u) >> (8u * (at & 3u))) & 0xffu;
}

fn bytes_of(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu));
}

// Scale and least of the 32 numbers `part` of a block of Q4_K or Q5_K, 6 bits each, packed in 12 bytes.
fn packed_scale(at: u32, part: u32) -> vec2<f32> {
    if (part < 4u) {
        return vec2<f32>(vec2<u32>(byte_at(at + part) & 63u, byte_at(at + part + 4u) & 63u));
    }
    let low = byte_at(at + part + 4u);
    let scale = (low & 15u) | ((byte_at(at + part - 4u) >> 6u) << 4u);
    let least = (low >> 4u) | ((byte_at(at + part) >> 6u) << 4u);
    return vec2<f32>(vec2<u32>(scale, least));
}

// Numbers e to e + 3 of the block at byte `at`; e is a multiple of 4.
fn of_block(at: u32, e: u32) -> vec4<f32> {
    if (KIND == Q8_0) {
        let word = word_at(at + 2u + e);
        let high = bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u));
        return half_at(at) * vec4<f32>(high >> vec4<u32>(24u));
    }
    if (KIND == Q6_K) {
        let place = e & 31u;
        let quarter = (e >> 5u) & 3u;
        let low = word_at(at + 64u * (e >> 7u) + 32u * (quarter & 1u) + place) >> (4u * (quarter >> 1u));
        let high = word_at(at + 128u + 32u * (e >> 7u) + place) >> (2u * quarter);
        let q = bytes_of((low & 0x0f0f0f0fu) | ((high & 0x03030303u) << 4u));
        let scale = f32(bitcast<i32>(byte_at(at + 192u + (e >> 4u)) << 24u) >> 24u);
        return half_at(at + 208u) * scale * (q - 32.0);
    }
    if (KIND == Q4_K || KIND == Q5_K) {
        let part = e >> 5u;
        let lows = select(at + 16u, at + 48u, KIND == Q5_K) + 32u * (part >> 1u) + (e & 31u);
        var q = (word_at(lows) >> (4u * (part & 1u))) & 0x0f0f0f0fu;
        if (KIND == Q5_K) {
            q |= ((word_at(at + 16u + (e & 31u)) >> part) & 0x01010101u) << 4u;
        }
        let of_part = packed_scale(at + 4u, part);
        return half_at(at) * of_part.x * bytes_of(q) - half_at(at + 2u) * of_part.y;
    }
    let has_least = KIND == Q4_1 || KIND == Q5_1;
    let has_fifth = KIND == Q5_0 || KIND == Q5_1;
    let fifths = at + select(2u, 4u, has_least);
    let lows = fifths + select(0u, 4u, has_fifth) + (e & 15u);
    var q = bytes_of((word_at(lows) >> (4u * (e >> 4u))) & 0x0f0f0f0fu);
    if (has_fifth) {
        let bits = (vec4<u32>(word_at(fifths) >> e) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u);
        q += 16.0 * vec4<f32>(bits);
    }
    if (has_least) {
        return half_at(at) * q + half_at(at + 2u);
    }
    return half_at(at) * (q - select(8.0, 16.0, has_fifth));
}
