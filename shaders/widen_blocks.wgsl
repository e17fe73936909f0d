// Widens ggml's blocks of quantised numbers to f32. A number is scale · q, less the block's least where the
// type has one: all products are exact in f32, so only that difference rounds, fused or not.
// Reference: crates/kernels/src/stored/reference.rs. Launcher: gpu.rs beside it.

//#include include/stored.wgsl

@group(0) @binding(0) var<storage, read_write> words: array<vec4<u32>>; // the blocks' bytes, row after row
@group(0) @binding(1) var<storage, read_write> rows: array<i32>;        // those to widen, if LISTED
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;   // [n]
@group(0) @binding(3) var<uniform> info: Info;

const W: u32 = {{ workgroup }}u;
const LISTED: bool = {{ listed }};

struct Info { n: u32, width: u32, first: u32 } // of out; vectors a row, the first row if not LISTED

fn sixteen(index: u32) -> vec4<u32> {
    return words[index];
}

@compute @workgroup_size(W)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * W + lane;
    if i >= info.n {
        return;
    }
    var row = info.first + i / info.width;
    if LISTED {
        row = u32(rows[row]);
    }
    out[i] = widened(row * info.width + i % info.width);
}
