// The gated activation of a product whose columns are gate and up, out = act(gate)·up: act(g) = g·σ(u(g)) with u(g) = g for
// SiLU, and g·(LINEAR + CUBIC·g²) for GELU's tanh form.
//
// Reference: crates/kernels/src/glu/reference.rs. Launcher: gpu.rs beside it.

//#include include/settled.wgsl

@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [M, F]
@group(0) @binding(3) var<uniform> info: Info;

const W = {{ workgroup }}u;
const LINEAR = {{ linear }};
const CUBIC = {{ cubic }};

struct Info {
    rows: u32,    // M
    width: u32,   // of the parts' rows
    parts: u32,   // P
    columns: u32, // 2·F
}

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.y * groups.x + group.x;
    let gates = info.columns / 2u;
    let pieces = (gates + W - 1u) / W; // of a row
    let row = index / pieces;
    if row >= info.rows {
        return; // the grid's last line may overshoot
    }
    if RANK > 0u {
        read_low(row, lane, W);
        workgroupBarrier();
    }
    let column = index % pieces * W + lane;
    if column < gates {
        let gate = settled(row, column, 0u);
        let up = settled(row, gates + column, 1u);
        let inner = gate * (LINEAR + CUBIC * gate * gate);
        out[row * gates + column] = gate / (1.0 + exp(-inner)) * up;
    }
}
