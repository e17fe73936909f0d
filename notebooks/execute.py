"""Executes notebooks, and stores their outputs: python notebooks/execute.py [NAME...]"""

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

# Without a desktop session Mesa complains of it in the first cell.
os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())

HERE = Path(__file__).parent
NOTEBOOKS = sorted(HERE.glob("*.ipynb"))


def executed(path):
    """The notebook with fresh outputs, run where it stands; an error in a cell raises."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}, record_timing=False
    )
    client.execute()
    notebook.metadata["language_info"] = {"name": "python"}  # not which version ran it
    return notebook


if __name__ == "__main__":
    for path in NOTEBOOKS:
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            began = time.monotonic()
            nbformat.write(executed(path), path)
            print(f"{path.name}: {time.monotonic() - began:.0f} s", flush=True)
