"""The notebook runs from top to bottom, with the interpreter of the tests, and is kept without outputs."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "experiments" / "notebooks" / "quickstart.ipynb"
# In a process of its own, whose sockets end with it. Without folders of kernels there is this interpreter's alone.
EXECUTE = """
import sys
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

source, values, folder, written = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
notebook.cells.append(nbformat.v4.new_code_cell(values))
kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
NotebookClient(notebook, km=kernel, timeout=600, resources={"metadata": {"path": folder}}).execute()
nbformat.write(notebook, written)
"""
VALUES = """
import json, sys
scores = [one["accuracy"] for one in (color_scores, species_scores, paper_scores)]
names = [by_color.cluster_names_, by_species.cluster_names_, list(found.aspect.words), paper.cluster_names_]
losses = [float(fit.losses[0]), float(fit.losses[-1])]
print(json.dumps([sys.executable, embeddings.shape, names, verdict.verdict, scores, float(correct), losses]))
"""


def cells_of(notebook):
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def test_no_outputs_are_kept():
    cells = cells_of(NOTEBOOK)
    assert cells and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("nbclient", "ipykernel"))),
    reason="needs nbclient and ipykernel: pip install '.[test]'",
)
def test_the_notebook_runs(tmp_path):
    work, written = tmp_path / "work", tmp_path / "written.ipynb"
    work.mkdir()
    places = ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    environment = os.environ | {"JAX_PLATFORMS": "cpu"} | {name: str(tmp_path / name) for name in places}
    subprocess.run(
        [sys.executable, "-c", EXECUTE, str(NOTEBOOK), VALUES, str(work), str(written)], check=True, env=environment
    )
    assert {path.name for path in work.iterdir()} == {"fruit", "model"}
    outputs = [output for cell in cells_of(written) for output in cell["outputs"]]
    assert not [output["text"] for output in outputs if output.get("name") == "stderr"]
    pages = ["".join(output["data"]["text/html"]) for output in outputs if "text/html" in output.get("data", {})]
    assert len(pages) == 2 and all("data:image/jpeg" in page for page in pages)
    executable, shape, names, verdict, scores, correct, losses = json.loads("".join(outputs[-1]["text"]))
    assert executable == sys.executable and shape[0] == 120
    assert set(names[0]) == {"red", "green", "yellow"} and len(names[3]) == 3
    assert set(names[1]) == set(names[2]) == {"apple", "banana", "grape"}
    assert verdict == "well" and min(scores) > 0.9 and correct > 0.9
    assert losses[1] < losses[0]
