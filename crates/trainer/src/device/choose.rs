//! Which adapter `--device` names.

use super::{Adapter, Kind};
use crate::error::{Error, Result};

/// Chooses by `--device`: auto, cpu, an API, an index, or part of a name.
///
/// `auto` chooses a real GPU (discrete before integrated before virtual), else the CPU backend: a
/// software adapter would compute on the same cores, several times slower. In a page `auto` and `webgpu` are the
/// faster of two GPUs, and `webgpu-saving` is the other.
pub fn choose<'a>(wanted: &str, list: &'a [Adapter]) -> Result<(&'a Adapter, String)> {
    let rank = |a: &&Adapter| match a.kind {
        Kind::Discrete => 0,
        Kind::Integrated => 1,
        Kind::Virtual => 2,
        Kind::Software => 3,
        Kind::Cpu => 4,
    };
    let lower = wanted.to_lowercase();
    let cpu = &list[0];
    match lower.as_str() {
        "auto" => Ok(match list.iter().filter(|a| a.kind.is_gpu()).min_by_key(rank) {
            Some(gpu) => (gpu, format!("the first {} found", gpu.kind.name())),
            None if list.len() > 1 => {
                (cpu, "no GPU found; a software adapter is taken only when named".into())
            }
            None => (cpu, "no GPU found".into()),
        }),
        "cpu" => Ok((cpu, "as asked".into())),
        "vulkan" | "metal" | "dx12" | "gl" | "webgpu" => {
            let found = list.iter().filter(|a| a.backend == lower).min_by_key(rank);
            found.map(|a| (a, "as asked".into())).ok_or_else(|| {
                Error::machine(format!("no {lower} adapter on this machine"))
                    .at("--device")
                    .next(install_hint(&lower))
            })
        }
        SAVING => {
            let second = list.iter().filter(|a| a.backend == "webgpu").nth(1);
            second.map(|a| (a, "the GPU that saves power, as asked".into())).ok_or_else(|| {
                Error::machine("the browser tells of no second GPU that would save power")
                    .at("--device")
                    .next("use --device auto")
            })
        }
        _ => {
            let found = match wanted.parse::<usize>() {
                Ok(index) => list.get(index),
                Err(_) => list.iter().find(|a| a.name.to_lowercase().contains(&lower)),
            };
            found.map(|a| (a, "as asked".into())).ok_or_else(|| {
                Error::input(format!("no adapter has the index or name `{wanted}`"))
                    .at("--device")
                    .next("`srft devices` lists them; auto and cpu always work")
            })
        }
    }
}

/// The second GPU of a page's machine.
const SAVING: &str = "webgpu-saving";

fn install_hint(api: &str) -> &'static str {
    match api {
        "vulkan" => {
            "install the GPU's Vulkan driver (on Debian: libvulkan1 and mesa-vulkan-drivers, which \
             also bring a software adapter), or use --device auto"
        }
        "metal" => "Metal is on macOS and iOS only; use --device auto",
        "dx12" => "DirectX 12 is on Windows only; use --device auto",
        "webgpu" => {
            "use a browser with WebGPU switched on and a GPU that it allows (only over https or on \
             localhost), or use the CPU"
        }
        _ => {
            "install the GPU's OpenGL driver (and without a desktop session set XDG_RUNTIME_DIR to \
             a folder), or use --device auto"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cpu;
    use super::*;

    fn adapter(index: usize, name: &str, backend: &str, kind: Kind) -> Adapter {
        Adapter { index, name: name.into(), backend: backend.into(), kind, ..cpu() }
    }

    #[test]
    fn auto_takes_a_gpu_else_the_cpu_and_software_only_when_named() {
        let mut list = vec![cpu(), adapter(1, "llvmpipe (LLVM 15)", "vulkan", Kind::Software)];
        let pick = |wanted: &str, list: &[Adapter]| choose(wanted, list).map(|(a, _)| a.index);
        assert_eq!(pick("auto", &list).unwrap(), 0);
        assert_eq!(pick("vulkan", &list).unwrap(), 1);
        assert_eq!(pick("LLVMpipe", &list).unwrap(), 1);
        list.push(adapter(2, "Iris Xe", "vulkan", Kind::Integrated));
        list.push(adapter(3, "Radeon RX 7600", "vulkan", Kind::Discrete));
        assert_eq!(pick("auto", &list).unwrap(), 3);
        assert_eq!(pick("vulkan", &list).unwrap(), 3);
        assert_eq!(pick("iris", &list).unwrap(), 2);
        assert_eq!(pick("2", &list).unwrap(), 2);
        assert_eq!(pick("cpu", &list).unwrap(), 0);
        for (wanted, words) in
            [("dx12", "Windows only"), ("9", "srft devices"), ("arc", "srft devices")]
        {
            let message = choose(wanted, &list).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn a_page_takes_the_faster_of_two_gpus_and_the_other_when_named() {
        let mut list = vec![cpu(), adapter(1, "nvidia ampere", "webgpu", Kind::Integrated)];
        let error = choose("webgpu-saving", &list).unwrap_err().to_string();
        assert!(error.contains("no second GPU") && error.contains("--device auto"), "{error}");
        list.push(adapter(2, "intel gen-12lp", "webgpu", Kind::Integrated));
        for (wanted, index) in [("auto", 1), ("webgpu", 1), ("webgpu-saving", 2), ("intel", 2)] {
            assert_eq!(choose(wanted, &list).unwrap().0.index, index, "{wanted}");
        }
    }
}
