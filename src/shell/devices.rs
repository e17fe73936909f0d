//! `srft devices`.

use super::arguments::Devices;
use super::say;
use super::tables::table;
use srft::device::{Adapter, Kind, adapters, choose, open};
use srft::error::Result;
use srft::selftest;

/// Lists every adapter with its limits and self-test result.
pub async fn devices(arguments: Devices) -> Result<()> {
    let list = adapters().await;
    let mut rows = Vec::new();
    for adapter in &list {
        let test = match arguments.no_self_test {
            true => "not run".into(),
            false => self_test(adapter).await,
        };
        if arguments.json {
            let mut line = serde_json::to_value(adapter).expect("a plain record");
            line["self_test"] = test.clone().into();
            say(line)?;
        }
        rows.push(vec![
            format!("{} {}", adapter.index, adapter.name),
            adapter.backend.clone(),
            adapter.kind.name().into(),
            adapter.driver.clone(),
            limits(adapter),
            test,
        ]);
    }
    if !arguments.json {
        say(table(&["adapter", "api", "kind", "driver", "limits", "self-test"], rows))?;
        let (adapter, reason) = choose("auto", &list)?;
        say(format_args!("--device auto takes {} {} ({reason})", adapter.index, adapter.name))?;
    }
    Ok(())
}

async fn self_test(adapter: &Adapter) -> String {
    let result = async {
        let selected = open(adapter, String::new()).await?;
        selftest::run(&selected.device).await
    };
    match result.await {
        Ok(report) => report.to_string(),
        Err(e) => format!("cannot run: {}", e.what),
    }
}

fn limits(adapter: &Adapter) -> String {
    let memory = match adapter.memory_bytes {
        Some(bytes) => format!("{:.1} GiB memory", bytes as f64 / (1u64 << 30) as f64),
        None => "memory unknown".into(),
    };
    if adapter.kind == Kind::Cpu {
        return memory;
    }
    let units = match adapter.matrix_units {
        Some(size) => format!(", matrix units {size} × {size}"),
        None => String::new(),
    };
    let subgroups = if adapter.subgroups { ", subgroups" } else { "" };
    format!(
        "{memory}, binding {} MiB, buffer {} MiB, {} bindings{units}{subgroups}",
        adapter.max_binding_bytes >> 20,
        adapter.max_buffer_bytes >> 20,
        adapter.max_storage_buffers
    )
}
