//! The launchers of `shaders/widen.wgsl` and `shaders/widen_blocks.wgsl`.

use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::tensor::DType;

use super::{BlockType, Layout, Widen};
use crate::cube::{self, Shader, WORKGROUP};

impl Widen for CubeBackend {
    fn widen(words: CubeTensor, layout: Layout) -> CubeTensor {
        let words = cube::dense(words);
        let out = cube::empty(&words, [layout.rows, layout.columns], DType::F32);
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
        let count = layout.numbers() / each;
        let groups = count.div_ceil(WORKGROUP as usize);
        cube::launch(shader, groups, &[&words, &out], &[count as u32]);
        out
    }
}
