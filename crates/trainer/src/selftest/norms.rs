//! The norm of rows as wide as a workgroup, and its gradient.

use super::{BACKWARD, Checks, FORWARD, peaky, wide};
use crate::error::{Error, Result};
use crate::ops::readback::floats as read;
use crate::ops::rms_norm::{reference, rms_norm};

impl<F: FnMut(&str, &mut Vec<f32>)> Checks<F> {
    pub(super) async fn norms(&mut self) -> Result<()> {
        const WIDTH: usize = 603;
        const EPSILON: f64 = 1e-5;
        let rows = 3;
        let (x, weight, upstream) = (peaky(rows * WIDTH, 50), peaky(WIDTH, 51), peaky(WIDTH, 52));
        self.poison(&[rows, rows * WIDTH, rows * WIDTH]).await?;
        let on = self.floats(&x, [rows, WIDTH]).autodiff().require_grad();
        let y = rms_norm(on.clone(), self.floats(&weight, [WIDTH]).autodiff(), EPSILON as f32);
        let [x, weight, upstream_f64] = [&x, &weight, &upstream].map(|values| wide(values));
        let expected = reference::rms_norm(&x, &weight, EPSILON);
        self.compare("norm", read(y.clone()).await?, &expected, FORWARD);

        let loss = (y * self.floats(&upstream, [1, WIDTH]).autodiff()).sum();
        let gradient = on.grad(&loss.backward());
        let gradient = gradient.ok_or_else(|| Error::numbers("the norm has no gradient"))?;
        let of_row = |x: &[f64]| {
            let mean = x.iter().map(|x| x * x).sum::<f64>() / WIDTH as f64;
            let scale = 1.0 / (mean + EPSILON).sqrt();
            let above = upstream_f64.iter().zip(&weight).map(|(u, w)| u * w);
            let pull = above.clone().zip(x).map(|(a, x)| a * x).sum::<f64>() / WIDTH as f64;
            let pull = pull * scale.powi(3);
            above.zip(x).map(|(a, x)| a * scale - x * pull).collect::<Vec<f64>>()
        };
        let expected: Vec<f64> = x.chunks(WIDTH).flat_map(of_row).collect();
        self.compare("norm_backward", read(gradient).await?, &expected, BACKWARD);
        Ok(())
    }
}
