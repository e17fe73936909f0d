// RMSNorm of rows: out = x · r · w, r = 1 / √(mean(x²) + ε). LANES invocations take a row, a workgroup W / LANES rows.
// Reference: crates/kernels/src/rms_norm/reference.rs. Launcher: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> x: array<f32>;      // [N, D]
@group(0) @binding(1) var<storage, read_write> weights: array<f32>; // [D]
@group(0) @binding(2) var<storage, read_write> out: array<f32>;    // [N, D]
@group(0) @binding(3) var<storage, read_write> scales: array<f32>; // [N], r, for the gradient
@group(0) @binding(4) var<uniform> info: Info;

struct Info {
    rows: u32,
    width: u32,
    epsilon: f32,
}

const W: u32 = {{ workgroup }}u;
const LANES: u32 = {{ lanes }}u;

{{ sums }}

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    invocation: Lane,
) {
    let local = invocation.local;
    let first = (group.y * groups.x + group.x) * (W / LANES);
    if first >= info.rows {
        return;
    }
    let lane = local % LANES;
    let row = min(first + local / LANES, info.rows - 1u);
    let start = row * info.width;
    var sum = 0.0;
    for (var i = lane; i < info.width; i += LANES) {
        sum += x[start + i] * x[start + i];
    }
    let r = inverseSqrt(of_row(sum, invocation) / f32(info.width) + info.epsilon);
    if first + local / LANES >= info.rows {
        return;
    }
    for (var i = lane; i < info.width; i += LANES) {
        out[start + i] = x[start + i] * r * weights[i];
    }
    if lane == 0u {
        scales[row] = r;
    }
}
