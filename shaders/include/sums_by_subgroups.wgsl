// What sums.wgsl gives, by the subgroups of a workgroup that takes one row (LANES = W). How many invocations a subgroup has, and
// which of the workgroup's they are, does not matter: each subgroup leaves its sum, and all invocations add these up.

struct Lane {
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) place: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
}

var<workgroup> sums: array<f32, W>;

fn of_row(value: f32, lane: Lane) -> f32 {
    let own = subgroupAdd(value);
    if lane.place == 0u {
        sums[lane.subgroup] = own;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < lane.subgroups; i++) {
        sum += sums[i];
    }
    return sum;
}
