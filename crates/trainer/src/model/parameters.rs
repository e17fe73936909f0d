//! The list of weights that readers, writers and the optimiser go through.

use burn::tensor::Tensor;

/// A weight, or a block of rows of one, with its name.
pub struct Parameter {
    /// Name in the safetensors file.
    pub name: String,
    /// Shape there.
    pub shape: Vec<usize>,
    /// The block's tensor; vectors are [1, D].
    pub tensor: Tensor<2>,
}

/// A weight to fill or update.
pub struct ParameterMut<'a> {
    /// Name in the safetensors file.
    pub name: String,
    /// Shape there.
    pub shape: Vec<usize>,
    /// First row of the whole tensor that the block holds.
    pub first_row: usize,
    /// Rows and columns of the block.
    pub block_shape: [usize; 2],
    /// The block's tensor.
    pub tensor: &'a mut Tensor<2>,
}

impl From<ParameterMut<'_>> for Parameter {
    fn from(p: ParameterMut) -> Self {
        Self { name: p.name, shape: p.shape, tensor: p.tensor.clone() }
    }
}

/// Appends the blocks of one weight to a list.
pub fn grow<'a>(
    list: &mut Vec<ParameterMut<'a>>,
    name: &str,
    shape: Vec<usize>,
    blocks: impl IntoIterator<Item = &'a mut Tensor<2>>,
) {
    let mut first_row = 0;
    for tensor in blocks {
        let block_shape = tensor.dims();
        list.push(ParameterMut {
            name: name.into(),
            shape: shape.clone(),
            first_row,
            block_shape,
            tensor,
        });
        first_row += block_shape[0];
    }
}
