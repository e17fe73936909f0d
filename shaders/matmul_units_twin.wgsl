// matmul_units.wgsl without matrix units, for adapters that have none: the same tiles, numbers and sums by loops, in
// which each of 32 invocations has so many elements of a Sum. Slow: it is there to be compared with.
//
// Reference: crates/kernels/src/matmul/reference.rs. Launcher: units_gpu.rs beside it.
enable f16;

//#include include/units.wgsl

const EACH = ELEMENTS / 32u;

alias Sum = array<f32, EACH>;

var<private> lane: u32;

fn nothing() -> Sum {
    return Sum();
}

// Where the matrix begins.
fn left(at: u32) -> u32 {
    return at;
}

fn right(at: u32) -> u32 {
    return at;
}

fn two(l: u32, r: u32) -> f32 {
    return f32(a[l]) * f32(b[r]) + f32(a[l + 1u]) * f32(b[r + 1u]);
}

// Written out: lavapipe counts the turns of all loops.
fn eight(l: u32, r: u32) -> f32 {
    return two(l, r) + two(l + 2u, r + 2u) + two(l + 4u, r + 4u) + two(l + 6u, r + 6u);
}

fn add(l: u32, r: u32, before: Sum) -> Sum {
    var sum = before;
    for (var i = 0u; i < EACH; i++) {
        let element = EACH * lane + i;
        let of_a = l + element / SIZE * info.depth;
        let of_b = r + element % SIZE * info.depth;
        sum[i] += eight(of_a, of_b);
        if (SIZE == 16u) {
            sum[i] += eight(of_a + 8u, of_b + 8u);
        }
    }
    return sum;
}

fn keep(sum: Sum, rest: Sum, subgroup: u32) {
    let at = subgroup * ELEMENTS + EACH * lane;
    for (var i = 0u; i < EACH; i++) {
        sums[at + i] = sum[i];
        rests[at + i] = rest[i];
    }
}

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    lane = local % 32u;
    make(group.y * groups.x + group.x, local, local / 32u, WORKGROUP / 32u);
}
