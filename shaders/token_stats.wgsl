// Log-probability of the target and entropy of each row of logits, streamed over the vocabulary.
//
// A block holds the columns offset..offset+columns of every row. Per row the record keeps
//   m = max x,  s = Σ e^(x−m),  t = Σ e^(x−m)(x−m),  z = the target's logit,
// and what follows from them so far: ln p = (z − m) − ln s, and H = ln s − t/s, which unlike
// ln s + m − Σ p·x doesn't cancel at large |m|. Shifting the maximum by δ turns t into
// e^(−δ)(t − δ·s): merging two partial sums has to shift t as well.
//
// A row takes {{ lanes }} invocations, so that a small vocabulary doesn't leave most of them idle.

@group(0) @binding(0) var<storage, read_write> logits: array<f32>;  // [N, Vb]
@group(0) @binding(1) var<storage, read_write> targets: array<i32>; // [N], −1 where masked
@group(0) @binding(2) var<storage, read_write> records: array<f32>; // [N, 6]: m, s, t, z, ln p, H
@group(0) @binding(3) var<uniform> info: Info;

const WORKGROUP = {{ workgroup }}u;
const LANES = {{ lanes }}u;
const RECORD = 6u;

struct Info { rows: u32, columns: u32, offset: u32 } // N, Vb, the block's first column
// A finite stand-in for −∞: differences with any logit stay finite, where −∞ − −∞ is NaN.
const LOWEST = -3.0e38;

struct Moments { m: f32, s: f32, t: f32 }

var<workgroup> moments: array<Moments, WORKGROUP>;

fn merge(a: Moments, b: Moments) -> Moments {
    let m = max(a.m, b.m);
    let da = a.m - m;
    let db = b.m - m;
    let ea = exp(da);
    let eb = exp(db);
    return Moments(m, ea * a.s + eb * b.s, ea * (a.t + da * a.s) + eb * (b.t + db * b.s));
}

fn raise(a: Moments, m: f32) -> Moments {
    let d = a.m - m;
    let e = exp(d);
    return Moments(m, e * a.s, e * (a.t + d * a.s));
}

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let count = info.rows;
    let columns = info.columns;
    let offset = info.offset;
    let lane = local % LANES;
    let row = (group.y * groups.x + group.x) * (WORKGROUP / LANES) + local / LANES;
    // Rows beyond the last repeat it and write nothing: an early return would put the barriers
    // below in non-uniform control flow.
    let start = min(row, count - 1u) * columns;

    var own = Moments(LOWEST, 0.0, 0.0);
    var column = lane;
    // Four at a time: one comparison with the running maximum pays for four exponentials.
    for (; column + 3u * LANES < columns; column += 4u * LANES) {
        let i = start + column;
        let x = vec4<f32>(
            logits[i], logits[i + LANES], logits[i + 2u * LANES], logits[i + 3u * LANES],
        );
        let top = max(max(x.x, x.y), max(x.z, x.w));
        if (top > own.m) {
            own = raise(own, top);
        }
        let d = x - own.m;
        let e = exp(d);
        own.s += (e.x + e.y) + (e.z + e.w);
        own.t += dot(e, d);
    }
    for (; column < columns; column += LANES) {
        let x = logits[start + column];
        if (x > own.m) {
            own = raise(own, x);
        }
        let d = x - own.m;
        let e = exp(d);
        own.s += e;
        own.t += e * d;
    }
    moments[local] = own;
    workgroupBarrier();
    for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
        if (lane < stride) {
            moments[local] = merge(moments[local], moments[local + stride]);
        }
        workgroupBarrier();
    }

    if (lane == 0u && row < count) {
        let base = row * RECORD;
        var total = moments[local];
        var z = LOWEST;
        if (offset > 0u) {
            total = merge(Moments(records[base], records[base + 1u], records[base + 2u]), total);
            z = records[base + 3u];
        }
        let label = targets[row];
        let position = label - i32(offset);
        if (label >= 0 && position >= 0 && u32(position) < columns) {
            z = logits[start + u32(position)];
        }
        let ln_s = log(total.s);
        records[base] = total.m;
        records[base + 1u] = total.s;
        records[base + 2u] = total.t;
        records[base + 3u] = z;
        records[base + 4u] = select((z - total.m) - ln_s, 0.0, label < 0);
        records[base + 5u] = ln_s - total.t / total.s;
    }
}
