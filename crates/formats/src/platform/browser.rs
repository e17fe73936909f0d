//! What a tab gets from the browser.

use std::cell::RefCell;
use wasm_bindgen::{JsCast, JsValue};

thread_local! {
    static TINY_WEIGHTS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The weights of the built-in model, which a tab fetches beside the program; empty before
/// [`set_tiny_weights`].
pub fn tiny_weights() -> Vec<u8> {
    TINY_WEIGHTS.with_borrow(Clone::clone)
}

/// Stores the weights that the tab has fetched.
pub fn set_tiny_weights(bytes: Vec<u8>) {
    TINY_WEIGHTS.set(bytes);
}

/// Whether the device that was opened last has subgroups: the worker asks for them and notes it (work.js), since wgpu
/// knows nothing of them in a browser.
pub fn has_subgroups() -> bool {
    js_sys::Reflect::get(&js_sys::global(), &"srftSubgroups".into())
        .is_ok_and(|has| has.is_truthy())
}

/// The vendor, architecture and description of the WebGPU adapter that the browser gives for a preference
/// (`high-performance` or `low-power`), as far as it tells; wgpu passes the description on alone.
pub async fn adapter_name(preference: &str) -> Option<String> {
    let get = |object: &JsValue, key: &str| js_sys::Reflect::get(object, &key.into()).ok();
    let gpu = get(&get(&js_sys::global(), "navigator")?, "gpu")?;
    let request: js_sys::Function = get(&gpu, "requestAdapter")?.dyn_into().ok()?;
    let options = js_sys::Object::new();
    js_sys::Reflect::set(&options, &"powerPreference".into(), &preference.into()).ok()?;
    let promise: js_sys::Promise = request.call1(&gpu, &options).ok()?.dyn_into().ok()?;
    let adapter = wasm_bindgen_futures::JsFuture::from(promise).await.ok()?;
    let info = get(&adapter, "info")?;
    let words = ["vendor", "architecture", "device", "description"]
        .map(|key| get(&info, key).and_then(|v| v.as_string()).unwrap_or_default());
    let words: Vec<String> = words.into_iter().filter(|w| !w.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
