// Sums of rows, each by LANES invocations of a workgroup.

const W: u32 = {{ workgroup }}u;
const LANES: u32 = {{ lanes }}u;

var<workgroup> sums: array<f32, W>;

// The sum of what a row's invocations have, always in one order.
fn of_row(value: f32, local: u32) -> f32 {
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
