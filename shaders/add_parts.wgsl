// Adds the parts of a product, always in their order: out[i] = Σ_p parts[p, i].
// Reference: crates/kernels/src/matmul/reference.rs. Launcher: few_gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> parts: array<f32>; // [P, n]
@group(0) @binding(1) var<storage, read_write> out: array<f32>;   // [n]
@group(0) @binding(2) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;

struct Info {
    count: u32, // n
    parts: u32, // P
}

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
    var sum = parts[i];
    for (var part = 1u; part < info.parts; part++) {
        sum += parts[part * info.count + i];
    }
    out[i] = sum;
}
