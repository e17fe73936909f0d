//! The launchers of `shaders/widen.wgsl` and `shaders/widen_blocks.wgsl`.

use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::tensor::DType;

use super::{BlockType, Layout, StoredLinear, Widen};
use crate::cube::{self, Shader, WORKGROUP};
use crate::matmul::product;

impl Widen for CubeBackend {
    fn widen(words: CubeTensor, layout: Layout) -> CubeTensor {
        launch(words, None, layout)
    }

    fn widen_rows(words: CubeTensor, rows: CubeTensor, layout: Layout) -> CubeTensor {
        launch(words, Some(cube::dense(rows)), layout)
    }
}

impl StoredLinear for CubeBackend {
    fn stored_linear(x: CubeTensor, words: CubeTensor, layout: Layout) -> CubeTensor {
        product::<Self>(x, Self::widen(words, layout))
    }
}

/// Widens the rows that are listed, or else the layout's.
fn launch(words: CubeTensor, listed: Option<CubeTensor>, layout: Layout) -> CubeTensor {
    let words = cube::dense(words);
    let count = listed.as_ref().map_or(layout.rows, |rows| rows.meta.shape()[0]);
    let out = cube::empty(&words, [count, layout.columns], DType::F32);
    let kind = layout.kind;
    // An invocation widens a word of halves, or four numbers of a block.
    let (shader, each) = match kind {
        BlockType::F16 | BlockType::Bf16 => {
            let shader = Shader::new("widen", srft_shaders::WIDEN);
            (shader.with("bfloat", kind == BlockType::Bf16), 2)
        }
        _ => {
            let shader = Shader::new("widen_blocks", srft_shaders::WIDEN_BLOCKS);
            (shader.with("kind", kind.number()).with("bytes", kind.bytes()), 4)
        }
    };
    let shader = shader.with("listed", listed.is_some());
    let (a_row, all) = (layout.columns / each, count * layout.columns / each);
    let groups = all.div_ceil(WORKGROUP as usize);
    let first = if listed.is_some() { 0 } else { layout.first };
    // The shader names a list in any case; without one it reads nothing from it.
    let rows = listed.unwrap_or_else(|| cube::empty(&words, [1], DType::I32));
    let info = [all, a_row, first].map(|n| n as u32);
    cube::launch(shader, groups, &[&words, &rows, &out], &info);
    out
}
