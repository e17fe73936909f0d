// Attention of one new position a row, with grouped queries: takes q, k and v from the parts of their product, norms the
// heads of q and k where the model does, turns them to the position (RoPE), appends k and v to the cache, and attends
// over what the row's past holds, however much would fit: its prompt's positions, which stand once for all rows that go
// on from it, and then its own.
//
//   out = Σ_t p_t·v_t,   p = softmax of q·k_t / √dh over the positions that the new one sees
//
// A workgroup takes {{ heads }} query heads that share a key head, reads each key and value once for all
// of them, and goes through the past {{ workgroup }} positions a turn, raising the softmax's maximum as it
// goes. Where the cache has room for more than BLOCK positions, a workgroup takes a block of the past, and
// attention_join.wgsl puts the blocks together. The sums' order depends on the position alone: not on neighbours,
// nor on the cache's size.

//#include include/settled.wgsl

@group(0) @binding(2) var<storage, read_write> norms: array<f32>;     // of q's heads and of k's, [2, dh], if NORMED
@group(0) @binding(3) var<storage, read_write> turns: array<f32>;     // [2, positions, dh/2]: cos, sin
@group(0) @binding(4) var<storage, read_write> keys: array<Words>;    // [slots, Hkv, dh], turned
@group(0) @binding(5) var<storage, read_write> values: array<Words>;  // [slots, Hkv, dh]
@group(0) @binding(6) var<storage, read_write> table: array<u32>;     // a workgroup's past, 1 more afterwards; then
// for each of the cache's rows how many positions are its prompt's, and what is added to one of these, or to another, for its slot
@group(0) @binding(7) var<storage, read_write> out: array<Vector>;    // [M, Hq·dh]; [B, Hq, blocks, dh + WIDTH] if SPLIT
@group(0) @binding(8) var<uniform> info: Info;

struct Info {
    rows: u32,      // M: of the product
    width: u32,     // of the parts' rows
    parts: u32,     // P
    columns: u32,   // (Hq + 2·Hkv)·dh
    first: u32,     // the product's row that is the cache's first
    groups: u32,    // B·Hkv·PIECES
    blocks: u32,    // the grid has groups · blocks
    positions: u32, // in `turns`
    window: u32,    // how many positions one sees, its own included
    scale: f32,     // of q
    epsilon: f32,   // of the heads' norms
}

alias Vector = vec{{ width }}<f32>;
alias Words = vec{{ width }}<u32>; // a Vector's, or two Vectors' if HALVES
const W = {{ workgroup }}u;
const WIDTH = {{ width }}u;
const DH = {{ head_dim }}u;
const HALF = DH / 2u;
const VECTORS = DH / WIDTH;   // of a head
const HEADS = {{ heads }}u;   // of this workgroup
const KEY_HEADS = {{ key_heads }}u;
const PIECES = {{ pieces }}u; // workgroups that share a key head
const NORMED = {{ normed }};
const SPLIT = {{ split }};
const HALVES = {{ halves }}; // keys and values are in half precision, two numbers a word
const BLOCK = {{ block }}u;   // positions
const BANDS = W / VECTORS;    // positions whose values are added side by side
const LANES = 16u;            // invocations that look for a head's maximum; HEADS · LANES ≤ W
const LOWEST = -3.0e38;

var<workgroup> query: array<Vector, (HEADS + 1u) * VECTORS>; // turned, and the new key after them
var<workgroup> weight: array<f32, max(HEADS * W, (HEADS + 1u) * DH)>; // a turn's scores, then e^(score − top)
var<workgroup> folded: array<Vector, W>;
var<workgroup> top: array<f32, HEADS + 1u>; // the largest score so far; before that, for the heads' norms
var<workgroup> lower: array<f32, HEADS>; // e^(the top before this turn − top)
var<workgroup> length: u32;

// Where the words of a Vector are, by its index.
fn place(index: u32) -> u32 {
    return select(index, index / 2u, HALVES);
}

fn vector(words: Words, index: u32) -> Vector {
    if !HALVES {
        return bitcast<Vector>(words);
    }
    var whole = Vector();
    for (var e = 0u; e < WIDTH; e += 2u) {
        let two = unpack2x16float(words[(index % 2u * WIDTH + e) / 2u]);
        whole[e] = two.x;
        whole[e + 1u] = two.y;
    }
    return whole;
}

