// Gradient of token_stats.wgsl's log-probability and entropy, in place: logits become dlogits.
//
//   dx = g_logp·(onehot − p) − g_H·p·(ln p + H),   ln p = (x − m) − ln s
//
// Where the target is masked, ln p is the constant 0 and g_logp is ignored.
// A row takes {{ lanes }} invocations.

@group(0) @binding(0) var<storage, read_write> logits: array<f32>;   // [N, Vb], becomes dlogits
@group(0) @binding(1) var<storage, read_write> targets: array<i32>;  // [N], −1 where masked
@group(0) @binding(2) var<storage, read_write> records: array<f32>;  // [N, 6]: m, s, t, z, ln p, H
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>; // [N, 2]: g_logp, g_H
@group(0) @binding(4) var<uniform> info: Info;

const WORKGROUP = {{ workgroup }}u;
const LANES = {{ lanes }}u;
const RECORD = 6u;

struct Info { rows: u32, columns: u32, offset: u32 } // N, Vb, the block's first column

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = (group.y * groups.x + group.x) * (WORKGROUP / LANES) + local / LANES;
    let columns = info.columns;
    if (row >= info.rows) {
        return;
    }
    let m = records[row * RECORD];
    let ln_s = log(records[row * RECORD + 1u]);
    let entropy = records[row * RECORD + 5u];
    let label = targets[row];
    let g_logp = select(gradient[row * 2u], 0.0, label < 0);
    let g_entropy = gradient[row * 2u + 1u];
    // The target's column in this block; past its end if the target is in another block or masked.
    let position = select(u32(label) - info.offset, columns, label < 0);

    let start = row * columns;
    for (var column = local % LANES; column < columns; column += LANES) {
        let ln_p = (logits[start + column] - m) - ln_s;
        let hit = select(0.0, g_logp, column == position);
        logits[start + column] = hit - exp(ln_p) * (g_logp + g_entropy * (ln_p + entropy));
    }
}
