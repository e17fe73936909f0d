//! The launcher of `shaders/widen.wgsl`.

use burn::backend::TensorMetadata;
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::tensor::DType;

use super::{Half, Widen};
use crate::cube::{self, Shader, WORKGROUP};

impl Widen for CubeBackend {
    fn widen(words: CubeTensor, half: Half) -> CubeTensor {
        let words = cube::dense(words);
        let shape = words.shape();
        let (rows, count) = (shape[0], shape.num_elements());
        let out = cube::empty(&words, [rows, 2 * shape[1]], DType::F32);
        let source = srft_shaders::WIDEN;
        let shader = Shader::new("widen", source).with("bfloat", half == Half::Bf16);
        let groups = count.div_ceil(WORKGROUP as usize);
        cube::launch(shader, groups, &[&words, &out], &[count as u32]);
        out
    }
}
