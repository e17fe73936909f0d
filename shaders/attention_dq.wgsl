// The gradient of attention_forward.wgsl by its queries, in the same tiles, and for attention_dkv.wgsl each row's Σ dO·O.
//
//   dq = Σ_t ds_t·k_t,   ds_t = p_t·(dO·v_t − dO·O),   p_t = e^(q·k_t − stat)
//
// Reference: crates/kernels/src/attention/reference.rs. Launcher: tiled.rs beside it.

@group(0) @binding(0) var<storage, read_write> q: array<vec4<f32>>;     // [N, Hq·dh], turned and scaled
@group(0) @binding(1) var<storage, read_write> k: array<vec4<f32>>;     // [N, Hkv·dh], turned
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>;     // [N, Hkv·dh]
@group(0) @binding(3) var<storage, read_write> tables: array<u32>;      // rows' positions, tiles
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;   // [N, Hq·dh], of the forward pass
@group(0) @binding(5) var<storage, read_write> d_out: array<vec4<f32>>; // [N, Hq·dh]
@group(0) @binding(6) var<storage, read_write> stats: array<vec2<f32>>; // [N, Hq]: ln Σ e^score; becomes with Σ dO·O
@group(0) @binding(7) var<storage, read_write> d_q: array<vec4<f32>>;   // [N, Hq·dh], turned, before 1/√dh
@group(0) @binding(8) var<uniform> info: Info;

//#include include/tiles.wgsl
//#include include/query_tile.wgsl

fn of_line(which: u32, line: u32, vector: u32) -> vec4<f32> {
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
    let own = read_tile((info.first + place) / info.heads, local);
    head = (info.first + place) % info.heads;
    key_head = head / (info.heads / info.key_heads);
    let x = local % 8u;
    let y = local / 8u;
    for (var i = 0u; i < LINES; i++) {
        let line = y + DOWN * i;
        let from_row = (query_row(line) * info.heads + head) * VECTORS;
        var sum = 0.0;
        for (var column = x; column < VECTORS; column += 8u) {
            sum += dot(d_out[from_row + column], out[from_row + column]);
        }
        folded[line * 8u + x] = sum;
    }
    workgroupBarrier();
    var stat = array<vec2<f32>, LINES>();
    for (var i = 0u; i < LINES; i++) {
        let line = y + DOWN * i;
        let at = query_row(line) * info.heads + head;
        stat[i] = vec2<f32>(stats[at].x, across(line));
    }
    storageBarrier(); // all have read what the first across writes
    for (var i = 0u; i < LINES; i++) {
        let line = y + DOWN * i;
        if x == 0u && line < tile.rows {
            stats[(tile.first + line) * info.heads + head] = stat[i];
        }
    }
    var sums = array<vec4<f32>, LINES * COLUMNS>();
    for (var from_key = first_key(own.position); from_key < own.position + own.rows; from_key += 32u) {
        base = from_key;
        let scores = products(0u, local);
        let by_weight = products(1u, local);
        for (var i = 0u; i < LINES; i++) {
            let line = y + DOWN * i;
            let seen = sees(line, base + 4u * x + vec4<u32>(0u, 1u, 2u, 3u));
            let p = exp(scores[i] - stat[i].x);
            weight[line * STRIDE + x] = select(vec4<f32>(), p * (by_weight[i] - stat[i].y), seen);
        }
        add_weighted(0u, local, &sums);
    }
    for (var i = 0u; i < LINES; i++) {
        let line = y + DOWN * i;
        for (var c = 0u; c < COLUMNS; c++) {
            if line < tile.rows && x + 8u * c < VECTORS {
                let to = ((tile.first + line) * info.heads + head) * VECTORS;
                d_q[to + x + 8u * c] = sums[i * COLUMNS + c];
            }
        }
    }
}
