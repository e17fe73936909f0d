//! Keeping freed memory in the process.

/// Has the C library keep freed memory for the next tensors instead of giving it to the system.
/// Call it first thing in `main`: it starts the program again, in the same process, unless the
/// user has set `GLIBC_TUNABLES` himself.
///
/// glibc returns large blocks at once, so that every activation of every step is page-faulted in
/// anew: on a two-core virtual machine that was half of a training step on the CPU backend. glibc
/// reads its settings from the environment before `main`; its other door, `mallopt`, is unsafe.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_freed_memory() {
    use std::os::unix::process::CommandExt;

    const NAME: &str = "GLIBC_TUNABLES";
    // No block is mapped on its own, and the heap's end is never trimmed.
    const KEEP: &str = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1099511627776";
    if std::env::var_os(NAME).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "srft".into());
    if let Ok(program) = std::env::current_exe() {
        // Returns only if it failed; then the program is slower, and nothing worse.
        let _failure =
            std::process::Command::new(program).arg0(name).args(arguments).env(NAME, KEEP).exec();
    }
}

/// Other systems' allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_freed_memory() {}
