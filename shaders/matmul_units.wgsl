// Products by matrix units (WGSL's cooperative matrices, as wgpu has them): include/units.wgsl says what. naga 30.0.1 computes
// what coopStore gets only if it has a name.
//
// Reference: crates/kernels/src/matmul/reference.rs. Launcher: units_gpu.rs beside it.
enable f16;
enable wgpu_cooperative_matrix;

//#include include/units.wgsl

alias Left = coop_mat{{ size }}x{{ size }}<f16, A>;
alias Right = coop_mat{{ size }}x{{ size }}<f16, B>;
alias Sum = coop_mat{{ size }}x{{ size }}<f32, C>;

fn nothing() -> Sum {
    return Sum();
}

// Row by row.
fn left(at: u32) -> Left {
    return coopLoadT<Left>(&a[at], info.depth);
}

// b's lines are bᵀ's columns.
fn right(at: u32) -> Right {
    return coopLoad<Right>(&b[at], info.depth);
}

fn add(l: Left, r: Right, sum: Sum) -> Sum {
    return coopMultiplyAdd(l, r, sum);
}

fn keep(sum: Sum, rest: Sum, subgroup: u32) {
    let at = subgroup * ELEMENTS;
    coopStoreT(sum, &sums[at], SIZE);
    if (SPLIT) {
        coopStoreT(rest, &rests[at], SIZE);
    }
}

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    make(group.y * groups.x + group.x, local, subgroup, subgroups);
}
