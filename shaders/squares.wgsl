// The sums of the squares of seven tensors, in parts: a workgroup's part is of the numbers of one tensor that lie W apart,
// always in one order.
// Reference: crates/kernels/src/adamw/reference.rs. Launcher: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> parts: array<f32>; // those of these tensors from `first` on
@group(0) @binding(1) var<storage, read_write> x1: array<f32>;
@group(0) @binding(2) var<storage, read_write> x2: array<f32>;
@group(0) @binding(3) var<storage, read_write> x3: array<f32>;
@group(0) @binding(4) var<storage, read_write> x4: array<f32>;
@group(0) @binding(5) var<storage, read_write> x5: array<f32>;
@group(0) @binding(6) var<storage, read_write> x6: array<f32>;
@group(0) @binding(7) var<storage, read_write> x7: array<f32>;
@group(0) @binding(8) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;
const LANES: u32 = W; // of a part
const EACH: u32 = {{ each }}u; // numbers of an invocation

struct Info {
    words: array<vec4<u32>, 2>, // `first`, then how many numbers each tensor has
}

{{ sums }}

fn word(i: u32) -> u32 {
    return info.words[i / 4u][i % 4u];
}

fn number(tensor: u32, i: u32) -> f32 {
    switch tensor {
        case 1u: { return x1[i]; }
        case 2u: { return x2[i]; }
        case 3u: { return x3[i]; }
        case 4u: { return x4[i]; }
        case 5u: { return x5[i]; }
        case 6u: { return x6[i]; }
        default: { return x7[i]; }
    }
}

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group_id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    invocation: Lane,
) {
    let lane = invocation.local;
    let part = group_id.y * groups.x + group_id.x;
    var group = part; // among those of its tensor
    var tensor = 1u;
    for (; tensor < 8u; tensor++) {
        let own = (word(tensor) + W * EACH - 1u) / (W * EACH);
        if group < own {
            break;
        }
        group -= own;
    }
    if tensor == 8u {
        return;
    }
    var sum = 0.0;
    for (var turn = 0u; turn < EACH; turn++) {
        let i = (group * EACH + turn) * W + lane;
        if i < word(tensor) {
            let x = number(tensor, i);
            sum += x * x;
        }
    }
    let all = of_row(sum, invocation);
    if lane == 0u {
        parts[word(0u) + part] = all;
    }
}
