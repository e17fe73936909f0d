// A tile of queries and the keys that it sees, by their positions in the sequence: the prompt's rows, then its own branch's.

struct Tile {
    first: u32,        // its first row
    rows: u32,
    prompt: u32,       // the prompt's first row
    prompt_rows: u32,  // 0 where the tile is the prompt's, or of a sequence alone
    position: u32,     // of its first row
}

var<workgroup> given: Tile;
var<private> tile: Tile;
var<private> head: u32;
var<private> key_head: u32;
var<private> base: u32; // the position of the first of the 32 keys under way

// This workgroup's; called by all. What loops with barriers end at is to be taken from what this returns: Chromium
// knows of no private variable that it is the same for all.
fn read_tile(index: u32, local: u32) -> Tile {
    if local == 0u {
        let at = info.tiles + index * 4u;
        given = Tile(tables[at], tables[at + 1u], tables[at + 2u], tables[at + 3u], tables[tables[at]]);
    }
    let same = workgroupUniformLoad(&given);
    tile = same;
    return same;
}

// The row of a query. Beyond the last, the last.
fn query_row(line: u32) -> u32 {
    return tile.first + min(line, tile.rows - 1u);
}

// The row of a key. Beyond the last that the tile sees, the last.
fn key_row(line: u32) -> u32 {
    let position = min(base + line, tile.position + tile.rows - 1u);
    return position + select(tile.first - tile.position, tile.prompt, position < tile.prompt_rows);
}

// The first key that a tile whose first position is this goes through: whole tiles of keys from the sequence's start on.
fn first_key(position: u32) -> u32 {
    return (max(position + 1u, info.window) - info.window) / 32u * 32u;
}

// Whether the query of a line sees each of four keys.
fn sees(line: u32, keys: vec4<u32>) -> vec4<bool> {
    let position = tile.position + min(line, tile.rows - 1u);
    return (keys <= vec4<u32>(position)) & (keys + info.window > vec4<u32>(position));
}

// Of the keys, or of their values.
fn of_other(which: u32, line: u32, vector: u32) -> vec4<f32> {
    let at = (key_row(line) * info.key_heads + key_head) * VECTORS + vector;
    if which == 0u {
        return k[at];
    }
    return v[at];
}
