// The gated activation: out = g · σ(u(g)) · up.
// Reference: crates/kernels/src/glu/reference.rs. Launcher: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> gate: array<f32>; // [n], g
@group(0) @binding(1) var<storage, read_write> up: array<f32>;   // [n]
@group(0) @binding(2) var<storage, read_write> out: array<f32>;  // [n]
@group(0) @binding(3) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;

struct Info {
    count: u32, // n
    linear: f32,
    cubic: f32,
}

//#include include/sigmoid.wgsl

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * W + lane;
    if i < info.count {
        out[i] = gate[i] * sigmoid_of(gate[i]) * up[i];
    }
}
