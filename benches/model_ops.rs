//! scratch: flex gemm rates
use burn::tensor::{Device, Distribution, Tensor};
use std::time::Instant;
fn best(mut f: impl FnMut()) -> f64 { f(); (0..15).map(|_| { let t = Instant::now(); f(); t.elapsed().as_secs_f64() }).fold(f64::MAX, f64::min) }
fn main() {
    let d = Device::flex();
    let r = |a: usize, b: usize| Tensor::<2>::random([a, b], Distribution::Default, &d);
    for (k, n) in [(128, 128), (128, 320), (320, 128), (128, 384), (128, 640)] {
        let m = 8640;
        let (x, w, dy) = (r(m, k), r(n, k), r(m, n));
        let wt = r(k, n);
        let fl = 2.0 * (m * n * k) as f64 / 1e9;
        let a = best(|| { std::hint::black_box(x.clone().matmul(w.clone().transpose())); });
        let b = best(|| { std::hint::black_box(x.clone().matmul(wt.clone())); });
        let c = best(|| { std::hint::black_box(dy.clone().matmul(w.clone())); });
        let e = best(|| { std::hint::black_box(dy.clone().transpose().matmul(x.clone())); });
        let g = best(|| { std::hint::black_box(x.clone().transpose().matmul(dy.clone())); });
        let z = best(|| { std::hint::black_box(Tensor::<2>::zeros([m, n], &d)); });
        let y2 = best(|| { std::hint::black_box(dy.clone() + dy.clone()); });
        println!("K{k} N{n}: y=x·wT {:.1} | x·wt {:.1} | dx=dy·w {:.1} | dw=dyT·x {:.1} | dwT=xT·dy {:.1} GFLOP/s; zeros {:.2} ms add {:.2} ms", fl/a, fl/b, fl/c, fl/e, fl/g, z*1e3, y2*1e3);
    }
}
