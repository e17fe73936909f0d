//! Bytes that a device holds for us.

use crate::platform::peak_memory_bytes;
use burn::backend::wgpu::CubeBackend;
use burn::cubecl::MemoryScope;
use burn::tensor::{Device, Tensor};

/// Most bytes so far: what burn holds on a GPU, where its pools only grow; of the process on the CPU.
pub fn peak_bytes(device: &Device) -> Option<u64> {
    match Tensor::<1>::zeros([1], device).try_into_primitive::<CubeBackend>() {
        Ok(tensor) => Some(tensor.client.memory_report(MemoryScope::Device).usage().bytes_reserved),
        Err(_) => peak_memory_bytes(),
    }
}

/// Gives back what a GPU holds for nothing, so that the next part has room.
pub fn clean(device: &Device) {
    if let Ok(tensor) = Tensor::<1>::zeros([1], device).try_into_primitive::<CubeBackend>() {
        // What isn't given back now is used again.
        let _ = tensor.client.memory_cleanup();
    }
}
