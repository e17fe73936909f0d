// A matrix as matrix units take it: in f16, one line after the other, with zeros up to whole tiles.
//
//   hi = f16(s·x), and where SPLIT lo = f16(2048·(s·x − hi)), so that s·x = hi + lo/2048 to 22 bits
//
// s is a power of two for each line, which brings its largest number to 2^14 or above, below 2^15. So no finite number is too
// large for f16, which ends at 65,504, and what is too small for it (hi: below 2^-39 of the line's largest, lo: 2^-50) is
// nothing in a sum with that. A line with an infinity or a NaN keeps its numbers: products show it.
//
// A workgroup takes 16 lines, 16 invocations a line: first for its largest number, then to write it.
//
// Reference: crates/kernels/src/matmul/reference.rs, of the product. Launcher: units_gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> halves: array<u32>; // [1 or 2, lines, depth / 2], both padded
@group(0) @binding(2) var<storage, read_write> scales: array<f32>; // 1/s [lines], padded
@group(0) @binding(3) var<uniform> info: Info;

const BY_K = {{ by_k }}; // x lies as [depth, lines]
const SPLIT = {{ split }};

struct Info {
    lines: u32,
    depth: u32,
    padded_lines: u32, // a multiple of 16
    padded_depth: u32, // a multiple of 2
}

var<workgroup> largest: array<u32, 256>;

fn number(line: u32, k: u32) -> f32 {
    if (line < info.lines && k < info.depth) {
        return x[select(line * info.depth + k, k * info.lines + line, BY_K)];
    }
    return 0.0;
}

// To the nearest number of 11 bits: adapters may cut off what f16 lacks, and errors of one sign add up.
fn rounded(x: vec2<f32>) -> vec2<f32> {
    let bits = bitcast<vec2<u32>>(x);
    return bitcast<vec2<f32>>((bits + 0xfffu + ((bits >> vec2<u32>(13u)) & vec2<u32>(1u))) & vec2<u32>(0xffffe000u));
}

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = 16u * (group.y * groups.x + group.x);
    if (first >= info.padded_lines) {
        return; // beyond the last: the grid folds into two dimensions
    }
    let of_line = select(local / 16u, local % 16u, BY_K);
    let lane = select(local % 16u, local / 16u, BY_K);
    let line = first + of_line;
    // Bits of numbers without a sign are in the order of the numbers, with infinities and NaN last.
    var most = 0u;
    for (var k = lane; k < info.depth; k += 16u) {
        most = max(most, bitcast<u32>(number(line, k)) & 0x7fffffffu);
    }
    largest[16u * of_line + lane] = most;
    workgroupBarrier();
    for (var i = 0u; i < 16u; i++) {
        most = max(most, largest[16u * of_line + i]);
    }
    let exponent = most >> 23u;
    let inverse = select(max(exponent, 15u) - 14u, 127u, exponent == 255u) << 23u;
    let scale = bitcast<f32>((254u << 23u) - inverse);
    for (var pair = lane; pair < info.padded_depth / 2u; pair += 16u) {
        let scaled = scale * vec2<f32>(number(line, 2u * pair), number(line, 2u * pair + 1u));
        let hi = pack2x16float(select(rounded(scaled), scaled, exponent == 255u));
        let to = line * (info.padded_depth / 2u) + pair;
        halves[to] = hi;
        if (SPLIT) {
            let rest = 2048.0 * (scaled - unpack2x16float(hi));
            halves[to + info.padded_lines * (info.padded_depth / 2u)] = pack2x16float(rounded(rest));
        }
    }
    if (lane == 0u) {
        scales[line] = bitcast<f32>(inverse);
    }
}
