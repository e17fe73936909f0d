// Products of few rows with matrices as their files store them, out = x·Wᵀ: W's numbers are widened as they are read.
//
//   out[part, m, n] = Σ_k x[m, k]·W[n, k], over the k of a part
//
// W is up to three matrices that are stored alike and one in f32 (the adapters' A), one above the other.
// A workgroup makes 4·ROWS rows × 4·COLUMNS columns of one part and one matrix, 4 × 4 elements an invocation, from
// slabs of 4·QUADS k in workgroup memory. An element is summed in the order of k whatever ROWS is, and the parts depend
// on the matrices' shapes alone: a row's bits depend neither on the rows beside it nor on how many there are.
//
// Reference: crates/kernels/src/matmul/reference.rs. Launcher: few_gpu.rs beside it.

//#include include/stored.wgsl

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;        // [M, K/4]
@group(0) @binding(1) var<storage, read_write> weight_0: array<vec4<u32>>; // the bytes of a matrix's rows
@group(0) @binding(2) var<storage, read_write> weight_1: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> weight_2: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> low: array<vec4<f32>>;      // [R, K/4]
@group(0) @binding(5) var<storage, read_write> out: array<f32>;            // [parts, M, width]
@group(0) @binding(6) var<uniform> info: Info;

const MATRICES = {{ matrices }}u; // stored alike; those beyond are not read
const ROWS = {{ rows }}u;         // in fours: 1, 4 or 16
const COLUMNS = select(select(8u, 16u, ROWS == 4u), 32u, ROWS == 1u);
const QUADS = select(8u, 4u, ROWS == 1u); // as many as fit into 16 KiB
const W = ROWS * COLUMNS;
// One more than needed, so that invocations that write the same k use different memory banks.
const X_WIDTH = ROWS + 1u;
const W_WIDTH = COLUMNS + 1u;
const LOW = 3u; // the number of `low` among the matrices

struct Info {
    columns: vec4<u32>, // of out that each matrix makes: its rows; 0 where there is none
    first: vec4<u32>,   // row of a matrix in its buffer
    rows: u32,          // M
    quads: u32,         // K/4
    part: u32,          // quads of a part
    parts: u32,
    width: u32,         // of out's rows
    begin: u32,         // the first matrix's first column in out
}

// [k % 4][k / 4][four rows]
var<workgroup> x_slab: array<vec4<f32>, 4u * QUADS * X_WIDTH>;
var<workgroup> w_slab: array<vec4<f32>, 4u * QUADS * W_WIDTH>;
var<private> matrix: u32; // of this workgroup

fn sixteen(index: u32) -> vec4<u32> {
    if (MATRICES > 1u) {
        if (matrix == 1u) {
            return weight_1[index];
        }
        if (matrix == 2u) {
            return weight_2[index];
        }
    }
    return weight_0[index];
}

fn of_x(row: u32, quad: u32, end: u32) -> vec4<f32> {
    if (row < info.rows && quad < end) {
        return x[row * info.quads + quad];
    }
    return vec4<f32>();
}

fn of_weight(row: u32, quad: u32, end: u32) -> vec4<f32> {
    if (row >= info.columns[matrix] || quad >= end) {
        return vec4<f32>();
    }
    let at = (info.first[matrix] + row) * info.quads + quad;
    if (matrix == LOW) {
        return low[at];
    }
    return widened(at);
}

fn store(to: u32, row: u32, column: u32, sum: vec4<f32>) {
    if (row >= info.rows) {
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        if (column + i < info.columns[matrix]) {
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
    let tiles = (info.columns + vec4<u32>(4u * COLUMNS - 1u)) / (4u * COLUMNS);
    let across = tiles.x + tiles.y + tiles.z + tiles.w;
    let index = group.y * groups.x + group.x;
    let part = index / (down * across);
    if (part >= info.parts) {
        return; // beyond the last: the grid folds into two dimensions
    }
    var tile = index / down % across;
    var to_matrix = info.begin;
    matrix = 0u;
    while (tile >= tiles[matrix]) {
        tile -= tiles[matrix];
        to_matrix += info.columns[matrix];
        matrix++;
    }
    let row = index % down * 4u * ROWS;
    let column = tile * 4u * COLUMNS;
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
    let to = (part * info.rows + m) * info.width + to_matrix + n;
    store(to, m, n, sum_0);
    store(to + info.width, m + 1u, n, sum_1);
    store(to + 2u * info.width, m + 2u, n, sum_2);
    store(to + 3u * info.width, m + 3u, n, sum_3);
}
