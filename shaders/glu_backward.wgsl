// The gradient of the gated activation: with s = σ(u(g)), ∂L/∂g = dy · up · s · (1 + g · u′(g) · (1 − s)),
// ∂L/∂up = dy · g · s.
// Reference: crates/kernels/src/glu/reference.rs. Launcher: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> gate: array<f32>;   // [n], g
@group(0) @binding(1) var<storage, read_write> up: array<f32>;     // [n]
@group(0) @binding(2) var<storage, read_write> dy: array<f32>;     // [n], becomes ∂L/∂up
@group(0) @binding(3) var<storage, read_write> d_gate: array<f32>; // [n]
@group(0) @binding(4) var<uniform> info: Info;

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
    if i >= info.count {
        return;
    }
    let g = gate[i];
    let s = sigmoid_of(g);
    let slope = info.linear + 3.0 * info.cubic * g * g;
    d_gate[i] = dy[i] * up[i] * s * (1.0 + g * slope * (1.0 - s));
    dy[i] *= g * s;
}
