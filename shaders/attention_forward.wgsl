// Attention of many rows over packed sequences, without their scores: a workgroup takes a head of 32 queries, goes through
// the keys that they see 32 at a time, and raises the softmax's maximum as it goes.
//
//   out = Σ_t p_t·v_t,   p = e^(q·k_t − stat) for the keys t that a row sees,   stat = ln Σ_t e^(q·k_t)
//
// q comes with 1/√dh in it. The sums' order depends on a row's position in its sequence alone: not on its neighbours, nor on
// whether its prompt is shared.
//
// Reference: crates/kernels/src/attention/reference.rs. Launcher: tiled.rs beside it.

@group(0) @binding(0) var<storage, read_write> q: array<vec4<f32>>;     // [N, Hq·dh], turned and scaled
@group(0) @binding(1) var<storage, read_write> k: array<vec4<f32>>;     // [N, Hkv·dh], turned
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>;     // [N, Hkv·dh]
@group(0) @binding(3) var<storage, read_write> tables: array<u32>;      // rows' positions, tiles
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;   // [N, Hq·dh]
@group(0) @binding(5) var<storage, read_write> stats: array<vec2<f32>>; // [N, Hq]: ln Σ e^score; the second is backward's
@group(0) @binding(6) var<uniform> info: Info;

//#include include/tiles.wgsl
//#include include/query_tile.wgsl

const LOWEST = -3.0e38;

fn of_line(which: u32, line: u32, vector: u32) -> vec4<f32> {
    return q[(query_row(line) * info.heads + head) * VECTORS + vector];
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
    var sums = array<vec4<f32>, LINES * COLUMNS>();
    var masses = array<f32, LINES>(); // Σ e^(score − top) of this thread's keys
    var tops = array<f32, LINES>();
    for (var i = 0u; i < LINES; i++) {
        tops[i] = LOWEST;
    }
    for (var from_key = first_key(own.position); from_key < own.position + own.rows; from_key += 32u) {
        base = from_key;
        var scores = products(0u, local);
        for (var i = 0u; i < LINES; i++) {
            let line = y + DOWN * i;
            let s = select(vec4<f32>(LOWEST), scores[i], sees(line, base + 4u * x + vec4<u32>(0u, 1u, 2u, 3u)));
            scores[i] = s;
            folded[line * 8u + x] = max(max(s.x, s.y), max(s.z, s.w));
        }
        workgroupBarrier();
        for (var i = 0u; i < LINES; i++) {
            let line = y + DOWN * i;
            var top = tops[i];
            for (var other = 0u; other < 8u; other++) {
                top = max(top, folded[line * 8u + other]);
            }
            let lower = exp(tops[i] - top);
            tops[i] = top;
            // Where a line has seen no key yet, LOWEST is its top too.
            let p = select(vec4<f32>(), exp(scores[i] - top), scores[i] > vec4<f32>(LOWEST));
            masses[i] = masses[i] * lower + (p.x + p.y + p.z + p.w);
            for (var c = 0u; c < COLUMNS; c++) {
                sums[i * COLUMNS + c] *= lower;
            }
            weight[line * STRIDE + x] = p;
        }
        add_weighted(1u, local, &sums);
    }
    for (var i = 0u; i < LINES; i++) {
        folded[(y + DOWN * i) * 8u + x] = masses[i];
    }
    workgroupBarrier();
    for (var i = 0u; i < LINES; i++) {
        let line = y + DOWN * i;
        if line < tile.rows {
            let to = (tile.first + line) * info.heads + head;
            let mass = across(line);
            for (var c = 0u; c < COLUMNS; c++) {
                if x + 8u * c < VECTORS {
                    out[to * VECTORS + x + 8u * c] = sums[i * COLUMNS + c] / mass;
                }
            }
            if x == 0u {
                stats[to] = vec2<f32>(tops[i] + log(mass), 0.0);
            }
        }
    }
}
