// The gradient of attention_forward.wgsl by its keys and values, after attention_dq.wgsl: a workgroup takes 32 keys of a head, and
// goes through the query heads that share it and the rows that see them, 32 at a time. So nothing is added by two, and the sums
// have one order.
//
//   dv_t = Σ p_t·dO,   dk_t = Σ ds_t·q,   ds_t = p_t·(dO·v_t − dO·O),   p_t = e^(q·k_t − stat)
//
// Reference: crates/kernels/src/attention/reference.rs. Launcher: tiled.rs beside it.

@group(0) @binding(0) var<storage, read_write> q: array<vec4<f32>>;     // [N, Hq·dh], turned and scaled
@group(0) @binding(1) var<storage, read_write> k: array<vec4<f32>>;     // [N, Hkv·dh], turned
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>;     // [N, Hkv·dh]
@group(0) @binding(3) var<storage, read_write> tables: array<u32>;      // rows' positions, tiles
@group(0) @binding(4) var<storage, read_write> d_out: array<vec4<f32>>; // [N, Hq·dh]
@group(0) @binding(5) var<storage, read_write> stats: array<vec2<f32>>; // [N, Hq]: ln Σ e^score, Σ dO·O
@group(0) @binding(6) var<storage, read_write> d_k: array<vec4<f32>>;   // [N, Hkv·dh], turned
@group(0) @binding(7) var<storage, read_write> d_v: array<vec4<f32>>;   // [N, Hkv·dh]
@group(0) @binding(8) var<uniform> info: Info;

//#include include/tiles.wgsl

const WINDOWED = {{ windowed }}; // whether some row doesn't see all that is before it

struct Tile {
    first: u32,      // its first key's row
    rows: u32,
    seen_until: u32, // after the last row that sees any of it
    own_until: u32,  // after the last row of its segment
}

var<workgroup> given: Tile;
var<private> tile: Tile;
var<private> head: u32;
var<private> key_head: u32;
var<private> base: u32; // the first of the 32 queries' rows under way
var<private> end: u32;  // after the last

// The row of a key or a query; beyond the last, the last.
fn key_row(line: u32) -> u32 {
    return tile.first + min(line, tile.rows - 1u);
}

fn query_row(line: u32) -> u32 {
    return min(base + line, end - 1u);
}

fn of_line(which: u32, line: u32, vector: u32) -> vec4<f32> {
    let at = (key_row(line) * info.key_heads + key_head) * VECTORS + vector;
    if which == 0u {
        return k[at];
    }
    return v[at];
}

fn of_other(which: u32, line: u32, vector: u32) -> vec4<f32> {
    let at = (query_row(line) * info.heads + head) * VECTORS + vector;
    if which == 0u {
        return q[at];
    }
    return d_out[at];
}

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let place = group.y * groups.x + group.x;
    if place >= info.count {
        return; // the grid's last line may overshoot
    }
    let at = info.tiles + (info.first + place) / info.key_heads * 4u;
    key_head = (info.first + place) % info.key_heads;
    if local == 0u {
        given = Tile(tables[at], tables[at + 1u], tables[at + 2u], tables[at + 3u]);
    }
    let own = workgroupUniformLoad(&given); // not `tile`: a private variable may differ, for all that Chromium knows
    tile = own;
    // Where the window ends within the segment, no row behind that sees anything of it.
    let reach = own.first + own.rows - 1u + info.window;
    let last = select(own.seen_until, reach, WINDOWED && reach < own.own_until);
    end = last;
    let x = local % 8u;
    let y = local / 8u;
    var by_key = array<vec4<f32>, LINES * COLUMNS>();
    var by_value = array<vec4<f32>, LINES * COLUMNS>();
    let share = info.heads / info.key_heads;
    let first_head = (info.first + place) % info.key_heads * share;
    for (var of_group = 0u; of_group < share; of_group++) {
        head = first_head + of_group;
        for (var from_row = own.first; from_row < last; from_row += 32u) {
            base = from_row;
            let scores = products(0u, local);
            let by_weight = products(1u, local);
            let rows = base + 4u * x + vec4<u32>(0u, 1u, 2u, 3u);
            var log_mass = vec4<f32>();
            var mean = vec4<f32>();
            var positions = vec4<u32>();
            for (var j = 0u; j < 4u; j++) {
                let row = query_row(4u * x + j);
                let stat = stats[row * info.heads + head];
                log_mass[j] = stat.x;
                mean[j] = stat.y;
                if WINDOWED {
                    positions[j] = tables[row];
                }
            }
            var by_score = array<vec4<f32>, LINES>();
            for (var i = 0u; i < LINES; i++) {
                let line = y + DOWN * i;
                let row = key_row(line);
                var seen = (rows >= vec4<u32>(row)) & (rows < vec4<u32>(end));
                if WINDOWED {
                    seen = seen & (positions < vec4<u32>(tables[row] + info.window));
                }
                let p = select(vec4<f32>(), exp(scores[i] - log_mass), seen);
                by_score[i] = p * (by_weight[i] - mean);
                weight[line * STRIDE + x] = p;
            }
            add_weighted(1u, local, &by_value);
            for (var i = 0u; i < LINES; i++) {
                weight[(y + DOWN * i) * STRIDE + x] = by_score[i];
            }
            add_weighted(0u, local, &by_key);
        }
    }
    for (var i = 0u; i < LINES; i++) {
        let line = y + DOWN * i;
        for (var c = 0u; c < COLUMNS; c++) {
            if line < tile.rows && x + 8u * c < VECTORS {
                let to = ((tile.first + line) * info.key_heads + key_head) * VECTORS + x + 8u * c;
                d_k[to] = by_key[i * COLUMNS + c];
                d_v[to] = by_value[i * COLUMNS + c];
            }
        }
    }
}
