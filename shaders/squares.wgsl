// The sum of a tensor's squares, in parts: a workgroup's part is of the numbers that lie W apart, always in one order.
// Reference: crates/kernels/src/adamw/reference.rs. Launcher: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> x: array<f32>;     // [n]
@group(0) @binding(1) var<storage, read_write> parts: array<f32>; // those of this tensor from `first` on
@group(0) @binding(2) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;
const EACH: u32 = {{ each }}u; // numbers of an invocation

struct Info {
    count: u32, // n
    first: u32,
}

var<workgroup> sums: array<f32, W>;

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group_id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let group = group_id.y * groups.x + group_id.x;
    if group * W * EACH >= info.count {
        return;
    }
    var sum = 0.0;
    for (var turn = 0u; turn < EACH; turn++) {
        let i = (group * EACH + turn) * W + lane;
        if i < info.count {
            sum += x[i] * x[i];
        }
    }
    sums[lane] = sum;
    workgroupBarrier();
    for (var half = W / 2u; half > 0u; half /= 2u) {
        if lane < half {
            sums[lane] += sums[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        parts[info.first + group] = sums[0];
    }
}
