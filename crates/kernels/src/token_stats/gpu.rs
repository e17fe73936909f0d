//! The launchers of `shaders/token_stats.wgsl` and `shaders/token_stats_backward.wgsl`.

use burn::backend::TensorMetadata;
use burn::backend::wgpu::{CubeBackend, CubeTensor};

use super::TokenStatsKernels;
use crate::cube::{self, Shader, WORKGROUP};

impl TokenStatsKernels for CubeBackend {
    fn token_stats_update(
        records: CubeTensor,
        logits: CubeTensor,
        targets: CubeTensor,
        offset: usize,
    ) -> CubeTensor {
        let source = srft_shaders::TOKEN_STATS;
        let (shader, groups, info) = setup("token_stats", source, &logits, offset);
        let (logits, targets, records) =
            (cube::dense(logits), cube::dense(targets), cube::owned(cube::dense(records)));
        cube::launch(shader, groups, &[&logits, &targets, &records], &info);
        records
    }

    fn token_stats_backward(
        logits: CubeTensor,
        targets: CubeTensor,
        records: CubeTensor,
        gradient: CubeTensor,
        offset: usize,
    ) -> CubeTensor {
        let source = srft_shaders::TOKEN_STATS_BACKWARD;
        let (shader, groups, info) = setup("token_stats_backward", source, &logits, offset);
        let logits = cube::owned(cube::dense(logits));
        let [targets, records, gradient] = [targets, records, gradient].map(cube::dense);
        cube::launch(shader, groups, &[&logits, &targets, &records, &gradient], &info);
        logits
    }
}

/// The shader, with as many invocations a row as `columns` can use; its workgroups; its `info`.
fn setup(
    name: &'static str,
    source: &'static str,
    logits: &CubeTensor,
    offset: usize,
) -> (Shader, usize, [u32; 3]) {
    let shape = logits.shape();
    let (rows, columns) = (shape[0], shape[1]);
    let lanes = (columns / 4).next_power_of_two().min(WORKGROUP as usize);
    let groups = rows.div_ceil(WORKGROUP as usize / lanes);
    let shader = Shader::new(name, source).with("lanes", lanes);
    (shader, groups, [rows as u32, columns as u32, offset as u32])
}
