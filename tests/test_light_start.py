"""A checkpoint is loaded without PyTorch, be it installed, broken or in use by the same program."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import multimap_jax as mm

LOAD = """
import sys
import numpy as np
from PIL import Image
import multimap_jax as mm
clip = mm.load_clip("embedded")
clip.embed_images([Image.new("RGB", (50, 40))]), clip.embed_texts(["a red fruit"])
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"torch", "torchvision"}, loaded
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


@pytest.fixture(scope="module")
def theirs():
    """The tokenizer and the preprocessing of transformers, with PyTorch."""
    pytest.importorskip("torch")
    from transformers import CLIPImageProcessorPil, CLIPTokenizer

    directory = mm.load_clip("embedded").directory
    return CLIPTokenizer.from_pretrained(directory), CLIPImageProcessorPil.from_pretrained(directory)


@pytest.mark.parametrize("text", ["a red fruit", "", "Zwölf Boxkämpfer!", "*.", "<|endoftext|>", "日本 \n\t x" * 40])
def test_ids_are_those_of_transformers(theirs, text):
    ours = mm.load_clip("embedded").tokenizer.encode(text)
    assert ours == theirs[0](text, add_special_tokens=False, verbose=False)["input_ids"]


@pytest.mark.parametrize("size", [(64, 64), (90, 70), (7, 300), (1, 1), (640, 480)])
def test_pixels_are_those_of_transformers(theirs, size):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8))
    expected = theirs[1](picture, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    assert (mm.load_clip("embedded").preprocess(picture) == expected).all()
