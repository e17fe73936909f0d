//! The adapters that wgpu finds, and their names.

use crate::platform::{IS_PAGE, adapter_name};
use burn::tensor::wgpu::wgpu;

type Found = (wgpu::Instance, Vec<(wgpu::Adapter, String)>);

/// Every adapter, with the instance that it belongs to. Without a desktop session Mesa's EGL writes to standard error
/// whenever it is asked, so there OpenGL is tried only if nothing else is found.
pub(super) async fn found() -> Found {
    if IS_PAGE {
        return in_page().await;
    }
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(std::path::PathBuf::from);
    if cfg!(target_os = "linux") && !session.is_some_and(|folder| folder.is_dir()) {
        let found = of(wgpu::Backends::all() - wgpu::Backends::GL).await;
        if !found.1.is_empty() {
            return found;
        }
    }
    of(wgpu::Backends::all()).await
}

fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    let descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    wgpu::Instance::new(wgpu::InstanceDescriptor { backends, ..descriptor })
}

async fn of(backends: wgpu::Backends) -> Found {
    let instance = instance(backends);
    let named = |handle: wgpu::Adapter| {
        let name = Some(handle.get_info().name).filter(|name| !name.is_empty());
        (handle, name.unwrap_or_else(|| "unnamed".into()))
    };
    let handles = instance.enumerate_adapters(backends).await;
    (instance, handles.into_iter().map(named).collect())
}

/// A browser gives one adapter, which on a laptop with two GPUs is often the slower. Asked for each it gives both: the
/// fast one comes first, and the other only if the browser tells something else of it.
async fn in_page() -> Found {
    use wgpu::PowerPreference::{HighPerformance, LowPower};
    let instance = instance(wgpu::Backends::BROWSER_WEBGPU);
    let mut list: Vec<(wgpu::Adapter, String)> = Vec::new();
    for (power_preference, word) in [(HighPerformance, "high-performance"), (LowPower, "low-power")]
    {
        let options = wgpu::RequestAdapterOptions { power_preference, ..Default::default() };
        let Ok(handle) = instance.request_adapter(&options).await else { continue };
        let name = adapter_name(word).await.unwrap_or_else(|| "unnamed".into());
        if list.iter().all(|(_, known)| *known != name) {
            list.push((handle, name));
        }
    }
    (instance, list)
}
