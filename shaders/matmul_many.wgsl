// Products of many rows, out = a·bᵀ, with each matrix whichever way round it lies.
//
//   out[part, m, n] = Σ_k a[m, k]·b[n, k], over the k of a part
//
// a [M, K] and b [N, K] lie row after row or, where *_BY_K, as [K, M] and [K, N]: so neither a linear layer's x·Wᵀ nor
// its gradients dY·W and dYᵀ·x need a transposed copy. Numbers are read four at a time along the dense dimension, so that is
// a multiple of 4, and so is N.
//
// A workgroup makes TILE × TILE elements of one part, 8 × 8 an invocation (4 × 4 of the small tile), from slabs of
// DEPTH k in workgroup memory. The next slab is fetched before this one is used, so that memory and arithmetic overlap.
// An element is summed in the order of k.
//
// Reference: crates/kernels/src/matmul/reference.rs. Launcher: many_gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>; // [parts, M, N/4]
@group(0) @binding(3) var<uniform> info: Info;

const A_BY_K = {{ a_by_k }};
const B_BY_K = {{ b_by_k }};
const TILE = {{ tile }}u; // 128 or 64
const LARGE = TILE == 128u;
const FOURS = TILE / 4u; // of lines
const DEPTH = 2048u / TILE; // two slabs are 16 KiB
const QUADS = DEPTH / 4u;

struct Info {
    rows: u32,    // M
    columns: u32, // N
    depth: u32,   // K
    part: u32,    // k of a part, whole slabs
    parts: u32,
}

var<workgroup> a_slab: array<vec4<f32>, 512>; // [k][four lines], see place
var<workgroup> b_slab: array<vec4<f32>, 512>;

// Where four lines at one k are in a slab. Each four k have their lines in another order, so that invocations that
// write neighbouring k of the same lines use different memory banks.
fn place(k: u32, four: u32) -> u32 {
    return k * FOURS + (four ^ turn(k / 4u));
}

fn turn(quad: u32) -> u32 {
    return quad * (8u / QUADS);
}

fn of_a(line: u32, k: u32, end: u32) -> vec4<f32> {
    if (line < info.rows && k < end) {
        return a[select(line * info.depth + k, k * info.rows + line, A_BY_K) / 4u];
    }
    return vec4<f32>();
}

fn of_b(line: u32, k: u32, end: u32) -> vec4<f32> {
    if (line < info.columns && k < end) {
        return b[select(line * info.depth + k, k * info.columns + line, B_BY_K) / 4u];
    }
    return vec4<f32>();
}

struct Fetched { p: vec4<f32>, q: vec4<f32>, r: vec4<f32>, s: vec4<f32> }

// One of a slab's 128 tasks: four lines at four k, a quarter slab apart where the matrix lies by k, else neighbours.
fn fetch(of_first: bool, corner: u32, task: u32, first: u32, end: u32) -> Fetched {
    let by_k = select(B_BY_K, A_BY_K, of_first);
    let line = corner + 4u * select(task / QUADS, task % FOURS, by_k);
    let k = first + select(4u * (task % QUADS), task / FOURS, by_k);
    let next = select(1u, 0u, by_k);
    let later = select(0u, QUADS, by_k);
    if (of_first) {
        return Fetched(
            of_a(line, k, end), of_a(line + next, k + later, end),
            of_a(line + 2u * next, k + 2u * later, end), of_a(line + 3u * next, k + 3u * later, end),
        );
    }
    return Fetched(
        of_b(line, k, end), of_b(line + next, k + later, end),
        of_b(line + 2u * next, k + 2u * later, end), of_b(line + 3u * next, k + 3u * later, end),
    );
}

fn keep(of_first: bool, to: u32, four: vec4<f32>) {
    if (of_first) {
        a_slab[to] = four;
    } else {
        b_slab[to] = four;
    }
}

fn keep_all(of_first: bool, task: u32, f: Fetched) {
    if (select(B_BY_K, A_BY_K, of_first)) {
        let k = task / FOURS;
        let four = task % FOURS;
        keep(of_first, place(k, four), f.p);
        keep(of_first, place(k + QUADS, four), f.q);
        keep(of_first, place(k + 2u * QUADS, four), f.r);
        keep(of_first, place(k + 3u * QUADS, four), f.s);
    } else {
        let k = 4u * (task % QUADS);
        let four = task / QUADS;
        keep(of_first, place(k, four), vec4<f32>(f.p.x, f.q.x, f.r.x, f.s.x));
        keep(of_first, place(k + 1u, four), vec4<f32>(f.p.y, f.q.y, f.r.y, f.s.y));
        keep(of_first, place(k + 2u, four), vec4<f32>(f.p.z, f.q.z, f.r.z, f.s.z));
        keep(of_first, place(k + 3u, four), vec4<f32>(f.p.w, f.q.w, f.r.w, f.s.w));
    }
}

