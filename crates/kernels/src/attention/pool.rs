//! A cache's keys and values on a GPU: slots, one a position, that a table shares out among the rows.

use burn::tensor::kind::Basic;
use burn::tensor::{Int, Tensor};
use srft_formats::packing::Packing;
use srft_formats::platform::Native;

/// In F32 or in F16, which a page does without.
#[derive(Debug, Clone)]
pub enum Both<A, B> {
    F32(A),
    F16(B, Native),
}

impl<A, B> Both<A, B> {
    /// The same done to it, in whichever form.
    pub fn map(self, on_f32: impl FnOnce(A) -> A, on_f16: impl FnOnce(B) -> B) -> Self {
        match self {
            Self::F32(it) => Self::F32(on_f32(it)),
            Self::F16(it, native) => Self::F16(on_f16(it), native),
        }
    }

    /// Of two, one after the other.
    pub fn join(
        self,
        other: Self,
        f32s: impl FnOnce(A, A) -> A,
        f16s: impl FnOnce(B, B) -> B,
    ) -> Self {
        match (self, other) {
            (Self::F32(it), Self::F32(more)) => Self::F32(f32s(it, more)),
            (Self::F16(it, native), Self::F16(more, _)) => Self::F16(f16s(it, more), native),
            _ => panic!("caches of one type"),
        }
    }
}

/// The rows' slots.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Keys and values, [slots, Hkv·dh], or two numbers a word of F16. Slots without a position hold finite numbers, so that
    /// a weight of 0 cancels them.
    pub past: Both<[Tensor<2>; 2], [Tensor<2, Int>; 2]>,
    /// Where each row's positions are.
    pub places: Vec<Place>,
    /// What the shader reads of them and counts for itself, as long as the rows stay the same.
    pub table: Option<Tensor<1, Int>>,
}

/// A row's first slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Of its prompt; other rows may have the same.
    pub prompt: usize,
    /// Of the positions after it.
    pub own: usize,
}

impl Pool {
    /// A row for each branch of a packed pass, of whose rows `past` has the keys and values, with room for `room` positions.
    pub fn of(
        past: Both<[Tensor<2>; 2], [Tensor<2, Int>; 2]>,
        packing: &Packing,
        room: usize,
    ) -> Self {
        let (mut places, mut lengths, mut shared) = (Vec::new(), Vec::new(), Vec::new());
        for (start, tree) in packing.placed() {
            let mut own = start + tree.prompt;
            for &count in &tree.branches {
                places.push(Place { prompt: start, own });
                shared.push(tree.prompt as u32);
                lengths.push((tree.prompt + count) as u32);
                own += count;
            }
        }
        Self { past, places, table: None }.laid_out([&lengths, &shared], room)
    }

    /// The same rows in slots of which none is idle, with room for `room` positions each after their prompts. The rows of
    /// a prompt lie side by side.
    pub fn laid_out(self, [lengths, shared]: [&[u32]; 2], room: usize) -> Self {
        let mut from: Vec<i32> = Vec::new();
        let mut places: Vec<Place> = Vec::with_capacity(self.places.len());
        let sizes = lengths.iter().zip(shared).map(|(&n, &shared)| [n - shared, shared]);
        let mut before = None;
        for (&old, [own, shared]) in self.places.iter().zip(sizes) {
            let slots = |first: usize, count: u32| first as i32..(first as i32 + count as i32);
            let prompt = match (before, places.last()) {
                (Some(same), Some(last)) if same == (old.prompt, shared) => last.prompt,
                _ => {
                    from.extend(slots(old.prompt, shared));
                    from.len() - shared as usize
                }
            };
            before = Some((old.prompt, shared));
            places.push(Place { prompt, own: from.len() });
            from.extend(slots(old.own, own));
            from.extend(std::iter::repeat_n(0, room - own as usize)); // any number
        }
        let past = self.past.map(|x| x.map(|x| picked(x, &from)), |x| x.map(|x| picked(x, &from)));
        Self { past, places, table: None }
    }

    /// The rows of both, those of `self` first.
    pub fn join(mut self, other: Self) -> Self {
        let slots = match &self.past {
            Both::F32([keys, _]) => keys.dims()[0],
            Both::F16([keys, _], _) => keys.dims()[0],
        };
        let moved = |place: Place| Place { prompt: place.prompt + slots, own: place.own + slots };
        self.places.extend(other.places.into_iter().map(moved));
        let past = self.past.join(other.past, in_turn, in_turn);
        Self { past, places: self.places, table: None }
    }

    /// The table: each row's length `each` times, and then where it has what, three words a row.
    pub fn words(&self, [lengths, shared]: [&[u32]; 2], each: usize) -> Vec<i32> {
        let counted = lengths.iter().flat_map(|&n| std::iter::repeat_n(n as i32, each));
        let of_row = |(place, &shared): (&Place, &u32)| {
            // The slot of a position t is the second word + t, or the third's.
            [shared as i32, place.prompt as i32, place.own as i32 - shared as i32]
        };
        counted.chain(self.places.iter().zip(shared).flat_map(of_row)).collect()
    }
}

fn picked<K: Basic>(x: Tensor<2, K>, rows: &[i32]) -> Tensor<2, K> {
    let rows = Tensor::<1, Int>::from_ints(rows, &x.device());
    x.select(0, rows)
}

fn in_turn<K: Basic>(old: [Tensor<2, K>; 2], new: [Tensor<2, K>; 2]) -> [Tensor<2, K>; 2] {
    let ([k, v], [more_k, more_v]) = (old, new);
    [(k, more_k), (v, more_v)].map(|(old, new)| Tensor::cat(vec![old, new], 0))
}
