// AdamW (Loshchilov & Hutter, 2019) of one tensor, in place.
// Reference: crates/kernels/src/adamw/reference.rs. Launcher: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> weights: array<f32>;  // [n]
@group(0) @binding(1) var<storage, read_write> first: array<f32>;    // [n], running mean of the gradient
@group(0) @binding(2) var<storage, read_write> second: array<f32>;   // [n], running mean of its square
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>; // [n]
@group(0) @binding(4) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;

struct Info {
    count: u32, // n
    scale: f32, // of the gradient: what clipping leaves
    keep_first: f32,
    add_first: f32,
    keep_second: f32,
    add_second: f32,
    correct_second: f32, // what the second moment is divided by
    epsilon: f32,
    decay: f32, // what is left of a weight
    rate: f32,  // the learning rate, over what corrects the first moment
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
    let g = gradient[i] * info.scale;
    let m = first[i] * info.keep_first + g * info.add_first;
    let v = second[i] * info.keep_second + g * g * info.add_second;
    first[i] = m;
    second[i] = v;
    weights[i] = weights[i] * info.decay - m / (sqrt(v / info.correct_second) + info.epsilon) * info.rate;
}
