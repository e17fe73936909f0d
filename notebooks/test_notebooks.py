"""Every notebook runs from nothing, comes to the numbers that it shows, and is linked with the page."""

import ast
import re

import nbformat
import pytest
from execute import HERE, NOTEBOOKS, executed

PRESETS = (HERE.parent / "web/page/presets.js").read_text()


def key_numbers(notebook):
    """Of each cell so tagged: its tolerance, and the dict that it shows."""
    cells = [c for c in notebook.cells if "key-numbers" in c.metadata.get("tags", [])]
    return [(c.metadata["tolerance"], ast.literal_eval(c.outputs[-1].data["text/plain"])) for c in cells]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_comes_to_what_it_shows(path):
    stored = key_numbers(nbformat.read(path, as_version=4))
    fresh = key_numbers(executed(path))
    assert stored and len(stored) == len(fresh)
    for (tolerance, shown), (_, found) in zip(stored, fresh):
        assert found == pytest.approx(shown, abs=tolerance, rel=0)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_as_it_ran(path):
    """Outputs in order, no errors, no warnings, nothing of the machine it ran on."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr", output
            text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
            assert not re.search(r"/(home|root|tmp|Users)/", text), text


def test_notebooks_and_presets_are_linked_both_ways():
    presets = dict(re.findall(r'id: "([^"]+)".*?notebook: "([^"]+)"', PRESETS, re.DOTALL))
    assert len(presets) == PRESETS.count("title: ")
    linked = {path.stem: set() for path in NOTEBOOKS}
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            linked[path.stem].update(re.findall(r"`#preset=([a-z-]+)`", cell.source))
            for link in re.findall(r"\]\((?!http)([^)#]+)\)", cell.source):
                assert (HERE / link).exists(), f"{path.name} links {link}"
        assert linked[path.stem], f"{path.name} names no preset of the page"
        assert linked[path.stem] <= presets.keys(), f"{path.name} names a preset that is not there"
    for preset, notebook in presets.items():
        assert preset in linked[notebook], f"{notebook} does not link back to {preset}"
