// Attention's products of a tile of 32 lines with another tile of 32. A workgroup has 8 threads across, each with four of the
// other tile's lines or with every eighth vector of a head, and W / 8 down, each with every (W/8)-th line.
// Included by shaders that have these two, the first and the second time of a pair of products `which`:
//
//   of_line(which, line, vector)    of the tile whose results are summed
//   of_other(which, line, vector)   of the tile that is gone through

struct Info {
    heads: u32,
    key_heads: u32,
    window: u32, // how many positions one sees, its own included
    tiles: u32,  // where their table begins
    first: u32,  // this launch's first workgroup
    count: u32,  // and how many it has
}

const W = {{ workgroup }}u;
const VECTORS = {{ head_dim }}u / 4u;  // of a head
const DOWN = W / 8u;
const LINES = 32u / DOWN;              // of a thread
const COLUMNS = (VECTORS + 7u) / 8u;   // vectors of a line, of a thread
const STRIDE = 9u;                     // 8 vectors, and one so that lines lie in different banks
const OTHERS = 32u * STRIDE;           // where the other tile's slab is
const PIECE = select(select(8u, 16u, VECTORS <= 32u), 32u, VECTORS <= 16u); // lines whose whole heads fit

var<workgroup> slab: array<vec4<f32>, OTHERS + 256u>;
var<workgroup> weight: array<vec4<f32>, 32u * STRIDE>; // [line][of the other tile, four a vector]
var<workgroup> folded: array<f32, 256>;

// The sum over the 8 threads across of a line's numbers, which are in `folded`.
fn across(line: u32) -> f32 {
    var sum = 0.0;
    for (var x = 0u; x < 8u; x++) {
        sum += folded[line * 8u + x];
    }
    return sum;
}

// The products of the tiles' lines, line · other: four others of each of the thread's lines.
fn products(which: u32, local: u32) -> array<vec4<f32>, LINES> {
    let x = local % 8u;
    let y = local / 8u;
    var sums = array<vec4<f32>, LINES>();
    for (var first = 0u; first < VECTORS; first += 8u) {
        for (var i = local; i < 256u; i += W) {
            slab[i / 8u * STRIDE + i % 8u] = line_or_zero(which, i / 8u, first + i % 8u);
        }
        for (var i = local; i < 64u; i += W) {
            // Four lines, turned: four vectors that each hold the lines at one place of the heads.
            let four = i / 8u;
            let at = i % 8u;
            let p = other_or_zero(which, 4u * four, first + at);
            let q = other_or_zero(which, 4u * four + 1u, first + at);
            let r = other_or_zero(which, 4u * four + 2u, first + at);
            let s = other_or_zero(which, 4u * four + 3u, first + at);
            // In another order for each vector, so that threads side by side write to different banks.
            let to = OTHERS + 32u * at + (four ^ at);
            slab[to] = vec4<f32>(p.x, q.x, r.x, s.x);
            slab[to + 8u] = vec4<f32>(p.y, q.y, r.y, s.y);
            slab[to + 16u] = vec4<f32>(p.z, q.z, r.z, s.z);
            slab[to + 24u] = vec4<f32>(p.w, q.w, r.w, s.w);
        }
        workgroupBarrier();
        for (var at = 0u; at < 8u; at++) {
            let from_other = OTHERS + 32u * at + (x ^ at);
            let a = slab[from_other];
            let b = slab[from_other + 8u];
            let c = slab[from_other + 16u];
            let d = slab[from_other + 24u];
            for (var i = 0u; i < LINES; i++) {
                let line = slab[(y + DOWN * i) * STRIDE + at];
                sums[i] = fma(vec4<f32>(line.x), a, sums[i]);
                sums[i] = fma(vec4<f32>(line.y), b, sums[i]);
                sums[i] = fma(vec4<f32>(line.z), c, sums[i]);
                sums[i] = fma(vec4<f32>(line.w), d, sums[i]);
            }
        }
        workgroupBarrier();
    }
    return sums;
}

fn line_or_zero(which: u32, line: u32, vector: u32) -> vec4<f32> {
    if VECTORS % 8u == 0u || vector < VECTORS {
        return of_line(which, line, vector);
    }
    return vec4<f32>();
}

fn other_or_zero(which: u32, line: u32, vector: u32) -> vec4<f32> {
    if VECTORS % 8u == 0u || vector < VECTORS {
        return of_other(which, line, vector);
    }
    return vec4<f32>();
}

// Adds to each line's sum the other tile's lines by `weight`, which the threads have just written.
fn add_weighted(which: u32, local: u32, sums: ptr<function, array<vec4<f32>, LINES * COLUMNS>>) {
    let x = local % 8u;
    let y = local / 8u;
    for (var first = 0u; first < 32u; first += PIECE) {
        for (var i = local; i < PIECE * VECTORS; i += W) {
            slab[i] = of_other(which, first + i / VECTORS, i % VECTORS);
        }
        workgroupBarrier();
        for (var four = 0u; four < PIECE / 4u; four++) {
            var weights = array<vec4<f32>, LINES>();
            for (var i = 0u; i < LINES; i++) {
                weights[i] = weight[(y + DOWN * i) * STRIDE + first / 4u + four];
            }
            for (var c = 0u; c < COLUMNS; c++) {
                let at = 4u * four * VECTORS + min(x + 8u * c, VECTORS - 1u);
                let p = slab[at];
                let q = slab[at + VECTORS];
                let r = slab[at + 2u * VECTORS];
                let s = slab[at + 3u * VECTORS];
                for (var i = 0u; i < LINES; i++) {
                    let to = i * COLUMNS + c;
                    (*sums)[to] = fma(vec4<f32>(weights[i].x), p, (*sums)[to]);
                    (*sums)[to] = fma(vec4<f32>(weights[i].y), q, (*sums)[to]);
                    (*sums)[to] = fma(vec4<f32>(weights[i].z), r, (*sums)[to]);
                    (*sums)[to] = fma(vec4<f32>(weights[i].w), s, (*sums)[to]);
                }
            }
        }
        workgroupBarrier();
    }
}
