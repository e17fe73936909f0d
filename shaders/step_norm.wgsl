// Adds a product to the residual stream and normalises what the next product reads, a workgroup a row:
//
//   x += y, or x += RMSNorm(y)·w₀ if AFTER;   out = RMSNorm(x)·w,   RMSNorm(x) = x / √(mean(x²) + ε)
//
// Reference: crates/kernels/src/rms_norm/reference.rs. Launcher: gpu.rs beside it.

//#include include/settled.wgsl

@group(0) @binding(2) var<storage, read_write> weights: array<f32>; // w [D] from NEXT on; w₀ [D] first if AFTER
@group(0) @binding(3) var<storage, read_write> x: array<f32>;       // [M, D]
@group(0) @binding(4) var<storage, read_write> out: array<f32>;     // [M, D]
@group(0) @binding(5) var<uniform> info: Info;

const W = {{ workgroup }}u;
const LANES = W; // of a row
const D = {{ width }}u;
const EACH = (D + W - 1u) / W; // columns of an invocation
const AFTER = {{ after }};
const NEXT = {{ next }}u;

struct Info {
    rows: u32,    // M
    width: u32,   // of the parts' rows
    parts: u32,   // P; 0: nothing is added
    columns: u32, // D, if anything is
    epsilon: f32,
}

{{ sums }}

// 1 / √(mean of squares + ε), from each invocation's sum of squares.
fn inverse_of(sum: f32, invocation: Lane) -> f32 {
    let mean = of_row(sum, invocation) / f32(D);
    workgroupBarrier();
    return 1.0 / sqrt(mean + info.epsilon);
}

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    invocation: Lane,
) {
    let lane = invocation.local;
    let row = group.y * groups.x + group.x;
    if row >= info.rows {
        return; // the grid's last line may overshoot
    }
    if RANK > 0u {
        read_low(row, lane, W);
        workgroupBarrier();
    }
    var kept: array<f32, EACH>;
    if AFTER {
        var sum = 0.0;
        for (var i = 0u; i < EACH; i++) {
            let column = lane + i * W;
            if column < D {
                kept[i] = settled(row, column, 0u);
                sum += kept[i] * kept[i];
            }
        }
        let inverse = inverse_of(sum, invocation);
        for (var i = 0u; i < EACH; i++) {
            let column = lane + i * W;
            if column < D {
                kept[i] = kept[i] * inverse * weights[column];
            }
        }
    } else if info.parts > 0u {
        for (var i = 0u; i < EACH; i++) {
            let column = lane + i * W;
            if column < D {
                kept[i] = settled(row, column, 0u);
            }
        }
    }
    var sum = 0.0;
    for (var i = 0u; i < EACH; i++) {
        let column = lane + i * W;
        if column < D {
            kept[i] += x[row * D + column];
            x[row * D + column] = kept[i];
            sum += kept[i] * kept[i];
        }
    }
    let inverse = inverse_of(sum, invocation);
    for (var i = 0u; i < EACH; i++) {
        let column = lane + i * W;
        if column < D {
            out[row * D + column] = kept[i] * inverse * weights[NEXT + column];
        }
    }
}
