// A few-row product's elements from what matmul_few.wgsl leaves: the sum of its parts in their order, the bias, and the
// adapter's share. Included by the shaders of a decoding step, whose `info` has rows, width, parts and columns.

@group(0) @binding(0) var<storage, read_write> parts: array<f32>; // [P, M, width]: N columns, then LOW
@group(0) @binding(1) var<storage, read_write> added: array<f32>; // the bias [N] if BIASED, then s·Bᵀ [RANK, N]

const BIASED = {{ biased }};
const RANK = {{ rank }}u;       // of each matrix's adapter
const LOW = {{ matrices }}u * RANK; // x·Aᵀ of each

var<workgroup> low: array<f32, max(LOW, 1u)>;

fn summed(row: u32, column: u32) -> f32 {
    var sum = 0.0;
    for (var part = 0u; part < info.parts; part++) {
        sum += parts[(part * info.rows + row) * info.width + column];
    }
    return sum;
}

// Before `settled` of the same row; then a barrier.
fn read_low(row: u32, lane: u32, lanes: u32) {
    for (var i = lane; i < LOW; i += lanes) {
        low[i] = summed(row, info.columns + i);
    }
}

// Column n of a row, which is of the product's matrix number `of_matrix`.
fn settled(row: u32, n: u32, of_matrix: u32) -> f32 {
    var sum = summed(row, n);
    if BIASED {
        sum += added[n];
    }
    let first = select(0u, info.columns, BIASED) + n;
    for (var i = 0u; i < RANK; i++) {
        sum += added[first + i * info.columns] * low[of_matrix * RANK + i];
    }
    return sum;
}
