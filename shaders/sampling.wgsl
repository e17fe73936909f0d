// Temperature, top-k, top-p, a counter-based draw, and the policy's own statistics; one workgroup a
// row. Reference: src/ops/sampling/reference.rs. Launcher and words of `info`: src/ops/sampling.rs.

@group(0) @binding(0) var<storage, read_write> logits: array<f32>; // [B, V]
@group(0) @binding(1) var<storage, read_write> tokens: array<i32>; // [B]
@group(0) @binding(2) var<storage, read_write> stats: array<f32>;  // [B, 2]: ln pi(token), H (nats)
@group(0) @binding(3) var<storage, read_write> info: array<u32>;   // header, then 3 words a draw

const W: u32 = {{ workgroup }}u;
const GREEDY: bool = {{ greedy }};
const TOP_K: bool = {{ top_k }};
const TOP_P: bool = {{ top_p }};
const HEADER_WORDS: u32 = 8u;
const LOWEST: f32 = -3.4028234e38;

var<workgroup> sums: array<vec2<f32>, W>;
var<workgroup> maxima: array<f32, W>;
var<workgroup> indices: array<u32, W>;
var<workgroup> owner: u32;        // the invocation whose slice holds the drawn token
var<workgroup> remainder: f32;    // the mass left to cross within that slice
var<workgroup> chosen: u32;

fn number(word: u32) -> f32 {
    return bitcast<f32>(info[word]);
}

// Threefry-4x32, 20 rounds: src/random.rs line for line.
fn threefry4x32(key: vec4<u32>, counter: vec4<u32>) -> vec4<u32> {
    var rotations = array<vec2<u32>, 8>(
        vec2<u32>(10u, 26u), vec2<u32>(11u, 21u), vec2<u32>(13u, 27u), vec2<u32>(23u, 5u),
        vec2<u32>(6u, 20u), vec2<u32>(17u, 11u), vec2<u32>(25u, 10u), vec2<u32>(18u, 20u),
    );
    var keys = array<u32, 5>(
        key.x, key.y, key.z, key.w, 0x1BD11BDAu ^ key.x ^ key.y ^ key.z ^ key.w,
    );
    var x = counter + key;
    for (var round = 0u; round < 20u; round++) {
        let by = rotations[round % 8u];
        let odd = round % 2u == 1u;
        // Even rounds pair (0,1),(2,3); odd rounds (0,3),(2,1).
        let b = select(x.y, x.w, odd);
        let d = select(x.w, x.y, odd);
        let x0 = x.x + b;
        let x2 = x.z + d;
        let mixed_b = ((b << by.x) | (b >> (32u - by.x))) ^ x0;
        let mixed_d = ((d << by.y) | (d >> (32u - by.y))) ^ x2;
        x = vec4<u32>(x0, select(mixed_b, mixed_d, odd), x2, select(mixed_d, mixed_b, odd));
        if round % 4u == 3u {
            let injection = round / 4u + 1u;
            x += vec4<u32>(
                keys[injection % 5u],
                keys[(injection + 1u) % 5u],
                keys[(injection + 2u) % 5u],
                keys[(injection + 3u) % 5u] + injection,
            );
        }
    }
    return x;
}

// The row's uniform number in [0, 1): random::token_uniform.
fn uniform_number(row: u32) -> f32 {
    let draw = HEADER_WORDS + 3u * row;
    let key = vec4<u32>(info[2], info[3], info[4], 0u);
    let counter = vec4<u32>(info[draw], info[draw + 1u], info[draw + 2u], 0u);
    return f32(threefry4x32(key, counter).x >> 8u) * (1.0 / 16777216.0);
}

