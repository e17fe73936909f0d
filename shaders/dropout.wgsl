// Dropout: out = x · mask, whose factors are 0 or `kept` by counted random numbers, eight of 16 bits an invocation.
// Reference: crates/kernels/src/dropout/reference.rs. Launcher: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> x: array<f32>;    // [n]
@group(0) @binding(1) var<storage, read_write> when: array<u32>; // [2], step and micro-batch
@group(0) @binding(2) var<storage, read_write> out: array<f32>;  // [n]
@group(0) @binding(3) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;

struct Info {
    count: u32, // n
    seed_low: u32,
    seed_high: u32,
    purpose: u32,
    place: u32,
    threshold: u32, // of 65,536: what is below is dropped
    kept: f32,
}

//#include include/threefry.wgsl

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = (group.y * groups.x + group.x) * W + lane;
    if 8u * block >= info.count {
        return;
    }
    let key = vec4<u32>(info.seed_low, info.seed_high, when[0], info.purpose);
    var words = threefry4x32(key, vec4<u32>(block, 0u, when[1], info.place));
    for (var i = 0u; i < min(8u, info.count - 8u * block); i++) {
        let number = (words[i / 2u] >> (16u * (i % 2u))) & 0xFFFFu;
        let at = 8u * block + i;
        out[at] = x[at] * select(info.kept, 0.0, number < info.threshold);
    }
}
