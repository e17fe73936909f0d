//! A test with a process to itself: one that counts all of its allocations, or that loses a device.

use std::env;
use std::process::Command;

const ALONE: &str = "SRFT_TEST_ALONE";

/// Runs the test of that full name, whose body is `test`, in a child process: this binary with no other test.
pub fn alone(name: &str, test: impl FnOnce()) {
    if env::var_os(ALONE).is_some_and(|running| running == name) {
        return test();
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture"]).env(ALONE, name);
    let output = child.output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{name}\n{}", said.concat());
    assert!(said[0].contains("1 passed"), "no test is named {name}\n{}", said.concat());
}
