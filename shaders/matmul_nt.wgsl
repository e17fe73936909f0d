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
@group(0) @binding(3) var<uniform> info: Info;

const SIDE = {{ side }}u;
const TILE = 4u * SIDE;
const DEPTH = 16u;
// One more than needed, so that invocations that write the same column use different memory banks.
const WIDTH = SIDE + 1u;

struct Info {
    batches: u32,
    rows: u32,    // M
    columns: u32, // N
    depth: u32,   // K
    parts: u32,
    part: u32,    // how many k each part has
    a_batch: u32, // strides of a and of b, in elements
    a_line: u32,
    a_k: u32,
    b_batch: u32,
    b_line: u32,
    b_k: u32,
}

var<workgroup> a_slice: array<vec4<f32>, DEPTH * WIDTH>; // four lines of a at one k
var<workgroup> b_slice: array<vec4<f32>, DEPTH * WIDTH>;

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
    let batches = info.batches;
    let rows = info.rows;
    let columns = info.columns;
    let down = (rows + TILE - 1u) / TILE;
    let across = (columns + TILE - 1u) / TILE;
    let index = group.y * groups.x + group.x;
    let row = index / across % down * TILE;
    let column = index % across * TILE;
    let matrix = index / (across * down); // of parts · batches
    let batch = matrix % batches;
    if (matrix >= batches * info.parts) {
        return; // beyond the last: the grid folds into two dimensions
    }
    let begin = matrix / batches * info.part;
    let end = min(begin + info.part, info.depth);

    let x = local % SIDE;
    let y = local / SIDE;
    var sum_0 = vec4<f32>();
    var sum_1 = vec4<f32>();
    var sum_2 = vec4<f32>();
    var sum_3 = vec4<f32>();
    for (var first = begin; first < end; first += DEPTH) {
        for (var place = local; place < DEPTH * SIDE; place += SIDE * SIDE) {
            let at_a = element_of(place, info.a_k);
            let at_b = element_of(place, info.b_k);
            var of_a = vec4<f32>();
            var of_b = vec4<f32>();
            for (var i = 0u; i < 4u; i++) {
                let m = row + 4u * at_a.line + i;
                let n = column + 4u * at_b.line + i;
                let k_a = first + at_a.k;
                let k_b = first + at_b.k;
                if (m < rows && k_a < end) {
                    of_a[i] = a[batch * info.a_batch + m * info.a_line + k_a * info.a_k];
                }
                if (n < columns && k_b < end) {
                    of_b[i] = b[batch * info.b_batch + n * info.b_line + k_b * info.b_k];
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
