//! Reading numbers back from the device. A readback waits for all work queued before it, so this is the
//! only place that does it (a test looks for others), and it counts them: tests fix how many a stage makes.

use burn::tensor::{Device, Int, Tensor};
use srft_formats::error::{Error, Result};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Readbacks so far on this thread.
pub fn count() -> u64 {
    COUNT.get()
}

/// The elements of a float tensor, row by row.
pub async fn floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    COUNT.set(COUNT.get() + 1);
    let data = tensor.into_data_async().await.map_err(failed)?;
    data.try_into_vec().map_err(failed)
}

/// The elements of an integer tensor, row by row.
pub async fn ints<const D: usize>(tensor: Tensor<D, Int>) -> Result<Vec<i32>> {
    COUNT.set(COUNT.get() + 1);
    let data = tensor.into_data_async().await.map_err(failed)?;
    data.convert::<i32>().try_into_vec().map_err(failed)
}

/// Waits until the device has done all that was queued: for measuring times. A page can't wait so.
pub fn wait(device: &Device) -> Result<()> {
    device.sync().map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::machine(format!("reading back from the device failed: {error}")).next(
        "the device may be lost or out of memory: resume the run, lower train.micro_batch_tokens, \
         or use --device cpu",
    )
}
