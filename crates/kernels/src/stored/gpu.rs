//! The launchers of `shaders/widen.wgsl` and `shaders/widen_blocks.wgsl`.

use burn::backend::ops::IntTensorOps;
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::tensor::{DType, TensorData};

use super::{BlockType, Layout, StoredLinear, Widen};
use crate::cube::{self, Shader, WORKGROUP};
use crate::matmul::product;

impl Widen for CubeBackend {
    fn widen(words: CubeTensor, layout: Layout) -> CubeTensor {
        let first = TensorData::new(vec![layout.first as i32], [1]);
        let first = Self::int_from_data(first, &words.device);
        launch(words, first, layout, None)
    }

    fn widen_rows(words: CubeTensor, rows: CubeTensor, layout: Layout) -> CubeTensor {
        let rows = cube::dense(rows);
        let count = rows.meta.shape()[0];
        launch(words, rows, layout, Some(count))
    }
}

impl StoredLinear for CubeBackend {
    fn stored_linear(x: CubeTensor, words: CubeTensor, layout: Layout) -> CubeTensor {
        product::<Self>(x, Self::widen(words, layout))
    }
}

/// Widens the rows that `rows` lists, or the layout's, of which it has the first.
fn launch(
    words: CubeTensor,
    rows: CubeTensor,
    layout: Layout,
    listed: Option<usize>,
) -> CubeTensor {
    let words = cube::dense(words);
    let count = listed.unwrap_or(layout.rows);
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
            let shader = shader.with("kind", kind.number());
            (shader.with("elements", kind.elements()).with("bytes", kind.bytes()), 4)
        }
    };
    let shader = shader.with("listed", listed.is_some());
    let (a_row, all) = (layout.columns / each, count * layout.columns / each);
    let groups = all.div_ceil(WORKGROUP as usize);
    cube::launch(shader, groups, &[&words, &rows, &out], &[all as u32, a_row as u32]);
    out
}
