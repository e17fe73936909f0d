//! Attention over packed batches, forward and backward, against plain loops in f64 and burn's own operations.

use crate::backends::{compare, devices, floats};
use burn::tensor::{Device, Tensor, TensorData};
use srft::model::Scaling;
use srft::ops::attention::reference::Setting;
use srft::ops::attention::{self, AttentionShape, Packing, Places, Rope, Tree, attention};
use srft::random::Stream;

const THETA: f64 = 10_000.0;
const FORWARD: f64 = 6e-5;
const BACKWARD: f64 = 1e-4;
/// No window.
const ALL: usize = usize::MAX;

/// Numbers exact in f32.
fn random(count: usize, spread: f64, stream: &mut Stream) -> Vec<f64> {
    (0..count).map(|_| f64::from((f64::from(stream.normal()) * spread) as f32)).collect()
}

fn on(device: &Device, values: &[f64], width: usize) -> Tensor<2> {
    let rows = values.len() / width;
    let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(values, [rows, width]), device)
}

/// The software or hardware GPU; none where only the CPU is tested.
fn gpus() -> Vec<(&'static str, Device)> {
    devices().into_iter().filter(|(name, _)| *name != "flex").collect()
}

/// A packed batch for attention: its numbers, and ∂L/∂out.
struct Case {
    packing: Packing,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    window: usize,
    qkv: [Vec<f64>; 3],
    upstream: Vec<f64>,
}

/// A tree's prompt and branches; no branches where it is a sequence alone.
fn tree(prompt: usize, branches: &[usize]) -> Tree {
    Tree { prompt, branches: branches.to_vec() }
}

impl Case {
    fn new(
        trees: &[Tree],
        [heads, kv_heads, head_dim]: [usize; 3],
        window: usize,
        spread: f64,
    ) -> Self {
        let packing = Packing { trees: trees.to_vec() };
        let mut stream = Stream::new(21, 1, packing.rows() as u32);
        let mut of =
            |heads: usize, spread| random(packing.rows() * heads * head_dim, spread, &mut stream);
        let qkv = [of(heads, spread), of(kv_heads, spread), of(kv_heads, 1.0)];
        let upstream = of(heads, 1.0);
        Self { packing, heads, kv_heads, head_dim, window, qkv, upstream }
    }

    fn widths(&self) -> [usize; 3] {
        [self.heads, self.kv_heads, self.kv_heads].map(|heads| heads * self.head_dim)
    }

    fn shape(&self) -> AttentionShape {
        let Self { heads, kv_heads, head_dim, .. } = *self;
        AttentionShape { heads, kv_heads, head_dim }
    }

    fn places(&self, device: &Device) -> Places {
        Places::new(self.packing.clone(), device)
    }

    fn rope(&self, device: &Device) -> Rope {
        let positions = self.packing.positions() + 3;
        Rope::new(positions, self.head_dim, THETA, Scaling::None, device).within(self.window)
    }

    /// Output and gradients by q, k and v of `attend`.
    fn run(&self, device: &Device, attend: impl Fn([Tensor<2>; 3]) -> Tensor<2>) -> [Vec<f32>; 4] {
        let device = device.clone().autodiff();
        let widths = self.widths();
        let qkv = [0, 1, 2].map(|i| on(&device, &self.qkv[i], widths[i]).require_grad());
        // So that what isn't written isn't a number.
        for _ in 0..4 {
            let poison = Tensor::<1>::full([self.upstream.len()], f32::NAN, &device);
            floats(poison.inner());
        }
        let out = attend(qkv.clone());
        let grads = (out.clone() * on(&device, &self.upstream, widths[0])).sum().backward();
        let [q, k, v] = qkv.map(|x| floats(x.grad(&grads).expect("a gradient")));
        [floats(out.inner()), q, k, v]
    }

    fn ours(&self, device: &Device) -> [Vec<f32>; 4] {
        let (places, rope) = (self.places(device), self.rope(device));
        self.run(device, |[q, k, v]| attention(q, k, v, self.shape(), &places, &rope))
    }

    fn expected(&self) -> [Vec<f64>; 4] {
        let (packing, window) = (&self.packing, self.window);
        let setting = Setting { packing, head_dim: self.head_dim, window, theta: THETA };
        let qkv = self.qkv.each_ref().map(|x| &x[..]);
        let [q, k, v] = setting.backward(qkv, &self.upstream);
        [setting.forward(qkv), q, k, v]
    }

