"""A checkpoint is loaded without transformers and PyTorch, be they installed, broken or in use by the same program."""

import os
import subprocess
import sys

import pytest

LOAD = """
import sys
from PIL import Image
import multimap_jax as mm
clip = mm.load_clip("embedded")
clip.embed_images([Image.new("RGB", (50, 40))]), clip.embed_texts(["a red fruit"])
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"torch", "torchvision", "transformers"}, loaded
"""


def run(script, **environment):
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_pytorch_is_not_imported_though_it_is_there():
    pytest.importorskip("torch")
    done = run(LOAD + "import torch, transformers\nfrom transformers import CLIPModel\n")
    assert done.stderr == ""


@pytest.mark.slow
def test_a_torchvision_that_does_not_fit_does_no_harm(tmp_path):
    (tmp_path / "torchvision").mkdir()
    broken = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "torchvision" / "__init__.py").write_text(broken)
    run(LOAD, PYTHONPATH=str(tmp_path))


@pytest.mark.slow
def test_a_program_may_use_transformers_with_pytorch_beside_it():
    pytest.importorskip("torch")
    run(
        """
import torch, transformers, multimap_jax as mm
from transformers import CLIPTokenizer
first = mm.load_clip("embedded")
assert transformers is __import__("transformers") and torch is __import__("torch")
from transformers import CLIPImageProcessorPil
from PIL import Image
processor = CLIPImageProcessorPil.from_pretrained(first.directory)
assert isinstance(processor(Image.new("RGB", (9, 9)), return_tensors="pt")["pixel_values"], torch.Tensor)
assert (mm.load_clip("embedded").embed_texts(["a"]) == first.embed_texts(["a"])).all()
"""
    )
