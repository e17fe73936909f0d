//! Every file in `shaders/`: valid for a browser, translatable to what native drivers take, within
//! WebGPU's default limits, and documented. All failures come in one message.

use std::fs;

use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::BoundsCheckPolicies;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};

use crate::root;

/// WebGPU's default limits (maxStorageBuffersPerShaderStage, maxComputeWorkgroupStorageSize,
/// maxComputeInvocationsPerWorkgroup).
const MAX_STORAGE: usize = 8;
const MAX_WORKGROUP_BYTES: u32 = 16 << 10;
const MAX_INVOCATIONS: u32 = 256;

/// Where a shader has its way to sum.
const SUMS: &str = "{{ sums }}";

/// A file of `shaders/include/`.
fn include(name: &str) -> String {
    let path = root().join(format!("shaders/include/{name}.wgsl"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What a shader for matrix units enables.
const UNITS: &str = "enable wgpu_cooperative_matrix;";

/// What fills the placeholders here; one that isn't named gets 4.
const PARAMETERS: [(&str, &str); 23] = [
    ("workgroup", "256"),
    ("lanes", "256"),
    ("side", "16"),
    ("tile", "128"),
    ("size", "16"),
    ("head_dim", "64"),
    ("heads", "7"),
    ("pieces", "1"),
    ("width", "4"),
    // Constant conditions: every branch is validated, whichever way they stand.
    ("bfloat", "true"),
    ("listed", "true"),
    ("a_by_k", "true"),
    ("by_k", "true"),
    ("b_by_k", "false"),
    ("greedy", "false"),
    ("top_k", "true"),
    ("top_p", "true"),
    ("biased", "true"),
    ("normed", "true"),
    ("after", "true"),
    ("split", "true"),
    ("halves", "true"),
    ("windowed", "true"),
];

#[test]
fn shaders_are_valid_translatable_and_within_limits() {
    let shaders = shaders();
    assert!(!shaders.is_empty(), "no shader found");
    let failures: Vec<String> = shaders
        .iter()
        .flat_map(|(name, source)| {
            // The sizes of matrix units, each with what it is launched with.
            let of_units = |size, subgroups| {
                let source = source.replace("{{ size }}", size);
                source.replace("{{ subgroups }}", subgroups).replace("{{ workgroup }}", "128")
            };
            let sums = |name| source.replace(SUMS, &include(name));
            let sources = match source {
                source if source.contains("{{ size }}") => {
                    vec![of_units("16", "4"), of_units("8", "16")]
                }
                source if source.contains(SUMS) => vec![sums("sums"), sums("sums_by_subgroups")],
                source => vec![source.clone()],
            };
            let failures = sources.into_iter().flat_map(|source| check(&source));
            failures.map(move |failure| format!("{name}: {failure}"))
        })
        .collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn a_broken_shader_is_reported() {
    let good = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
        @group(0) @binding(1) var<uniform> info: f32;
        @compute @workgroup_size({{ workgroup }}) fn main() { _ = info; x[0] = 1.0; }";
    assert_eq!(check(good), Vec::<String>::new());
    for (broken, expected) in [
        (good.replace("1.0", "1.0 +"), "doesn't parse"),
        (good.replace("1.0", "1i"), "doesn't parse"),
        (good.replace("f32", "f64").replace("1.0", "1.0lf"), "invalid"),
        (good.replace("{{ workgroup }}", "512"), "512 invocations"),
        (format!("{good} var<workgroup> w: array<f32, 5000>;"), "20000 bytes"),
        (good.replace("binding(1)", "binding(2)"), "bindings"),
        (good.replace("read_write", "read").replace("x[0] = 1.0;", "_ = x[0];"), "read_write"),
        (good.replace("uniform", "storage, read_write"), "isn't uniform"),
        (good.replace("info", "last"), "the last binding is `last`"),
        (good.replace("fn main", "fn start"), "entry point `main`"),
    ] {
        let failures = check(&broken).join("\n");
        assert!(failures.contains(expected), "expected {expected:?} in {failures:?}");
    }
    let good = good.replace("binding(1)", "binding(9)");
    let many: String = (1..9)
        .map(|i| format!("@group(0) @binding({i}) var<storage, read_write> y{i}: array<f32>;\n"))
        .collect();
    assert!(check(&(many + &good)).join("\n").contains("9 storage buffers"));
}

#[test]
fn every_shader_has_a_row_a_reference_and_a_launcher() {
    let readme = fs::read_to_string(root().join("shaders/README.md")).expect("shaders/README.md");
    let failures: Vec<String> = shaders()
        .iter()
        .filter_map(|(name, source)| {
            check_row(&readme, name, source).err().map(|failure| format!("{name}: {failure}"))
        })
        .collect();
    assert!(failures.is_empty(), "in shaders/README.md:\n{}", failures.join("\n"));
}

#[test]
fn a_missing_or_wrong_row_is_reported() {
    let row = |bindings, reference| {
        format!("| `x` | {bindings} | 6e-5 | {reference} | `crates/kernels/src/cube.rs` `launch` |")
    };
    let source = "@group(0) @binding(0) var<storage, read_write> info: array<u32>;
        @compute @workgroup_size(1) fn main() { info[0] = 1u; }";
    let known = "`crates/kernels/src/cube.rs` `launch`";
    assert_eq!(check_row(&row("`info`", known), "x", source), Ok(()));
    for broken in [
        String::new(),
        row("`rows`", known),
        row("`info`; `rows`", known),
        row("`info`", "`crates/kernels/src/cube.rs` `no_such_function`"),
        row("`info`", "`crates/kernels/src/no_such_file.rs` `launch`"),
    ] {
        assert!(check_row(&broken, "x", source).is_err(), "{broken}");
    }
}

/// (stem, source) of every file in `shaders/`, by name, with the files that it includes as build.rs puts them in.
fn shaders() -> Vec<(String, String)> {
    let mut shaders: Vec<_> = fs::read_dir(root().join("shaders"))
        .expect("the folder shaders/")
        .map(|entry| entry.expect("an entry of shaders/").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"))
        .map(|path| {
            let stem = path.file_stem().expect("a stem").to_string_lossy().into_owned();
            let source = fs::read_to_string(&path).expect("readable");
            let lines = source.lines().map(|line| match line.strip_prefix("//#include ") {
                Some(file) => fs::read_to_string(root().join("shaders").join(file)).expect(file),
                None => line.into(),
            });
            (stem, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect();
    shaders.sort();
    shaders
}

/// What is wrong with a shader, one sentence each.
fn check(template: &str) -> Vec<String> {
    let source = fill(template);
    let module = match naga::front::wgsl::parse_str(&source) {
        Ok(module) => module,
        Err(error) => return vec![format!("doesn't parse: {}", error.emit_to_string(&source))],
    };
    // No capability beyond WebGPU's core: no f64, no subgroups, no push constants. Packing two halves into a word is
    // in it, and in OpenGL ES 3.0. What a shader enables besides must be looked for before it is launched.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    if source.contains("enable f16;") {
        capabilities |= Capabilities::SHADER_FLOAT16;
    }
    if source.contains(UNITS) {
        capabilities |= Capabilities::COOPERATIVE_MATRIX;
    }
    if source.contains("subgroup_id") {
        capabilities |= Capabilities::SUBGROUP;
    }
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    let info = match validator.validate(&module) {
        Ok(info) => info,
        Err(error) => return vec![format!("invalid: {}", error.emit_to_string(&source))],
    };
    let mut failures = limits(&module);
    if failures.is_empty() {
        failures.extend(translate(&module, &info, &source));
    }
    failures
}

/// The template with its placeholders filled in.
fn fill(template: &str) -> String {
    let mut source = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        let value = PARAMETERS.iter().find(|(known, _)| *known == name.trim());
        source.push_str(before);
        source.push_str(value.map_or("4", |(_, value)| value));
        rest = after;
    }
    source + rest
}

fn limits(module: &Module) -> Vec<String> {
    let mut failures = Vec::new();
    let [entry] = module.entry_points.as_slice() else {
        return vec![format!("{} entry points, expected one", module.entry_points.len())];
    };
    if entry.name != "main" || entry.stage != ShaderStage::Compute {
        failures.push("the compute entry point `main` is missing".to_owned());
    }
    let invocations: u32 = entry.workgroup_size.iter().product();
    if invocations > MAX_INVOCATIONS {
        failures
            .push(format!("{invocations} invocations per workgroup, at most {MAX_INVOCATIONS}"));
    }
    let mut bindings: Vec<u32> = Vec::new();
    let (mut storage, mut last) = (0, (0, "info"));
    let mut bytes = 0;
    for (_, variable) in module.global_variables.iter() {
        let name = variable.name.as_deref().unwrap_or("?");
        if variable.space == AddressSpace::WorkGroup {
            bytes += module.types[variable.ty].inner.size(module.to_ctx());
        }
        if let Some(binding) = variable.binding {
            bindings.push(binding.binding);
            let read_write = naga::StorageAccess::LOAD | naga::StorageAccess::STORE;
            let (space, expected) = match name {
                "info" => (AddressSpace::Uniform, "uniform"),
                _ => (AddressSpace::Storage { access: read_write }, "storage, read_write"),
            };
            if variable.space != space {
                failures.push(format!("`{name}` isn't {expected}"));
            }
            storage += usize::from(variable.space != AddressSpace::Uniform);
            last = last.max((binding.binding, name));
        }
    }
    bindings.sort_unstable();
    if storage > MAX_STORAGE {
        failures.push(format!("{storage} storage buffers, at most {MAX_STORAGE}"));
    }
    if last.1 != "info" {
        failures.push(format!("the last binding is `{}`, expected `info`", last.1));
    }
    if bindings.iter().zip(0..).any(|(&binding, i)| binding != i) {
        failures.push(format!("bindings {bindings:?} aren't 0, 1, 2, …"));
    }
    if bytes > MAX_WORKGROUP_BYTES {
        failures.push(format!("{bytes} bytes workgroup memory, at most {MAX_WORKGROUP_BYTES}"));
    }
    failures
}

/// SPIR-V for Vulkan, MSL for Metal, HLSL for DirectX 12, GLSL ES 3.1 for OpenGL; those of them that have what the
/// source enables.
fn translate(module: &Module, info: &ModuleInfo, source: &str) -> Vec<String> {
    let lacks = |language: &str| match language {
        "SPIR-V" => false,
        "MSL" => source.contains("coop_mat16x16"), // Metal's are of 8 × 8
        "HLSL" => source.contains(UNITS),
        _ => source.contains("enable f16;"),
    };
    let mut failures = Vec::new();
    let mut note = |language: &str, error: Option<String>| {
        let error = error.filter(|_| !lacks(language));
        failures.extend(error.map(|error| format!("not translatable to {language}: {error}")));
    };
    let spirv = spv::write_vec(module, info, &spv::Options::default(), None);
    note("SPIR-V", spirv.err().map(|e| e.to_string()));

    let lang_version = if source.contains(UNITS) { (2, 3) } else { (1, 0) };
    let options = msl::Options { fake_missing_bindings: true, lang_version, ..Default::default() };
    let metal = msl::write_string(module, info, &options, &msl::PipelineOptions::default());
    note("MSL", metal.err().map(|e| e.to_string()));

    let options = hlsl::Options { fake_missing_bindings: true, ..Default::default() };
    let pipeline = hlsl::PipelineOptions { entry_point: None };
    let mut text = String::new();
    let direct = hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None);
    note("HLSL", direct.err().map(|e| e.to_string()));

    let options = glsl::Options { version: glsl::Version::new_gles(310), ..Default::default() };
    let pipeline = glsl::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: "main".to_owned(),
        multiview: None,
    };
    let mut text = String::new();
    let policies = BoundsCheckPolicies::default();
    let opengl = glsl::Writer::new(&mut text, module, info, &options, &pipeline, policies)
        .and_then(|mut writer| writer.write());
    note("GLSL", opengl.err().map(|e| e.to_string()));
    failures
}

/// A row: | `shader` | `binding` …; … | tolerance | `file` `function` | `file` `function` |.
fn check_row(readme: &str, name: &str, source: &str) -> Result<(), String> {
    let start = format!("| `{name}` |");
    let row = readme.lines().find(|line| line.starts_with(&start)).ok_or("no row")?;
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let [_, bindings, tolerance, reference, launcher] = cells[..] else {
        return Err(format!("{} cells, expected 5", cells.len()));
    };
    tolerance.parse::<f64>().map_err(|_| format!("the tolerance {tolerance:?} isn't a number"))?;

    let module = naga::front::wgsl::parse_str(&fill(&source.replace(SUMS, &include("sums"))))
        .map_err(|_| "doesn't parse".to_owned())?;
    let mut declared: Vec<(u32, &str)> = module
        .global_variables
        .iter()
        .filter_map(|(_, v)| Some((v.binding?.binding, v.name.as_deref()?)))
        .collect();
    declared.sort_unstable();
    let declared: Vec<&str> = declared.into_iter().map(|(_, name)| name).collect();
    let listed: Vec<&str> = bindings.split(';').filter_map(|b| b.split('`').nth(1)).collect();
    if declared != listed {
        return Err(format!("bindings {listed:?} in the row, {declared:?} in the source"));
    }
    for cell in [reference, launcher] {
        let [_, file, _, function, _] = cell.split('`').collect::<Vec<_>>()[..] else {
            return Err(format!("{cell:?} isn't `file` `function`"));
        };
        let text = fs::read_to_string(root().join(file)).map_err(|_| format!("no file {file}"))?;
        let defined = ["(", "<"].iter().any(|c| text.contains(&format!("fn {function}{c}")));
        if !defined {
            return Err(format!("no function {function} in {file}"));
        }
    }
    Ok(())
}