// The sums of one row: four columns, and in the large tile four more, 64 further right.
fn store(part: u32, row: u32, column: u32, left: vec4<f32>, right: vec4<f32>) {
    if (row >= info.rows) {
        return;
    }
    let to = ((part * info.rows + row) * info.columns + column) / 4u;
    if (column < info.columns) {
        out[to] = left;
    }
    if (LARGE && column + 64u < info.columns) {
        out[to + 16u] = right;
    }
}

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let down = (info.rows + TILE - 1u) / TILE;
    let across = (info.columns + TILE - 1u) / TILE;
    let index = group.y * groups.x + group.x;
    let part = index / (down * across);
    if (part >= info.parts) {
        return; // beyond the last: the grid folds into two dimensions
    }
    let row = index / across % down * TILE;
    let column = index % across * TILE;
    let begin = part * info.part;
    let end = min(begin + info.part, info.depth);

    let of_first = local < 128u; // half of the invocations fetch a, the others b
    let corner = select(column, row, of_first);
    let task = local % 128u;
    let x = local % 16u;
    let y = local / 16u;
    var s00 = vec4<f32>(); // rows from 4y on, columns from 4x on
    var s10 = vec4<f32>();
    var s20 = vec4<f32>();
    var s30 = vec4<f32>();
    var s01 = vec4<f32>(); // columns from 64 + 4x on
    var s11 = vec4<f32>();
    var s21 = vec4<f32>();
    var s31 = vec4<f32>();
    var s40 = vec4<f32>(); // rows from 64 + 4y on
    var s50 = vec4<f32>();
    var s60 = vec4<f32>();
    var s70 = vec4<f32>();
    var s41 = vec4<f32>();
    var s51 = vec4<f32>();
    var s61 = vec4<f32>();
    var s71 = vec4<f32>();
    var fetched = fetch(of_first, corner, task, begin, end);
    for (var first = begin; first < end; first += DEPTH) {
        keep_all(of_first, task, fetched);
        workgroupBarrier();
        fetched = fetch(of_first, corner, task, first + DEPTH, end);
        for (var quad = 0u; quad < QUADS; quad++) {
            let top = y ^ turn(quad);
            let left = x ^ turn(quad);
            for (var i = 0u; i < 4u; i++) {
                let at = (4u * quad + i) * FOURS;
                let l = a_slab[at + top];
                let r = b_slab[at + left];
                s00 = fma(vec4<f32>(l.x), r, s00);
                s10 = fma(vec4<f32>(l.y), r, s10);
                s20 = fma(vec4<f32>(l.z), r, s20);
                s30 = fma(vec4<f32>(l.w), r, s30);
                if (LARGE) {
                    let m = a_slab[at + 16u + top];
                    let t = b_slab[at + 16u + left];
                    s01 = fma(vec4<f32>(l.x), t, s01);
                    s11 = fma(vec4<f32>(l.y), t, s11);
                    s21 = fma(vec4<f32>(l.z), t, s21);
                    s31 = fma(vec4<f32>(l.w), t, s31);
                    s40 = fma(vec4<f32>(m.x), r, s40);
                    s50 = fma(vec4<f32>(m.y), r, s50);
                    s60 = fma(vec4<f32>(m.z), r, s60);
                    s70 = fma(vec4<f32>(m.w), r, s70);
                    s41 = fma(vec4<f32>(m.x), t, s41);
                    s51 = fma(vec4<f32>(m.y), t, s51);
                    s61 = fma(vec4<f32>(m.z), t, s61);
                    s71 = fma(vec4<f32>(m.w), t, s71);
                }
            }
        }
        workgroupBarrier();
    }
    let m = row + 4u * y;
    let n = column + 4u * x;
    store(part, m, n, s00, s01);
    store(part, m + 1u, n, s10, s11);
    store(part, m + 2u, n, s20, s21);
    store(part, m + 3u, n, s30, s31);
    if (LARGE) {
        store(part, m + 64u, n, s40, s41);
        store(part, m + 65u, n, s50, s51);
        store(part, m + 66u, n, s60, s61);
        store(part, m + 67u, n, s70, s71);
    }
}