    fn check(&self) {
        let Self { packing, heads, kv_heads, head_dim, window, .. } = self;
        let what = format!("{heads}/{kv_heads} heads of {head_dim} within {window}, {packing:?}");
        let expected = self.expected();
        for (backend, device) in gpus() {
            let got = self.ours(&device);
            let tolerances = [FORWARD, BACKWARD, BACKWARD, BACKWARD];
            let names = ["out", "∂q", "∂k", "∂v"];
            for (((got, want), tolerance), name) in
                got.iter().zip(&expected).zip(tolerances).zip(names)
            {
                compare(&format!("{name} on {backend}, {what}"), got, want, tolerance).unwrap();
            }
            // The same numbers every time, and the same output where no gradient is wanted.
            assert_eq!(self.ours(&device), got, "again: {what}");
            let widths = self.widths();
            let [q, k, v] = [0, 1, 2].map(|i| on(&device, &self.qkv[i], widths[i]));
            let (places, rope) = (self.places(&device), self.rope(&device));
            let plain = attention(q, k, v, self.shape(), &places, &rope);
            assert_eq!(floats(plain), got[0], "without autodiff: {what}");
        }
    }
}

/// Sequences alone and trees: one row, lengths around a tile's 32, a prompt without branches, branches of one row and none.
fn mixed() -> Vec<Tree> {
    vec![
        tree(1, &[]),
        tree(31, &[1]),
        tree(32, &[32, 5]),
        tree(33, &[3, 0, 1, 40]),
        tree(0, &[2]),
        tree(65, &[]),
    ]
}

#[test]
fn every_layout_matches_the_reference() {
    Case::new(&mixed(), [4, 2, 32], ALL, 1.0).check();
    Case::new(&[tree(1, &[])], [1, 1, 32], ALL, 1.0).check();
    // Peaky: scores far apart, so that a wrong maximum or mask shows.
    Case::new(&mixed(), [6, 2, 32], ALL, 2.5).check();
}

/// Windows within a tile, at its border and beyond, that leave rows of the prompt and whole prompts behind.
#[test]
fn windows_match_the_reference() {
    for window in [1, 5, 32, 33, 70] {
        Case::new(&mixed(), [3, 1, 32], window, 1.5).check();
    }
    Case::new(&[tree(130, &[40, 90])], [2, 1, 32], 64, 1.0).check();
}

/// Whole and broken slabs of a head's vectors, each number of lines a thread takes, and groups of any size.
#[test]
fn every_width_of_a_head_matches_the_reference() {
    let trees = [tree(37, &[6, 1]), tree(20, &[])];
    for (heads, kv_heads, head_dim) in
        [(2, 2, 4), (5, 1, 12), (9, 3, 64), (2, 1, 80), (3, 3, 96), (4, 2, 128), (4, 1, 256)]
    {
        Case::new(&trees, [heads, kv_heads, head_dim], ALL, 1.0).check();
    }
}

/// A row's output has the same bits alone as among others, with its prompt's rows shared or its own.
#[test]
fn a_row_does_not_depend_on_its_neighbours() {
    for (_, device) in gpus() {
        let among =
            Case::new(&[tree(9, &[]), tree(40, &[7, 33]), tree(3, &[1])], [4, 2, 32], ALL, 1.0);
        // The second tree's second branch with its prompt.
        let rows: Vec<usize> = (9..49).chain(56..89).collect();
        let widths = among.widths();
        let picked = |x: &[f64], width: usize| -> Vec<f64> {
            rows.iter().flat_map(|&row| &x[row * width..][..width]).copied().collect()
        };
        let [q, k, v] = [0, 1, 2].map(|i| picked(&among.qkv[i], widths[i]));
        let upstream = picked(&among.upstream, widths[0]);
        let alone = Case { qkv: [q, k, v], upstream, packing: Packing::apart([73]), ..among };
        let among =
            Case::new(&[tree(9, &[]), tree(40, &[7, 33]), tree(3, &[1])], [4, 2, 32], ALL, 1.0);
        let [many, by_q, ..] = among.ours(&device);
        let [one, one_by_q, ..] = alone.ours(&device);
        for (many, one) in [(many, one), (by_q, one_by_q)] {
            let of_rows = rows.iter().flat_map(|&row| &many[row * widths[0]..][..widths[0]]);
            assert_eq!(of_rows.copied().collect::<Vec<_>>(), one);
        }
    }
}

/// Every element of every gradient against burn's own autodiff of burn's own operations.
#[test]
fn gradients_match_burns_own() {
    let case = Case::new(&[tree(45, &[7, 40]), tree(45, &[])], [6, 3, 20], 18, 1.5);
    for (backend, device) in gpus() {
        let (places, rope) = (case.places(&device), case.rope(&device));
        let stock = |[q, k, v]: [_; 3]| attention::stock(q, k, v, case.shape(), &places, &rope);
        let stock = case.run(&device, stock);
        for (i, (got, stock)) in case.ours(&device).iter().zip(&stock).enumerate() {
            let stock: Vec<f64> = stock.iter().map(|&x| f64::from(x)).collect();
            compare(&format!("{backend}, {i}"), got, &stock, BACKWARD).unwrap();
        }
    }
}
