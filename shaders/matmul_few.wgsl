// Products of few rows with a matrix as its file stores it, out = x·Wᵀ: W's numbers are widened as they are read.
//
//   out[part, m, n] = Σ_k x[m, k]·W[n, k], over the k of a part
//
// A workgroup makes 4·ROWS rows × 4·COLUMNS columns of one part, 4 × 4 elements an invocation, from slabs of
// 4·QUADS k in workgroup memory. An element is summed in the order of k whatever ROWS is, and the parts depend on
// W's shape alone: a row's bits depend neither on the rows beside it nor on how many there are.
//
// Reference: crates/kernels/src/matmul/reference.rs. Launcher: few_gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;      // [M, K/4]
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // the bytes of W's rows
@group(0) @binding(2) var<storage, read_write> out: array<f32>;          // [parts, M, N]
@group(0) @binding(3) var<uniform> info: Info;

const KIND = {{ kind }}u;   // ggml's number of how W is stored
const BYTES = {{ bytes }}u; // of a block of it
const ROWS = {{ rows }}u;   // in fours: 1, 4 or 16
const COLUMNS = select(select(8u, 16u, ROWS == 4u), 32u, ROWS == 1u);
const QUADS = select(8u, 4u, ROWS == 1u); // as many as fit into 16 KiB
const W = ROWS * COLUMNS;
// One more than needed, so that invocations that write the same k use different memory banks.
const X_WIDTH = ROWS + 1u;
const W_WIDTH = COLUMNS + 1u;

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

struct Info {
    rows: u32,    // M
    columns: u32, // N
    quads: u32,   // K/4
    part: u32,    // quads of a part
    parts: u32,
    first: u32,   // row of W in `weight`
}

// [k % 4][k / 4][four rows]
var<workgroup> x_slab: array<vec4<f32>, 4u * QUADS * X_WIDTH>;
var<workgroup> w_slab: array<vec4<f32>, 4u * QUADS * W_WIDTH>;

fn of_x(row: u32, quad: u32, end: u32) -> vec4<f32> {
    if (row < info.rows && quad < end) {
        return x[row * info.quads + quad];
    }
    return vec4<f32>();
}

fn of_weight(row: u32, quad: u32, end: u32) -> vec4<f32> {
    if (row >= info.columns || quad >= end) {
        return vec4<f32>();
    }
    let at = (info.first + row) * info.quads + quad;
    if (KIND == F32) {
        return bitcast<vec4<f32>>(weight[at]);
    }
    if (KIND == F16 || KIND == BF16) {
        let both = weight[at >> 1u];
        let pairs = select(both.xy, both.zw, (at & 1u) == 1u);
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
    return of_block(at / BLOCK_QUADS * BYTES, 4u * (at % BLOCK_QUADS));
}

// See widen.wgsl.
fn from_f16(bits: u32) -> f32 {
    let magnitude = bits & 0x7fffu;
    let normal = (magnitude << 13u) + (112u << 23u);
    let small = bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8);
    let value = select(normal, small, magnitude < 0x400u);
    return bitcast<f32>(value | ((bits & 0x8000u) << 16u));
}

fn word(index: u32) -> u32 {
    return weight[index >> 2u][index & 3u];
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

// Numbers e to e + 3 of the block at byte `at`; e is a multiple of 4. As widen_blocks.wgsl has them.
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

fn store(to: u32, row: u32, column: u32, sum: vec4<f32>) {
    if (row >= info.rows) {
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        if (column + i < info.columns) {
            out[to + i] = sum[i];
        }
    }
}

@compute @workgroup_size(W, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // Rows first: workgroups that read the same part of W run together.
    let down = (info.rows + 4u * ROWS - 1u) / (4u * ROWS);
    let across = (info.columns + 4u * COLUMNS - 1u) / (4u * COLUMNS);
    let index = group.y * groups.x + group.x;
    let row = index % down * 4u * ROWS;
    let column = index / down % across * 4u * COLUMNS;
    let part = index / (down * across);
    if (part >= info.parts) {
        return; // beyond the last: the grid folds into two dimensions
    }
    let begin = part * info.part;
    let end = min(begin + info.part, info.quads);

    let left = local % COLUMNS;
    let top = local / COLUMNS;
    var sum_0 = vec4<f32>();
    var sum_1 = vec4<f32>();
    var sum_2 = vec4<f32>();
    var sum_3 = vec4<f32>();
    for (var first = begin; first < end; first += QUADS) {
        for (var task = local; task < ROWS * QUADS; task += W) {
            let quad = task % QUADS;
            let line = row + 4u * (task / QUADS);
            let a = of_x(line, first + quad, end);
            let b = of_x(line + 1u, first + quad, end);
            let c = of_x(line + 2u, first + quad, end);
            let d = of_x(line + 3u, first + quad, end);
            let to = quad * X_WIDTH + task / QUADS;
            x_slab[to] = vec4<f32>(a.x, b.x, c.x, d.x);
            x_slab[to + QUADS * X_WIDTH] = vec4<f32>(a.y, b.y, c.y, d.y);
            x_slab[to + 2u * QUADS * X_WIDTH] = vec4<f32>(a.z, b.z, c.z, d.z);
            x_slab[to + 3u * QUADS * X_WIDTH] = vec4<f32>(a.w, b.w, c.w, d.w);
        }
        for (var task = local; task < COLUMNS * QUADS; task += W) {
            let quad = task % QUADS;
            let line = column + 4u * (task / QUADS);
            let a = of_weight(line, first + quad, end);
            let b = of_weight(line + 1u, first + quad, end);
            let c = of_weight(line + 2u, first + quad, end);
            let d = of_weight(line + 3u, first + quad, end);
            let to = quad * W_WIDTH + task / QUADS;
            w_slab[to] = vec4<f32>(a.x, b.x, c.x, d.x);
            w_slab[to + QUADS * W_WIDTH] = vec4<f32>(a.y, b.y, c.y, d.y);
            w_slab[to + 2u * QUADS * W_WIDTH] = vec4<f32>(a.z, b.z, c.z, d.z);
            w_slab[to + 3u * QUADS * W_WIDTH] = vec4<f32>(a.w, b.w, c.w, d.w);
        }
        workgroupBarrier();
        for (var quad = 0u; quad < QUADS; quad++) {
            let of_x = quad * X_WIDTH + top;
            let of_w = quad * W_WIDTH + left;
            for (var i = 0u; i < 4u; i++) {
                let x = x_slab[of_x + i * QUADS * X_WIDTH];
                let w = w_slab[of_w + i * QUADS * W_WIDTH];
                sum_0 = fma(vec4<f32>(x.x), w, sum_0);
                sum_1 = fma(vec4<f32>(x.y), w, sum_1);
                sum_2 = fma(vec4<f32>(x.z), w, sum_2);
                sum_3 = fma(vec4<f32>(x.w), w, sum_3);
            }
        }
        workgroupBarrier();
    }
    let m = row + 4u * top;
    let n = column + 4u * left;
    let to = (part * info.rows + m) * info.columns + n;
    store(to, m, n, sum_0);
    store(to + info.columns, m + 1u, n, sum_1);
    store(to + 2u * info.columns, m + 2u, n, sum_2);
    store(to + 3u * info.columns, m + 3u, n, sum_3);
}
