// Products of matrices by their rows, out = a·bᵀ, for each pair of a batch.
//
//   out[m, n] = Σ_k a[m, k]·b[n, k]
//
// A workgroup of {{ side }} × {{ side }} invocations makes a tile of out, 4 × 4 elements an
// invocation, from slices of 16 k that it keeps in workgroup memory. Strides are given, so a
// transposed view needs no copy. The sum over k may be split over workgroups: then out holds the
// parts one after the other, for the caller to add up.

@group(0) @binding(0) var<storage, read_write> a: array<f32>;    // [batch, M, K], any strides
@group(0) @binding(1) var<storage, read_write> b: array<f32>;    // [batch, N, K], any strides
@group(0) @binding(2) var<storage, read_write> out: array<f32>;  // [parts, batch, M, N]
@group(0) @binding(3) var<storage, read_write> info: array<u32>; // below

const SIDE = {{ side }}u;
const TILE = 4u * SIDE;
const DEPTH = 16u;
// One more than needed, so that invocations that write the same column use different memory banks.
const WIDTH = SIDE + 1u;

// info: batch, M, N, K, the parts and how many k each has, then strides (elements) of a and of b.
struct Matrix { batch: u32, line: u32, k: u32 }

var<workgroup> a_slice: array<vec4<f32>, DEPTH * WIDTH>; // four lines of a at one k
var<workgroup> b_slice: array<vec4<f32>, DEPTH * WIDTH>;
var<workgroup> shared_slices: u32;

fn stride_of(first: u32) -> Matrix {
    return Matrix(info[first], info[first + 1u], info[first + 2u]);
}

// An element of a slice; neighbouring invocations read along whichever dimension is dense.
struct Element { line: u32, k: u32 }

fn element_of(place: u32, k_stride: u32) -> Element {
    if (k_stride == 1u) {
        return Element(place / DEPTH, place % DEPTH);
    }
    return Element(place % SIDE, place / SIDE);
}

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let batches = info[0];
    let rows = info[1];
    let columns = info[2];
    let depth = info[3];
    let parts = info[4];
    let a_stride = stride_of(6u);
    let b_stride = stride_of(9u);

    let down = (rows + TILE - 1u) / TILE;
    let across = (columns + TILE - 1u) / TILE;
    let index = group.y * groups.x + group.x;
    let row = index / across % down * TILE;
    let column = index % across * TILE;
    let matrix = index / (across * down); // of parts · batches
    let batch = matrix % batches;
    let begin = matrix / batches * info[5];
    let end = min(begin + info[5], depth);

    // A workgroup beyond the last has no slices. The count goes through workgroupUniformLoad, since
    // control flow that depends on `info` directly counts as non-uniform at the barriers below.
    if (local == 0u) {
        shared_slices = select(0u, (end - begin + DEPTH - 1u) / DEPTH, matrix < batches * parts);
    }
    let slices = workgroupUniformLoad(&shared_slices);

    let x = local % SIDE;
    let y = local / SIDE;
    var sum_0 = vec4<f32>();
    var sum_1 = vec4<f32>();
    var sum_2 = vec4<f32>();
    var sum_3 = vec4<f32>();
    for (var slice = 0u; slice < slices; slice++) {
        let first = begin + slice * DEPTH;
        for (var place = local; place < DEPTH * SIDE; place += SIDE * SIDE) {
            let at_a = element_of(place, a_stride.k);
            let at_b = element_of(place, b_stride.k);
            var of_a = vec4<f32>();
            var of_b = vec4<f32>();
            for (var i = 0u; i < 4u; i++) {
                let m = row + 4u * at_a.line + i;
                let n = column + 4u * at_b.line + i;
                let k_a = first + at_a.k;
                let k_b = first + at_b.k;
                if (m < rows && k_a < end) {
                    of_a[i] = a[batch * a_stride.batch + m * a_stride.line + k_a * a_stride.k];
                }
                if (n < columns && k_b < end) {
                    of_b[i] = b[batch * b_stride.batch + n * b_stride.line + k_b * b_stride.k];
                }
            }
            a_slice[at_a.k * WIDTH + at_a.line] = of_a;
            b_slice[at_b.k * WIDTH + at_b.line] = of_b;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let left = a_slice[k * WIDTH + y];
            let right = b_slice[k * WIDTH + x];
            sum_0 += left.x * right;
            sum_1 += left.y * right;
            sum_2 += left.z * right;
            sum_3 += left.w * right;
        }
        workgroupBarrier();
    }
    if (matrix >= batches * parts) {
        return;
    }
    let sums = array<vec4<f32>, 4>(sum_0, sum_1, sum_2, sum_3);
    for (var i = 0u; i < 4u; i++) {
        let m = row + 4u * y + i;
        for (var j = 0u; j < 4u; j++) {
            let n = column + 4u * x + j;
            if (m < rows && n < columns) {
                out[(matrix * rows + m) * columns + n] = sums[i][j];
            }
        }
    }
}
