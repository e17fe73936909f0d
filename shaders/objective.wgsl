// Per-token loss of every term and its derivatives, one workgroup a sequence.
// Reference: src/objective/reference.rs. Launcher and words of `info`: src/ops/objective.rs.

@group(0) @binding(0) var<storage, read_write> stats: array<f32>;         // [n, 2]: ln p, H (nats)
@group(0) @binding(1) var<storage, read_write> old_logprobs: array<f32>;  // [n]
@group(0) @binding(2) var<storage, read_write> coefficients: array<f32>;  // [n, 2]: dL/dln p, dL/dH
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;          // [S, 8]
@group(0) @binding(4) var<storage, read_write> info: array<u32>;          // header, then rows

const W: u32 = {{ workgroup }}u;
const HEADER_WORDS: u32 = 12u;
const ROW_WORDS: u32 = 10u;
const OVER_TOKEN: u32 = 1u;

var<workgroup> losses: array<vec4<f32>, W>;  // sft, rl_demo, self, entropy bonus
var<workgroup> reports: array<vec4<f32>, W>; // H, ln p, weight, clipped

fn number(word: u32) -> f32 {
    return bitcast<f32>(info[word]);
}

// scale · exp(sign · H); a sign of 0 is a weight that is off, exactly its scale of 1.
fn weight(word: u32, entropy: f32) -> f32 {
    let scale = number(word);
    let sign = number(word + 1u);
    return select(scale * exp(sign * entropy), scale, sign == 0.0);
}

// Tree sums of both arrays into element 0.
fn reduce(lane: u32) {
    workgroupBarrier();
    for (var stride = W / 2u; stride > 0u; stride /= 2u) {
        if lane < stride {
            losses[lane] += losses[lane + stride];
            reports[lane] += reports[lane + stride];
        }
        workgroupBarrier();
    }
}

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    let live = row < info[0]; // the grid's last line may overshoot
    let words = HEADER_WORDS + select(0u, row, live) * ROW_WORDS;
    let start = info[words];
    let end = select(start, info[words + 1u], live);
    let demonstration = (info[words + 4u] & 1u) != 0u;
    let positive = (info[words + 4u] & 2u) != 0u;
    let sft = number(words + 5u);
    let rl_demo = number(words + 6u);
    let self_logp = number(words + 7u);
    let self_ratio = number(words + 8u);
    let bonus = number(words + 9u);

    // The sequence's mean entropy comes first: every token's weight needs it.
    var entropy_sum = 0.0;
    for (var t = start + lane; t < end; t += W) {
        entropy_sum += stats[2u * t + 1u];
    }
    losses[lane] = vec4<f32>(0.0);
    reports[lane] = vec4<f32>(entropy_sum, 0.0, 0.0, 0.0);
    reduce(lane);
    let count = f32(max(end - start, 1u));
    var weighing = reports[0].x / count;
    if info[1] > OVER_TOKEN {
        weighing = select(number(3u), number(2u), demonstration);
    }
    workgroupBarrier(); // reports[0] is read by all before it is written again

    let gamma = number(8u);
    var loss = vec4<f32>(0.0);
    var reported = vec4<f32>(0.0);
    for (var t = start + lane; t < end; t += W) {
        let logp = stats[2u * t];
        let entropy = stats[2u * t + 1u];
        let h = select(weighing, entropy, info[1] == OVER_TOKEN);
        let w_sft = weight(4u, h);
        let w_rl = weight(6u, h);
        let w = select(1.0, w_rl, positive);

        let p = exp(logp);
        var f = p;
        var f_slope = p; // df/dln p
        if gamma > 0.0 {
            f = p / (p + gamma);
            f_slope = gamma * p / ((p + gamma) * (p + gamma));
        }
        var surrogate = 0.0; // −min(ρ Â, clip(ρ) Â) / N
        var slope = 0.0;
        var clipped = false;
        if self_ratio != 0.0 {
            let rho = exp(min(logp - old_logprobs[t], number(11u)));
            let free = self_ratio * rho;
            let held = self_ratio * clamp(rho, number(9u), number(10u));
            clipped = free < held;
            surrogate = max(free, held);
            slope = select(free, 0.0, clipped);
        }

        coefficients[2u * t] = -sft * w_sft + rl_demo * f_slope + w * (self_logp + slope);
        coefficients[2u * t + 1u] = bonus;
        loss += vec4<f32>(
            -sft * w_sft * logp,
            rl_demo * f,
            w * (self_logp * logp + surrogate),
            bonus * entropy,
        );
        let applied = select(w_rl, w_sft, demonstration);
        reported += vec4<f32>(entropy, logp, applied, select(0.0, 1.0, clipped));
    }

    // Tokens of the gaps around this sequence carry no loss.
    let owned_end = select(0u, info[words + 3u], live);
    for (var t = info[words + 2u] + lane; t < owned_end; t += W) {
        if t < start || t >= end {
            coefficients[2u * t] = 0.0;
            coefficients[2u * t + 1u] = 0.0;
        }
    }

    losses[lane] = loss;
    reports[lane] = reported;
    reduce(lane);
    if live && lane == 0u {
        for (var i = 0u; i < 4u; i++) {
            sums[8u * row + i] = losses[0][i];
            sums[8u * row + 4u + i] = reports[0][i];
        }
        sums[8u * row + 6u] /= count;
    }
}