// A u32 in the order of the floats; -0 equals +0.
fn order_key(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if bits == 0x80000000u {
        return bits;
    }
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// The tree sum over the workgroup, the same for every invocation.
fn sum(lane: u32, value: vec2<f32>) -> vec2<f32> {
    workgroupBarrier(); // the previous sum has been read
    sums[lane] = value;
    workgroupBarrier();
    for (var stride = W / 2u; stride > 0u; stride /= 2u) {
        if lane < stride {
            sums[lane] += sums[lane + stride];
        }
        workgroupBarrier();
    }
    return sums[0];
}

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    let live = row < info[0]; // the grid's last line may overshoot
    let vocabulary = select(0u, info[1], live);
    let base = row * info[1];
    let per_temperature = number(5u);

    // The largest logit, the lowest index among equals.
    var best = LOWEST;
    var best_index = 0u;
    for (var v = lane; v < vocabulary; v += W) {
        let x = logits[base + v];
        if x > best {
            best = x;
            best_index = v;
        }
    }
    maxima[lane] = best;
    indices[lane] = best_index;
    workgroupBarrier();
    for (var stride = W / 2u; stride > 0u; stride /= 2u) {
        if lane < stride {
            let x = maxima[lane + stride];
            let v = indices[lane + stride];
            if x > maxima[lane] || (x == maxima[lane] && v < indices[lane]) {
                maxima[lane] = x;
                indices[lane] = v;
            }
        }
        workgroupBarrier();
    }
    let largest = maxima[0];
    let largest_index = indices[0];

    // The policy's own statistics: H = ln s - t / s does not cancel at large |max|.
    var partial = vec2<f32>(0.0);
    for (var v = lane; v < vocabulary; v += W) {
        let shifted = logits[base + v] - largest;
        let e = exp(shifted);
        partial += vec2<f32>(e, e * shifted);
    }
    let st = sum(lane, partial);
    let log_sum = log(st.x);

    if lane == 0u {
        chosen = largest_index;
    }

    if !GREEDY {
        // The threshold: the largest key with at least k tokens, then at least p of the mass, at or
        // above it; found bit by bit, without a sort.
        var threshold = 0u;
        if TOP_K {
            for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
                let candidate = threshold | bit;
                var count = 0.0; // exact below 2^24 tokens
                for (var v = lane; v < vocabulary; v += W) {
                    count += select(0.0, 1.0, order_key(logits[base + v]) >= candidate);
                }
                if sum(lane, vec2<f32>(count, 0.0)).x >= f32(info[6]) {
                    threshold = candidate;
                }
            }
        }
        if TOP_P {
            let floor_key = threshold;
            var needed = 0.0;
            for (var turn = 0u; turn <= 32u; turn++) {
                // Turn 0 measures all that top-k left; turns 1..32 decide one bit each.
                let bit = select(0x80000000u >> ((turn - 1u) & 31u), 0u, turn == 0u);
                let candidate = select(threshold | bit, 0u, turn == 0u);
                let lowest = max(candidate, floor_key);
                var mass = 0.0;
                for (var v = lane; v < vocabulary; v += W) {
                    let x = logits[base + v];
                    if order_key(x) >= lowest {
                        mass += exp((x - largest) * per_temperature);
                    }
                }
                let total = sum(lane, vec2<f32>(mass, 0.0)).x;
                if turn == 0u {
                    needed = number(7u) * total;
                    threshold = 0u;
                } else if total >= needed {
                    threshold = candidate;
                }
            }
            threshold = max(threshold, floor_key);
        }

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
        workgroupBarrier(); // the previous sum has been read
        sums[lane] = vec2<f32>(mass, 0.0);
        workgroupBarrier();
        if lane == 0u {
            // One invocation adds in order, so that the prefix sums never decrease.
            var total = 0.0;
            for (var i = 0u; i < W; i++) {
                total += sums[i].x;
            }
            let target_mass = uniform_number(row) * total;
            var below = 0.0;
            owner = 0u;
            remainder = 0.0;
            for (var i = 0u; i < W; i++) {
                let mine = sums[i].x;
                if mine > 0.0 {
                    // Rounding may leave none that exceeds: then the last one with mass owns it.
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
    if live && lane == 0u {
        tokens[row] = i32(chosen);
        stats[2u * row] = logits[base + chosen] - largest - log_sum;
        stats[2u * row + 1u] = log_sum - st.y / st.x;
    }
}
