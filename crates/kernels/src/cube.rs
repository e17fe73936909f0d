//! Launching a WGSL shader on burn's wgpu backend: one workgroup layout, buffers in binding order.

use burn::backend::wgpu::{
    CubeBackend, CubeDim, CubeTensor, KernelSource, SourceKernel, SourceTemplate, into_contiguous,
};
use burn::backend::{DispatchDevice, GradientCheckpointingStrategy};
use burn::cubecl::prelude::{CubeCount, ExecutionMode, KernelId};
use burn::cubecl::server::{KernelArguments, MetadataBindingInfo};
use burn::tensor::kind::Basic;
use burn::tensor::{BackendPrimitive, DType, Device, Shape, Tensor};
use srft_formats::platform::IS_PAGE;
use std::borrow::Cow;

/// Invocations in a workgroup unless a shader says otherwise: within WebGPU's default limit of 256.
pub const WORKGROUP: u32 = 256;

/// Whether a device is a GPU that burn's kernels run on, with or without plain autodiff.
pub fn runs_on(device: &Device) -> bool {
    matches!(under_autodiff(device), DispatchDevice::Cube(_))
}

/// The device that computes for one with plain autodiff; any other as it is: under gradient checkpointing no
/// gradient of ours is recorded.
pub(crate) fn under_autodiff(device: &Device) -> &DispatchDevice {
    match device.as_dispatch() {
        DispatchDevice::Autodiff(autodiff)
            if autodiff.gradient_checkpointing_strategy()
                == GradientCheckpointingStrategy::Disabled =>
        {
            autodiff
        }
        device => device,
    }
}

/// What a GPU's tensor holds.
pub trait OnGpu: Basic + BackendPrimitive<CubeBackend, Primitive = CubeTensor> {}

impl<K: Basic + BackendPrimitive<CubeBackend, Primitive = CubeTensor>> OnGpu for K {}

/// A GPU's tensor, outside of autodiff, for a shader: dense.
///
/// # Panics
/// If it is on another device.
pub fn buffer<const D: usize, K: OnGpu>(x: Tensor<D, K>) -> CubeTensor {
    dense(x.try_into_primitive::<CubeBackend>().expect("a tensor of the GPU"))
}

/// What a shader wrote, as a tensor.
pub fn tensor<const D: usize, K: OnGpu>(x: CubeTensor) -> Tensor<D, K> {
    Tensor::from_primitive::<CubeBackend>(x)
}

/// A shader with its template parameters; name and parameters are the pipeline's cache key.
#[derive(Debug, Clone)]
pub struct Shader {
    /// The file's stem in `shaders/`.
    pub name: &'static str,
    /// The WGSL text.
    pub source: &'static str,
    /// Invocations in a workgroup, for the placeholder `{{ workgroup }}`.
    pub workgroup: u32,
    /// The other `{{ name }}` placeholders and their values.
    pub parameters: Vec<(&'static str, String)>,
    /// Whether what stands for `{{ sums }}` goes by subgroups.
    pub by_subgroups: bool,
}

impl Shader {
    /// A shader of [`WORKGROUP`] invocations without other parameters.
    pub fn new(name: &'static str, source: &'static str) -> Self {
        Self { name, source, workgroup: WORKGROUP, parameters: Vec::new(), by_subgroups: false }
    }

    /// For a shader that sums over whole workgroups: by subgroups, where the device adds so (`adapter::subgroups`).
    #[must_use]
    pub fn adding(mut self, by_subgroups: bool) -> Self {
        self.by_subgroups = by_subgroups;
        self
    }

    /// Adds a template parameter.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.parameters.push((name, value.to_string()));
        self
    }
}

impl KernelSource for Shader {
    fn source(&self) -> SourceTemplate {
        let sums = match self.by_subgroups {
            true => srft_shaders::SUMS_BY_SUBGROUPS,
            false => srft_shaders::SUMS,
        };
        // Browsers need this line; natively it is an error.
        let enables = if self.by_subgroups && IS_PAGE { "enable subgroups;\n" } else { "" };
        let source = format!("{enables}{}", self.source.replace("{{ sums }}", sums));
        let template =
            SourceTemplate::new(source).register("workgroup", self.workgroup.to_string());
        self.parameters.iter().fold(template, |t, (k, v)| t.register(*k, v.clone()))
    }

    fn id(&self) -> KernelId {
        // The name stands for the text. Unchecked: all our loops end, so the compiler need not
        // count their turns, which keeps drivers from unrolling them.
        let key = (self.name, self.workgroup, self.parameters.clone(), self.by_subgroups);
        KernelId::new::<Self>().mode(ExecutionMode::Unchecked).info(key)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// Runs `shader` on `groups` workgroups with `buffers` bound in order (binding 0, 1, …), all
/// `read_write` since burn's allocator shares pages, then `info`, the words of a uniform struct.
///
/// A uniform of the same words is not written again, and writing one ends no batch of dispatches.
/// So what differs from step to step belongs in a tensor, best in one that is already on the GPU.
///
/// WebGPU allows 65,535 workgroups a dimension, so the grid folds into (x, y); a shader finds its
/// index as `workgroup_id.y * num_workgroups.x + workgroup_id.x` and must guard against overshoot.
pub fn launch(shader: Shader, groups: usize, buffers: &[&CubeTensor], info: &[u32]) {
    if groups == 0 {
        return;
    }
    let client = buffers[0].client.clone();
    let y = groups.div_ceil(65_535);
    let count = CubeCount::Static(groups.div_ceil(y) as u32, y as u32, 1);
    let bindings = buffers.iter().map(|t| t.handle.clone().binding()).collect();
    // OpenGL takes uniforms in pieces of 16 bytes.
    let pieces = info.chunks(4).flat_map(|words| {
        let mut piece = [0u32; 4];
        piece[..words.len()].copy_from_slice(words);
        bytemuck::cast::<_, [u64; 2]>(piece)
    });
    let info = MetadataBindingInfo::custom(pieces.collect());
    let workgroup = CubeDim::new_1d(shader.workgroup);
    client.launch(
        Box::new(SourceKernel::new(shader, workgroup)),
        count,
        KernelArguments::new().with_buffers(bindings).with_info(info),
    );
}

/// Words for a shader to read that are too many for its `info`, or seldom the same, on `like`'s device.
pub fn upload(like: &CubeTensor, words: &[u32]) -> CubeTensor {
    let handle = like.client.create_from_slice(bytemuck::cast_slice(words));
    let (client, device) = (like.client.clone(), like.device.clone());
    CubeTensor::new_contiguous(client, device, Shape::new([words.len()]), handle, DType::U32)
}

/// An uninitialised tensor on `like`'s device.
pub fn empty(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    let shape = shape.into();
    let handle = like.client.empty(shape.num_elements() * dtype.size());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, dtype)
}

/// What is bound where a shader reads nothing: natively any buffer will do, and this is `other`. WebGPU refuses a
/// buffer that stands twice where it may be written.
pub fn unread(other: &CubeTensor) -> Cow<'_, CubeTensor> {
    match IS_PAGE {
        true => Cow::Owned(empty(other, [4], DType::F32)), // one vector, the least that shaders declare
        false => Cow::Borrowed(other),
    }
}

/// A tensor that a shader may overwrite: this one if its buffer is not shared, else a copy.
pub fn owned(tensor: CubeTensor) -> CubeTensor {
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// A dense copy of `tensor` if it is a view.
pub fn dense(tensor: CubeTensor) -> CubeTensor {
    into_contiguous(tensor)
}
