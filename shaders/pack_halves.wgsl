// Numbers in half precision, two a word; what is beyond its numbers becomes its largest.
// Reference: crates/kernels/src/attention/reference.rs. Launcher: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> x: array<vec2<f32>>; // [n]
@group(0) @binding(1) var<storage, read_write> out: array<u32>;     // [n]
@group(0) @binding(2) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;
const MOST = vec2<f32>(65504.0);

struct Info { n: u32 }

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * W + lane;
    if i < info.n {
        out[i] = pack2x16float(clamp(x[i], -MOST, MOST));
    }
}
