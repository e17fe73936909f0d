// Puts together what attention_decode.wgsl made of the blocks of each row's past, in their order:
//
//   out = Σ_b e^(top_b − top)·sum_b / Σ_b e^(top_b − top)·mass_b,   top = max of top_b
//
// A workgroup takes the heads that one took there. Reference: crates/kernels/src/attention/reference.rs.
// Launcher: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> blocks: array<Vector>; // [B, Hq, blocks, dh + WIDTH]: sum; top, mass
@group(0) @binding(1) var<storage, read_write> lengths: array<u32>;   // a workgroup's past; 1 more afterwards
@group(0) @binding(2) var<storage, read_write> out: array<Vector>;    // [M, Hq·dh]
@group(0) @binding(3) var<uniform> info: Info;

struct Info {
    first: u32,  // the row of out that is the cache's first
    groups: u32, // of the grid: B·Hkv·PIECES
    blocks: u32,
    window: u32, // how many positions one sees, its own included
}

alias Vector = vec{{ width }}<f32>;
const W = {{ workgroup }}u;
const VECTORS = {{ head_dim }}u / {{ width }}u;
const HEADS = {{ heads }}u;
const GROUPS = {{ key_heads }}u * {{ pieces }}u; // of a row
const BLOCK = {{ block }}u;

var<workgroup> length: u32;

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = group.y * groups.x + group.x;
    if index >= info.groups {
        return; // the grid's last line may overshoot
    }
    if local == 0u {
        length = lengths[index];
    }
    let position = workgroupUniformLoad(&length);
    let unseen = max(position + 1u, info.window) - info.window;
    for (var i = local; i < HEADS * VECTORS; i += W) {
        let head = i / VECTORS;
        let of_head = (index * HEADS + head) * info.blocks;
        var top = -3.0e38;
        for (var b = unseen / BLOCK; b <= position / BLOCK; b++) {
            top = max(top, blocks[(of_head + b) * (VECTORS + 1u) + VECTORS].x);
        }
        var sum = Vector();
        var mass = 0.0;
        for (var b = unseen / BLOCK; b <= position / BLOCK; b++) {
            let at = (of_head + b) * (VECTORS + 1u);
            let share = exp(blocks[at + VECTORS].x - top);
            sum += share * blocks[at + i % VECTORS];
            mass += share * blocks[at + VECTORS].y;
        }
        out[((info.first * GROUPS + index) * HEADS + head) * VECTORS + i % VECTORS] = sum / mass;
    }
    if local == 0u {
        lengths[index] = position + 1u;
    }
}
