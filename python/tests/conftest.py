"""What the tests share: the tiny model, and the program whose numbers the package must give."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import srft

ROOT = Path(__file__).parents[2]
# As in the core's own tests: on the machine's first GPU, where that is asked for.
DEVICE = "auto" if os.environ.get("SRFT_TEST_GPU") else "cpu"

# A shell starts what runs in the background deaf to Ctrl-C, and Python leaves it so.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def model():
    return srft.Model.load("tiny", device=DEVICE)


@pytest.fixture(scope="session")
def program():
    """Runs `srft` of this checkout, which check.sh has built."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = target / "release" / "srft"
    assert path.exists(), f"{path} is not there: run cargo build --release first"

    def run(*arguments, expect=0):
        done = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == expect, done.stderr
        return done

    return run
