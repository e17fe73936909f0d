//! Subgroups: the invocations of a workgroup that an adapter runs together, and whether sums go by them.

use super::Adapter;
use crate::platform::{IS_PAGE, has_subgroups};
use burn::tensor::wgpu::wgpu::Features;

/// Whether sums over workgroups go by the adapter's subgroups; of a page's, once a device of it is open.
pub(super) fn used(adapter: &Adapter) -> bool {
    let Some((_, handle)) = &adapter.handle else { return false };
    let offered = match IS_PAGE {
        true => has_subgroups(),
        false => handle.features().contains(Features::SUBGROUP),
    };
    let info = handle.get_info();
    let sizes = [info.subgroup_min_size, info.subgroup_max_size];
    offered && sizes.iter().all(|size| (4..=128).contains(size))
}
