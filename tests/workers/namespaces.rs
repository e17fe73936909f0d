//! A worker with a network of its own, as another machine has, and a wire that is taken down.

use crate::faults::{ENDLESS, assert_as_alone, run};
use crate::program::Home;
use std::process::Command;

/// `$1` is the program, `$2` the run. The outer shell has a network of its own, in which it may do as it likes; the worker has another.
const SCRIPT: &str = "set -e
ip link set lo up
unshare -n sleep 300 & other=$!
trap 'kill $other $worker 2>/dev/null' EXIT
while [ \"$(readlink /proc/$other/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.1; done
ip link add here type veth peer name there
ip link set there netns $other
ip addr add 10.77.0.1/24 dev here
ip link set here up
nsenter -t $other -n ip addr add 10.77.0.2/24 dev there
nsenter -t $other -n ip link set there up
nsenter -t $other -n $1 worker --token-file token --device cpu --folder w 2> worker.txt & worker=$!
until grep -q listening worker.txt; do sleep 0.1; done
$1 $2 --workers 10.77.0.2 --token-file token > run.txt 2>&1 & run=$!
until grep -q 'step 1/' run.txt; do sleep 0.1; done
ip link set here down
until grep -q 'has failed' run.txt; do sleep 0.1; done
ip link set here up
until grep -q 'works again' run.txt; do sleep 0.1; done
kill -INT $run
wait $run || true
";

#[test]
fn a_wire_between_two_networks_may_be_taken_down() {
    let home = Home::new();
    let script = SCRIPT.replace("$2", &run(ENDLESS, "shared"));
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_srft")]);
    let output = command.current_dir(home.path(".")).output().unwrap();
    let said = String::from_utf8_lossy(&home.read("run.txt")).into_owned();
    let shell = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{shell}\n{said}\n  it needs Linux, unshare (util-linux) and ip (iproute2)"
    );
    assert!(said.contains("worker 10.77.0.2 has failed (the connection is lost)"), "{said}");
    assert_as_alone(&home);
}
