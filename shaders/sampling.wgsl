// Temperature, top-k, top-p, min-p, a counter-based draw, and the policy's own statistics; one workgroup
// a row. Reference: crates/kernels/src/sampling/reference.rs. Launcher and words of `info`: gpu.rs beside it.

@group(0) @binding(0) var<storage, read_write> logits: array<f32>; // [B, V]
@group(0) @binding(1) var<storage, read_write> tokens: array<i32>; // [B]
@group(0) @binding(2) var<storage, read_write> stats: array<f32>;  // [B, 2]: ln pi(token), H (nats)
@group(0) @binding(3) var<storage, read_write> draws: array<u32>;  // [B, 3]: prompt, sample, position; 1 more afterwards
@group(0) @binding(4) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;
const GREEDY: bool = {{ greedy }};
const TOP_K: bool = {{ top_k }};
const TOP_P: bool = {{ top_p }};
const SIDE: u32 = 16u; // W = SIDE * SIDE
const DIGITS = vec4<u32>(1u, 2u, 3u, 3u); // two bits of a key; the last is unused
const LOWEST: f32 = -3.4028234e38;

struct Info {
    rows: u32, // B
    vocabulary: u32,
    seed_low: u32,
    seed_high: u32,
    step: u32,
    per_temperature: f32,
    top_k: u32,
    top_p: f32,
    lowest: f32, // logit that min-p keeps, minus the largest
    per_policy_temperature: f32,
}

var<workgroup> lanes: array<vec4<f32>, W>;
var<workgroup> owner: u32;        // the invocation whose slice holds the drawn token
var<workgroup> remainder: f32;    // the mass left to cross within that slice
var<workgroup> chosen: u32;

//#include include/threefry.wgsl

// The row's uniform number in [0, 1): random::token_uniform.
fn uniform_number(row: u32) -> f32 {
    let key = vec4<u32>(info.seed_low, info.seed_high, info.step, 0u);
    let counter = vec4<u32>(draws[3u * row], draws[3u * row + 1u], draws[3u * row + 2u], 0u);
    return f32(threefry4x32(key, counter).x >> 8u) * (1.0 / 16777216.0);
}

