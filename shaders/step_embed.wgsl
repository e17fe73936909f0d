// The embedding of tokens whose rows are in one block of the table, times a factor; other rows of `out` are left as they are.
// Reference: crates/kernels/src/stored/reference.rs. Launcher: crates/kernels/src/step/gpu.rs.

//#include include/stored.wgsl

@group(0) @binding(0) var<storage, read_write> tokens: array<u32>;     // [M]
@group(0) @binding(1) var<storage, read_write> block: array<vec4<u32>>; // the bytes of the block's rows
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;  // [M, D/4]
@group(0) @binding(3) var<uniform> info: Info;

const W = {{ workgroup }}u;

struct Info {
    all: u32,   // M·D/4
    quads: u32, // D/4
    first: u32, // the first token of the block
    count: u32, // its tokens
    row: u32,   // of its first token in `block`
    factor: f32,
}

fn sixteen(index: u32) -> vec4<u32> {
    return block[index];
}

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * W + lane;
    if i >= info.all {
        return;
    }
    let token = tokens[i / info.quads] - info.first; // wraps for those before the block
    if token < info.count {
        out[i] = info.factor * widened((info.row + token) * info.quads + i % info.quads);
    }
}
