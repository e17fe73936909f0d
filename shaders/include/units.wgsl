// Products by matrix units, out = a·bᵀ, of what units_pack.wgsl makes of a and b:
//
//   out[part, m, n] = Σ_k (a.hi·b.hi + (a.hi·b.lo + a.lo·b.hi)/2048) / (s[m]·s[n]), over the k of a part;
//
// where not SPLIT only of hi. Products and sums are in f32. The file that includes this has what multiplies SIZE × SIZE numbers:
// `left` and `right` read them at an index of a and of b, `add` adds their product to a Sum, `keep` puts Sums into workgroup memory.
//
// A subgroup makes a tile of 2 × 2 such matrices, by itself; how many a workgroup has, it asks. Those beyond
// the last tile repeat it and write nothing. No matrices are added or scaled, nor are there arrays of them: not everywhere are there such operations.

@group(0) @binding(0) var<storage, read_write> a: array<f16>; // [1 or 2, M, K], padded to whole tiles
@group(0) @binding(1) var<storage, read_write> b: array<f16>; // [1 or 2, N, K], padded
@group(0) @binding(2) var<storage, read_write> a_scales: array<f32>; // [M], padded
@group(0) @binding(3) var<storage, read_write> b_scales: array<f32>; // [N], padded
@group(0) @binding(4) var<storage, read_write> out: array<f32>; // [parts, M, N]
@group(0) @binding(5) var<uniform> info: Info;

const SPLIT = {{ split }};
const SIZE = {{ size }}u; // 16 or 8
const SIDE = 2u * SIZE; // of a tile
const ELEMENTS = SIZE * SIZE;
const WORKGROUP = {{ workgroup }}u;

struct Info {
    rows: u32,    // M, not padded
    columns: u32, // N, not padded
    depth: u32,   // K, padded
    part: u32,    // k of a part, whole matrices
    parts: u32,
    groups: u32,  // workgroups of a part
}

var<workgroup> sums: array<f32, ELEMENTS * {{ subgroups }}u>; // of each subgroup
var<workgroup> rests: array<f32, ELEMENTS * {{ subgroups }}u>;
var<workgroup> together: u32;

// One of the four matrices of each of the workgroup's tiles, from workgroup memory.
fn write(first: u32, part: u32, local: u32, below: u32, beside: u32) {
    let across = (info.columns + SIDE - 1u) / SIDE;
    workgroupBarrier();
    for (var i = local; i < together * ELEMENTS; i += WORKGROUP) {
        let tile = first + i / ELEMENTS;
        let row = tile / across * SIDE + below + i % ELEMENTS / SIZE;
        let column = tile % across * SIDE + beside + i % SIZE;
        if (row < info.rows && column < info.columns) {
            var sum = sums[i];
            if (SPLIT) {
                sum += rests[i] / 2048.0;
            }
            // The smaller first: the larger alone may be too large.
            let s = a_scales[row];
            let t = b_scales[column];
            out[(part * info.rows + row) * info.columns + column] = sum * min(s, t) * max(s, t);
        }
    }
    workgroupBarrier();
}

fn make(index: u32, local: u32, subgroup: u32, subgroups: u32) {
    if (local == 0u) {
        together = subgroups;
    }
    let tiles_of_group = workgroupUniformLoad(&together);
    let down = (info.rows + SIDE - 1u) / SIDE;
    let across = (info.columns + SIDE - 1u) / SIDE;
    let part = index / info.groups;
    let first = index % info.groups * tiles_of_group;
    if (part >= info.parts || first >= down * across) {
        return;
    }
    let tile = min(first + subgroup, down * across - 1u);
    let begin = part * info.part;
    let end = min(begin + info.part, info.depth);
    let a_first = tile / across * SIDE * info.depth;
    let b_first = tile % across * SIDE * info.depth;
    let a_rest = down * SIDE * info.depth;
    let b_rest = across * SIDE * info.depth;
    let next = SIZE * info.depth;

    var s00 = nothing();
    var s01 = nothing();
    var s10 = nothing();
    var s11 = nothing();
    var r00 = nothing();
    var r01 = nothing();
    var r10 = nothing();
    var r11 = nothing();
    for (var k = begin; k < end; k += SIZE) {
        let top = left(a_first + k);
        let low = left(a_first + next + k);
        let west = right(b_first + k);
        let east = right(b_first + next + k);
        s00 = add(top, west, s00);
        s01 = add(top, east, s01);
        s10 = add(low, west, s10);
        s11 = add(low, east, s11);
        if (SPLIT) {
            let top_rest = left(a_rest + a_first + k);
            let low_rest = left(a_rest + a_first + next + k);
            let west_rest = right(b_rest + b_first + k);
            let east_rest = right(b_rest + b_first + next + k);
            r00 = add(top, west_rest, add(top_rest, west, r00));
            r01 = add(top, east_rest, add(top_rest, east, r01));
            r10 = add(low, west_rest, add(low_rest, west, r10));
            r11 = add(low, east_rest, add(low_rest, east, r11));
        }
    }
    keep(s00, r00, subgroup);
    write(first, part, local, 0u, 0u);
    keep(s01, r01, subgroup);
    write(first, part, local, 0u, SIZE);
    keep(s10, r10, subgroup);
    write(first, part, local, SIZE, 0u);
    keep(s11, r11, subgroup);
    write(first, part, local, SIZE, SIZE);
}