// Two Vectors in half precision; what is beyond its numbers becomes its largest.
fn packed(low: Vector, high: Vector) -> Words {
    let most = Vector(65504.0);
    let both = array<Vector, 2>(clamp(low, -most, most), clamp(high, -most, most));
    var words = Words();
    for (var i = 0u; i < WIDTH; i++) {
        let at = 2u * i;
        words[i] = pack2x16float(vec2<f32>(both[at / WIDTH][at % WIDTH], both[at / WIDTH][at % WIDTH + 1u]));
    }
    return words;
}

// Where a position of a key head begins among keys and values, in Vectors.
fn at(t: u32, row: vec3<u32>, key_head: u32) -> u32 {
    return ((t + select(row.z, row.y, t < row.x)) * KEY_HEADS + key_head) * VECTORS;
}

// 1 / √(mean of squares + ε) of one head.
fn inverse_of(head: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DH; i++) {
        sum += weight[head * DH + i] * weight[head * DH + i];
    }
    return 1.0 / sqrt(sum / f32(DH) + info.epsilon);
}

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) % info.groups;
    let block = (group.y * groups.x + group.x) / info.groups;
    if block >= info.blocks {
        return; // the grid's last line may overshoot
    }
    if local == 0u {
        length = table[index];
    }
    let position = workgroupUniformLoad(&length);
    let head = index / PIECES; // of B·Hkv
    let key_head = head % KEY_HEADS;
    let of_row = info.groups + 3u * (head / KEY_HEADS);
    let past = vec3<u32>(table[of_row], table[of_row + 1u], table[of_row + 2u]);
    let unseen = max(position + 1u, info.window) - info.window;
    let begin = max(unseen, block * BLOCK);
    let end = select(position, min(position, (block + 1u) * BLOCK), SPLIT);
    let newest = !SPLIT || block == position / BLOCK;
    if begin >= end && !newest {
        return; // nothing of this block is seen, or yet there
    }

    let row = info.first + head / KEY_HEADS;
    let of_keys = KEY_HEADS * PIECES * HEADS * DH; // the first column of k
    let key = of_keys + key_head * DH;
    let value = key + KEY_HEADS * DH;
    if RANK > 0u {
        read_low(row, local, W);
        workgroupBarrier();
    }
    for (var i = local; i < (HEADS + 1u) * DH; i += W) {
        if i < HEADS * DH {
            weight[i] = settled(row, index % (KEY_HEADS * PIECES) * HEADS * DH + i, 0u);
        } else {
            weight[i] = settled(row, key + i - HEADS * DH, 1u);
        }
    }
    workgroupBarrier();
    if NORMED {
        if local <= HEADS {
            top[local] = inverse_of(local);
        }
        workgroupBarrier();
        for (var i = local; i < (HEADS + 1u) * DH; i += W) {
            weight[i] *= top[i / DH] * norms[select(0u, DH, i >= HEADS * DH) + i % DH];
        }
        workgroupBarrier();
    }
    // Element i of a head's first half turns with element i of its second, as in Hugging Face's models.
    for (var i = local; i < (HEADS + 1u) * HALF; i += W) {
        let pair = i % HALF;
        let which = i / HALF;
        let cosine = turns[position * HALF + pair];
        let sine = turns[(info.positions + position) * HALF + pair];
        let scale = select(1.0, info.scale, which < HEADS);
        let low = weight[which * DH + pair] * scale;
        let high = weight[which * DH + pair + HALF] * scale;
        weight[which * DH + pair] = low * cosine - high * sine;
        weight[which * DH + pair + HALF] = high * cosine + low * sine;
    }
    workgroupBarrier();
    for (var i = local; i < (HEADS + 1u) * VECTORS; i += W) {
        var whole = Vector();
        for (var e = 0u; e < WIDTH; e++) {
            whole[e] = weight[i * WIDTH + e];
        }
        query[i] = whole;
    }
    workgroupBarrier();

    // The new position comes first: its key and value need not be read back from the cache.
    if local < HEADS {
        var score = 0.0;
        for (var j = 0u; j < VECTORS; j++) {
            score += dot(query[local * VECTORS + j], query[HEADS * VECTORS + j]);
        }
        top[local] = select(LOWEST, score, newest);
    }
    let band = local / VECTORS;
    let column = local % VECTORS;
    var fresh = Vector();
    if band == 0u {
        for (var e = 0u; e < WIDTH; e++) {
            fresh[e] = settled(row, value + column * WIDTH + e, 2u);
        }
    }
    let keeps = newest && index % PIECES == 0u;
    let place_of_new = place(at(position, past, key_head));
    if HALVES {
        folded[local] = fresh;
        workgroupBarrier();
        if keeps && local < VECTORS / 2u {
            let first = HEADS * VECTORS + 2u * local;
            keys[place_of_new + local] = packed(query[first], query[first + 1u]);
            values[place_of_new + local] = packed(folded[2u * local], folded[2u * local + 1u]);
        }
    } else if keeps && local < VECTORS {
        keys[place_of_new + local] = bitcast<Words>(query[HEADS * VECTORS + local]);
        values[place_of_new + local] = bitcast<Words>(fresh);
    }
    var sums = array<Vector, HEADS>(); // Σ e^(score − top)·v of this band's positions
    var masses = array<f32, HEADS>();  // Σ e^(score − top) of them
    if newest && band == 0u {
        for (var h = 0u; h < HEADS; h++) {
            sums[h] = fresh;
            masses[h] = 1.0;
        }
    }

    for (var first = begin; first < end; first += W) {
        // Scores: an invocation a position.
        let t = first + local;
        let first_of_key = at(t, past, key_head);
        var scores = array<f32, HEADS>();
        if t < end {
            for (var j = 0u; j < VECTORS; j++) {
                let of_key = vector(keys[place(first_of_key + j)], j);
                for (var h = 0u; h < HEADS; h++) {
                    scores[h] += dot(query[h * VECTORS + j], of_key);
                }
            }
        }
        for (var h = 0u; h < HEADS; h++) {
            weight[h * W + local] = select(LOWEST, scores[h], t < end);
        }
        workgroupBarrier();
        // Their maximum in two levels, and the old one.
        if local < HEADS * LANES {
            var highest = LOWEST;
            for (var i = local % LANES; i < W; i += LANES) {
                highest = max(highest, weight[local / LANES * W + i]);
            }
            folded[local].x = highest;
        }
        workgroupBarrier();
        if local < HEADS {
            var highest = top[local];
            for (var i = 0u; i < LANES; i++) {
                highest = max(highest, folded[local * LANES + i].x);
            }
            lower[local] = exp(top[local] - highest);
            top[local] = highest;
        }
        workgroupBarrier();
        for (var h = 0u; h < HEADS; h++) {
            weight[h * W + local] = select(0.0, exp(scores[h] - top[h]), t < end);
            sums[h] *= lower[h];
            masses[h] *= lower[h];
        }
        workgroupBarrier();
        // Values: an invocation a few dimensions of one band of positions.
        let seen = select(0u, min(W, end - first), band < BANDS);
        for (var i = band; i < seen; i += BANDS) {
            let of_value = vector(values[place(at(first + i, past, key_head) + column)], column);
            for (var h = 0u; h < HEADS; h++) {
                sums[h] += weight[h * W + i] * of_value;
                masses[h] += weight[h * W + i];
            }
        }
        workgroupBarrier();
    }

    // The bands' sums, in order.
    for (var h = 0u; h < HEADS; h++) {
        weight[h * W + local] = masses[h];
    }
    for (var h = 0u; h < HEADS; h++) {
        folded[local] = sums[h];
        workgroupBarrier();
        if local < VECTORS {
            var sum = Vector();
            var mass = 0.0;
            for (var b = 0u; b < BANDS; b++) {
                sum += folded[b * VECTORS + local];
                mass += weight[h * W + b * VECTORS];
            }
            if SPLIT {
                let to = ((index * HEADS + h) * info.blocks + block) * (VECTORS + 1u);
                out[to + local] = sum;
                if local == 0u {
                    var both = Vector();
                    both.x = top[h];
                    both.y = mass;
                    out[to + VECTORS] = both;
                }
            } else {
                out[((info.first * KEY_HEADS * PIECES + index) * HEADS + h) * VECTORS + local] = sum / mass;
            }
        }
        workgroupBarrier();
    }
    if !SPLIT && local == 0u {
        table[index] = position + 1u;
    }
}
