// Sums of rows, each over LANES of a workgroup's W invocations, by halves in workgroup memory. sums_by_subgroups.wgsl is for
// devices that have subgroups: the launcher puts one of the two in `{{ sums }}`. An entry point takes a Lane.

struct Lane {
    @builtin(local_invocation_index) local: u32,
}

var<workgroup> sums: array<f32, W>;

// The sum of what a row's invocations have, always in one order. Before it is called again there must be a barrier.
fn of_row(value: f32, lane: Lane) -> f32 {
    let local = lane.local;
    sums[local] = value;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if local % LANES < half {
            sums[local] += sums[local + half];
        }
        workgroupBarrier();
    }
    return sums[local / LANES * LANES];
}