// Maps a float to a u32 that sorts like it; -0 equals +0.
fn order_key(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if bits == 0x80000000u {
        return bits;
    }
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// Sums (or maxima) over the workgroup, the same for every invocation, in two levels: three barriers
// instead of a binary tree's nine.
fn sum(lane: u32, value: vec4<f32>) -> vec4<f32> {
    workgroupBarrier(); // the previous result has been read
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

fn highest(lane: u32, value: f32) -> f32 {
    workgroupBarrier(); // the previous result has been read
    lanes[lane].x = value;
    workgroupBarrier();
    if lane < SIDE {
        var column = lanes[lane].x;
        for (var i = 1u; i < SIDE; i++) {
            column = max(column, lanes[lane + i * SIDE].x);
        }
        lanes[lane].x = column;
    }
    workgroupBarrier();
    var best = lanes[0].x;
    for (var i = 1u; i < SIDE; i++) {
        best = max(best, lanes[i].x);
    }
    return best;
}

// The candidates ascend; the highest with at least `needed` at or above it, or `none`.
fn highest_with(above: vec4<f32>, needed: f32, none: u32, candidates: vec4<u32>) -> u32 {
    let enough = above >= vec4<f32>(needed);
    let low = select(none, candidates.x, enough.x);
    return select(select(low, candidates.y, enough.y), candidates.z, enough.z);
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
    let vocabulary = info.vocabulary;
    let base = row * vocabulary;
    let per_temperature = info.per_temperature;

    var best = LOWEST;
    for (var v = lane; v < vocabulary; v += W) {
        best = max(best, logits[base + v]);
    }
    let largest = highest(lane, best);

    // The policy's own statistics: H = ln s - t / s does not cancel at large |max|.
    var partial = vec4<f32>(0.0);
    for (var v = lane; v < vocabulary; v += W) {
        let shifted = (logits[base + v] - largest) * info.per_policy_temperature;
        let e = exp(shifted);
        partial += vec4<f32>(e, e * shifted, 0.0, 0.0);
    }
    let st = sum(lane, partial);
    let log_sum = log(st.x);

    if GREEDY {
        // The lowest index among the largest, as a maximum of -index (exact below 2^24).
        var index = -f32(vocabulary);
        for (var v = lane; v < vocabulary; v += W) {
            if logits[base + v] == largest {
                index = max(index, -f32(v));
            }
        }
        index = highest(lane, index);
        if lane == 0u {
            chosen = min(u32(-index), vocabulary - 1u);
        }
    } else {
        // The threshold: the largest key with at least k tokens, then at least p of the mass, at or
        // above it; found two bits at a time, without a sort. Lavapipe silently ends an invocation's
        // loops after 65,535 iterations of all of them together; one bit at a time would reach that.
        var threshold = 0u;
        if TOP_K {
            for (var shift = 32u; shift > 0u; shift -= 2u) {
                let candidates = vec4<u32>(threshold) | (DIGITS << vec4<u32>(shift - 2u));
                var counts = vec4<f32>(0.0); // exact below 2^24 tokens
                for (var v = lane; v < vocabulary; v += W) {
                    let key = vec4<u32>(order_key(logits[base + v]));
                    counts += select(vec4<f32>(0.0), vec4<f32>(1.0), key >= candidates);
                }
                threshold = highest_with(sum(lane, counts), f32(info.top_k), threshold, candidates);
            }
        }
        if TOP_P {
            let floor_key = threshold;
            var kept = 0.0;
            for (var v = lane; v < vocabulary; v += W) {
                let x = logits[base + v];
                if order_key(x) >= floor_key {
                    kept += exp((x - largest) * per_temperature);
                }
            }
            let nucleus = info.top_p * sum(lane, vec4<f32>(kept, 0.0, 0.0, 0.0)).x;
            threshold = 0u;
            for (var shift = 32u; shift > 0u; shift -= 2u) {
                let candidates = vec4<u32>(threshold) | (DIGITS << vec4<u32>(shift - 2u));
                var masses = vec4<f32>(0.0);
                for (var v = lane; v < vocabulary; v += W) {
                    let x = logits[base + v];
                    let key = order_key(x);
                    if key >= floor_key {
                        let weight = exp((x - largest) * per_temperature);
                        let above = vec4<u32>(key) >= candidates;
                        masses += select(vec4<f32>(0.0), vec4<f32>(weight), above);
                    }
                }
                threshold = highest_with(sum(lane, masses), nucleus, threshold, candidates);
            }
            threshold = max(threshold, floor_key);
        }

        // min-p.
        threshold = max(threshold, order_key(largest + info.lowest));

        // Inverse of the cumulative distribution in index order: a contiguous slice each.
        let width = (vocabulary + W - 1u) / W;
        let first = min(lane * width, vocabulary);
        let last = min(first + width, vocabulary);
        var mass = 0.0;
        for (var v = first; v < last; v++) {
            let x = logits[base + v];
            if order_key(x) >= threshold {
                mass += exp((x - largest) * per_temperature);
            }
        }
        workgroupBarrier(); // the previous result has been read
        lanes[lane].x = mass;
        workgroupBarrier();
        if lane == 0u {
            // One invocation adds in order, so that the prefix sums never decrease.
            var total = 0.0;
            for (var i = 0u; i < W; i++) {
                total += lanes[i].x;
            }
            let target_mass = uniform_number(row) * total;
            var below = 0.0;
            chosen = 0u;
            owner = 0u;
            remainder = 0.0;
            for (var i = 0u; i < W; i++) {
                let mine = lanes[i].x;
                if mine > 0.0 {
                    // Rounding may leave no slice that exceeds u: then the last one with mass owns the draw.
                    owner = i;
                    remainder = target_mass - below;
                    below += mine;
                    if target_mass < below {
                        break;
                    }
                }
            }
        }
        workgroupBarrier();
        if lane == owner {
            var below = 0.0;
            for (var v = first; v < last; v++) {
                let x = logits[base + v];
                if order_key(x) >= threshold {
                    let weight = exp((x - largest) * per_temperature);
                    if weight > 0.0 {
                        chosen = v;
                        below += weight;
                        if remainder < below {
                            break;
                        }
                    }
                }
            }
        }
    }

    workgroupBarrier();
    if lane == 0u {
        tokens[row] = i32(chosen);
        draws[3u * row + 2u] += 1u;
        stats[2u * row] = (logits[base + chosen] - largest) * info.per_policy_temperature - log_sum;
        stats[2u * row + 1u] = log_sum - st.y / st.x;
    }
}
