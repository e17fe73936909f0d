// Per-token loss of every term and its derivatives, one workgroup a sequence.
// Reference: crates/kernels/src/objective/reference.rs. Launcher and words of `info`: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> stats: array<f32>;         // [n, 2]: ln p, H (nats)
@group(0) @binding(1) var<storage, read_write> given: array<f32>;         // [n, 3]: ln p_old, ln p_base, factor
@group(0) @binding(2) var<storage, read_write> coefficients: array<f32>;  // [n, 2]: dL/dln p, dL/dH
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;          // [S, 8]
@group(0) @binding(4) var<storage, read_write> rows: array<u32>;          // [S, 11]
@group(0) @binding(5) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;
const SIDE: u32 = 16u; // W = SIDE * SIDE
const ROW_WORDS: u32 = 11u;
const OVER_TOKEN: u32 = 1u;

struct Info {
    rows: u32, // S
    over: u32, // 0: a sequence's mean entropy weighs, 1: a token's own, 2: the two below
    demonstrations_nats: f32,
    rollouts_nats: f32,
    sft_scale: f32,
    sft_sign: f32,
    self_scale: f32,
    self_sign: f32,
    gamma: f32,
    lowest_ratio: f32,
    highest_ratio: f32,
    max_log_ratio: f32,
    max_logp: f32,
    dual_clip: f32,
    sft_token: u32,
    sequence_ratio: u32,
    clips_weight: u32,
    kl_form: u32, // 0: k3, 1: k1, 2: ρ·k3
}

var<workgroup> lanes: array<vec4<f32>, W>;

fn number(word: u32) -> f32 {
    return bitcast<f32>(rows[word]);
}

// scale · exp(sign · H). A weight that is off has scale 1 and sign 0: exactly 1.
fn weight(scale: f32, sign: f32, entropy: f32) -> f32 {
    return select(scale * exp(sign * entropy), scale, sign == 0.0);
}

// A token's own weight in the SFT term.
fn phi(p: f32, entropy: f32) -> f32 {
    switch info.sft_token {
        case 1u: { return p * (1.0 - p); }
        case 2u: { return p; }
        case 3u: { return entropy / 3.0; }
        case 4u: { return min(p / 0.1, 1.0); }
        default: { return 1.0; }
    }
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
    if row >= info.rows {
        return; // the grid's last line may overshoot
    }
    let words = row * ROW_WORDS;
    let start = rows[words];
    let end = rows[words + 1u];
    let demonstration = (rows[words + 4u] & 1u) != 0u;
    let positive = (rows[words + 4u] & 2u) != 0u;
    let sft = number(words + 5u);
    let rl_demo = number(words + 6u);
    let self_logp = number(words + 7u);
    let self_ratio = number(words + 8u);
    let bonus = number(words + 9u);
    let kl = number(words + 10u);

    // The sequence's mean entropy comes first, and its mean ln ρ: every token needs them.
    var sums_before = vec4<f32>(0.0);
    for (var t = start + lane; t < end; t += W) {
        sums_before.x += stats[2u * t + 1u];
        if self_ratio != 0.0 {
            sums_before.y += stats[2u * t] - given[3u * t];
        }
    }
    let count = f32(max(end - start, 1u));
    let means = sum(lane, sums_before) / count;
    var weighing = means.x;
    if info.over > OVER_TOKEN {
        weighing = select(info.rollouts_nats, info.demonstrations_nats, demonstration);
    }

    let gamma = info.gamma;
    var loss = vec4<f32>(0.0);   // sft, rl_demo, self, entropy bonus
    var report = vec4<f32>(0.0); // KL penalty, H, weight, clipped
    for (var t = start + lane; t < end; t += W) {
        let logp = stats[2u * t];
        let entropy = stats[2u * t + 1u];
        let h = select(weighing, entropy, info.over == OVER_TOKEN);
        let p = exp(logp);
        let factor = given[3u * t + 2u];
        let w_sft = weight(info.sft_scale, info.sft_sign, h) * phi(p, entropy);
        let w_rl = weight(info.self_scale, info.self_sign, h);
        // A negative factor turns a positive into a negative.
        let w = select(select(1.0, w_rl, positive == (factor >= 0.0)), 0.0, logp > info.max_logp);

        var f = p;
        var f_slope = p; // df/dln p
        if gamma > 0.0 {
            f = p / (p + gamma);
            f_slope = gamma * p / ((p + gamma) * (p + gamma));
        }
        var surrogate = 0.0; // −min(ρ Â, clip(ρ) Â) / N, or −clip(ρ) Â ln p / N
        var slope = 0.0;
        var clipped = false;
        if self_ratio != 0.0 {
            let log_rho = select(logp - given[3u * t], means.y, info.sequence_ratio != 0u);
            let rho = exp(min(log_rho, info.max_log_ratio));
            let inside = clamp(rho, info.lowest_ratio, info.highest_ratio);
            let c = self_ratio * factor;
            if info.clips_weight != 0u {
                clipped = c < 0.0 && rho > info.highest_ratio;
                slope = c * inside;
                surrogate = slope * logp;
            } else if c * rho < c * inside {
                clipped = true;
                surrogate = c * inside;
            } else if c > 0.0 && rho > info.dual_clip {
                surrogate = c * info.dual_clip;
            } else {
                slope = c * rho;
                surrogate = slope;
            }
        }

        var penalty = 0.0; // λ (r − 1 − ln r) / N, r = p_base / p, −λ ln r / N, or ρ times the first
        var pull = 0.0;
        if kl != 0.0 && info.kl_form == 1u {
            penalty = kl * (logp - given[3u * t + 1u]);
            pull = kl;
        } else if kl != 0.0 {
            let log_r = min(given[3u * t + 1u] - logp, info.max_log_ratio);
            let r = exp(log_r);
            penalty = kl * (r - 1.0 - log_r);
            pull = kl * (1.0 - r);
            if info.kl_form == 2u {
                let rho = exp(min(logp - given[3u * t], info.max_log_ratio));
                penalty *= rho;
                pull = -kl * rho * log_r;
            }
        }

        let imitation = -sft * factor * w_sft;
        let own = self_logp * factor;
        coefficients[2u * t] = imitation + rl_demo * factor * f_slope + w * (own + slope) + pull;
        coefficients[2u * t + 1u] = bonus;
        loss += vec4<f32>(
            imitation * logp,
            rl_demo * factor * f,
            w * (own * logp + surrogate),
            bonus * entropy,
        );
        let applied = select(w_rl, w_sft, demonstration);
        report += vec4<f32>(penalty, entropy, applied, select(0.0, 1.0, clipped));
    }

    // Tokens of the gaps around this sequence carry no loss.
    for (var t = rows[words + 2u] + lane; t < rows[words + 3u]; t += W) {
        if t < start || t >= end {
            coefficients[2u * t] = 0.0;
            coefficients[2u * t + 1u] = 0.0;
        }
    }

    loss = sum(lane, loss);
    report = sum(lane, report);
    report.z /= count;
    if lane == 0u {
        for (var i = 0u; i < 4u; i++) {
            sums[8u * row + i] = loss[i];
            sums[8u * row + 4u + i] = report[i];
        }
    }
}
