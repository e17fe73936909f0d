// Per-token loss of every term and its derivatives, one workgroup a sequence.
// Reference: crates/kernels/src/objective/reference.rs. Launcher and words of `info`: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> stats: array<f32>;         // [n, 2]: ln p, H (nats)
@group(0) @binding(1) var<storage, read_write> old_logprobs: array<f32>;  // [n]
@group(0) @binding(2) var<storage, read_write> coefficients: array<f32>;  // [n, 2]: dL/dln p, dL/dH
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;          // [S, 8]
@group(0) @binding(4) var<storage, read_write> info: array<u32>;          // header, then rows

const W: u32 = {{ workgroup }}u;
const SIDE: u32 = 16u; // W = SIDE * SIDE
const HEADER_WORDS: u32 = 14u;
const ROW_WORDS: u32 = 11u;
const OVER_TOKEN: u32 = 1u;

var<workgroup> lanes: array<vec4<f32>, W>;

fn number(word: u32) -> f32 {
    return bitcast<f32>(info[word]);
}

// scale · exp(sign · H). A weight that is off has scale 1 and sign 0: exactly 1.
fn weight(word: u32, entropy: f32) -> f32 {
    let scale = number(word);
    let sign = number(word + 1u);
    return select(scale * exp(sign * entropy), scale, sign == 0.0);
}

// The sum over the workgroup, the same for every invocation, in two levels: three barriers instead
// of a binary tree's nine.
fn sum(lane: u32, value: vec4<f32>) -> vec4<f32> {
    workgroupBarrier(); // the previous sum has been read
    lanes[lane] = value;
    workgroupBarrier();
    if lane < SIDE {
        var column = lanes[lane];
        for (var i = 1u; i < SIDE; i++) {
            column += lanes[lane + i * SIDE];
        }
        lanes[lane] = column;
    }
    workgroupBarrier();
    var total = lanes[0];
    for (var i = 1u; i < SIDE; i++) {
        total += lanes[i];
    }
    return total;
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
    let kl = number(words + 10u);

    // The sequence's mean entropy comes first: every token's weight needs it.
    var entropy_sum = 0.0;
    for (var t = start + lane; t < end; t += W) {
        entropy_sum += stats[2u * t + 1u];
    }
    let count = f32(max(end - start, 1u));
    var weighing = sum(lane, vec4<f32>(entropy_sum, 0.0, 0.0, 0.0)).x / count;
    if info[1] > OVER_TOKEN {
        weighing = select(number(3u), number(2u), demonstration);
    }

    let gamma = number(8u);
    var loss = vec4<f32>(0.0);   // sft, rl_demo, self, entropy bonus or KL penalty
    var report = vec4<f32>(0.0); // H, ln p, weight, clipped
    for (var t = start + lane; t < end; t += W) {
        let logp = stats[2u * t];
        let entropy = stats[2u * t + 1u];
        let h = select(weighing, entropy, info[1] == OVER_TOKEN);
        let p = exp(logp);
        let w_sft = weight(4u, h) * select(1.0, p * (1.0 - p), info[13] != 0u);
        let w_rl = weight(6u, h);
        let w = select(select(1.0, w_rl, positive), 0.0, logp > number(12u));

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

        var penalty = 0.0; // λ (r − 1 − ln r) / N, r = p_base / p
        var pull = 0.0;
        if kl != 0.0 {
            let log_r = min(old_logprobs[t] - logp, number(11u));
            let r = exp(log_r);
            penalty = kl * (r - 1.0 - log_r);
            pull = kl * (1.0 - r);
        }

        coefficients[2u * t] = -sft * w_sft + rl_demo * f_slope + w * (self_logp + slope) + pull;
        coefficients[2u * t + 1u] = bonus;
        loss += vec4<f32>(
            -sft * w_sft * logp,
            rl_demo * f,
            w * (self_logp * logp + surrogate),
            bonus * entropy + penalty,
        );
        let applied = select(w_rl, w_sft, demonstration);
        report += vec4<f32>(entropy, logp, applied, select(0.0, 1.0, clipped));
    }

    // Tokens of the gaps around this sequence carry no loss.
    let owned_end = select(0u, info[words + 3u], live);
    for (var t = info[words + 2u] + lane; t < owned_end; t += W) {
        if t < start || t >= end {
            coefficients[2u * t] = 0.0;
            coefficients[2u * t + 1u] = 0.0;
        }
    }

    loss = sum(lane, loss);
    report = sum(lane, report);
    report.z /= count;
    if live && lane == 0u {
        for (var i = 0u; i < 4u; i++) {
            sums[8u * row + i] = loss[i];
            sums[8u * row + 4u + i] = report[i];
        }
    }
}
