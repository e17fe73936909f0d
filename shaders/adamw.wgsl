// AdamW (Loshchilov & Hutter, 2019) of two tensors, in place: the first's workgroups, then the second's.
// Reference: crates/kernels/src/adamw/reference.rs. Launcher: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> weights_a: array<f32>;  // [count_a]
@group(0) @binding(1) var<storage, read_write> first_a: array<f32>;    // [count_a], running mean of the gradient
@group(0) @binding(2) var<storage, read_write> second_a: array<f32>;   // [count_a], running mean of its square
@group(0) @binding(3) var<storage, read_write> gradient_a: array<f32>; // [count_a]
@group(0) @binding(4) var<storage, read_write> weights_b: array<f32>;  // [count_b], and so on
@group(0) @binding(5) var<storage, read_write> first_b: array<f32>;
@group(0) @binding(6) var<storage, read_write> second_b: array<f32>;
@group(0) @binding(7) var<storage, read_write> gradient_b: array<f32>;
@group(0) @binding(8) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;

struct Info {
    count_a: u32,
    count_b: u32,
    groups_a: u32, // workgroups of the first tensor
    decay_a: f32,  // what is left of a weight
    decay_b: f32,
    scale: f32, // of the gradient: what clipping leaves
    keep_first: f32,
    add_first: f32,
    keep_second: f32,
    add_second: f32,
    correct_second: f32, // what the second moment is divided by
    epsilon: f32,
    rate: f32, // the learning rate, over what corrects the first moment
}

// Both moments after a number of the gradient, and what the weight loses.
fn step(first: f32, second: f32, gradient: f32) -> vec3<f32> {
    let g = gradient * info.scale;
    let m = first * info.keep_first + g * info.add_first;
    let v = second * info.keep_second + g * g * info.add_second;
    return vec3<f32>(m, v, m / (sqrt(v / info.correct_second) + info.epsilon) * info.rate);
}

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group_id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let group = group_id.y * groups.x + group_id.x;
    if group < info.groups_a {
        let i = group * W + lane;
        if i < info.count_a {
            let after = step(first_a[i], second_a[i], gradient_a[i]);
            first_a[i] = after.x;
            second_a[i] = after.y;
            weights_a[i] = weights_a[i] * info.decay_a - after.z;
        }
        return;
    }
    let i = (group - info.groups_a) * W + lane;
    if i < info.count_b {
        let after = step(first_b[i], second_b[i], gradient_b[i]);
        first_b[i] = after.x;
        second_b[i] = after.y;
        weights_b[i] = weights_b[i] * info.decay_b - after.z;
    }
}
