"""Tiny random checkpoints in open_clip's layout, and what open_clip computes with them, for tests.

    python3 -m venv .venv-openclip
    .venv-openclip/bin/pip install torch==2.13.0 torchvision==0.28.0 open_clip_torch==3.3.0 absl-py
    .venv-openclip/bin/python -m experiments.training.open_clip_files --out=tests/encoders/open_clip

Takes a few seconds, and prints the size of each file. The tests write the tokenizers (see `write_checkpoint`). Several
configurations share weights, because an activation or a way of scaling has none.
"""

import json
import pathlib
import shutil
import tempfile

import numpy as np
from absl import app, flags

from experiments.training.byte_tokenizer import write_tokenizer

FLAGS = flags.FLAGS

WORDS = "a fruit with the color species shape of red green yellow dark".split()
CONTEXT = 24
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
USUAL = {"mean": MEAN, "std": DEVIATION, "interpolation": "bicubic", "resize_mode": "shortest"}
# Name -> weights, settings of the model, size of the image, preprocessing. All these sizes have 4 by 4 patches.
CASES = {
    "shortest": ("plain", {}, 33, USUAL),
    "shortest, even": ("plain", {"quick_gelu": True}, 32, USUAL | {"interpolation": "bilinear", "fill_color": 9}),
    "squash": ("plain", {"quick_gelu": True}, 35, USUAL | {"resize_mode": "squash", "mean": 0.5, "std": 0.25}),
    "longest": ("custom_text", {}, 33, USUAL | {"resize_mode": "longest", "fill_color": 127}),
    "longest, bilinear": (
        "custom_text",
        {"quick_gelu": True},
        34,
        USUAL | {"resize_mode": "longest", "interpolation": "bilinear"},
    ),
    "no preprocessing": ("custom_text", {"init_logit_bias": -10}, 33, None),
}
SHAPES = ((33, 34), (50, 37), (23, 60), (36, 19))  # heights and widths
TEXTS, SLOT = (3, 9, 17, CONTEXT), 4  # lengths of the texts; which id of the second one a proxy replaces
KEPT = []  # a library of operators lives as long as its object


def config(name, vocabulary):
    """The content of a case's open_clip_config.json."""
    weights, changes, size, preprocessing = CASES[name]
    image = {"image_size": size, "layers": 2, "width": 32, "head_width": 8, "patch_size": 8, "mlp_ratio": 2.5}
    text = {"context_length": CONTEXT, "vocab_size": vocabulary, "width": 32, "heads": 4, "layers": 2, "mlp_ratio": 2}
    model = {"embed_dim": 24, "vision_cfg": image, "text_cfg": text, **changes}
    if weights == "custom_text":
        model["custom_text"] = True
    return {"model_cfg": model} | ({} if preprocessing is None else {"preprocess_cfg": preprocessing})


def write_checkpoint(directory, name, files):
    """A case's checkpoint with a tokenizer in `directory`; `files`: where this program wrote the weights."""
    vocabulary = write_tokenizer(directory, WORDS, CONTEXT)
    (directory / CONFIG).write_text(json.dumps(config(name, vocabulary), indent=1))
    shutil.copy(files / f"{CASES[name][0]}.safetensors", directory / WEIGHTS)


def pictures():
    """Arrays [height, width, 3] of noise, at odd sizes."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*shape, 3), np.uint8) for shape in SHAPES]


def texts(vocabulary):
    """Ids [texts, context]: start, any, end, then zeros."""
    ids = np.random.default_rng(1).integers(1, vocabulary - 2, (len(TEXTS), CONTEXT))
    ids[:, 0] = vocabulary - 2
    for row, length in zip(ids, TEXTS):
        row[length - 1 :] = 0
        row[length - 1] = vocabulary - 1
    return ids


def load_open_clip():
    """open_clip, also beside a CPU build of PyTorch, where PyPI's torchvision finds no operator `nms`; an empty one
    does."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        KEPT.append(library := torch.library.Library("torchvision", "DEF"))
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    import open_clip

    return open_clip


def write_weights(path, model_config):
    """Random weights, large enough that every part of the model matters."""
    import torch
    from safetensors.torch import save_file

    open_clip = load_open_clip()
    torch.manual_seed(0)
    settings = dict(model_config)
    kind = open_clip.CustomTextCLIP if settings.pop("custom_text", False) else open_clip.CLIP
    model = kind(**settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    save_file(model.state_dict(), path)


def expected(directory, vocabulary):
    """What open_clip computes with the checkpoint in `directory`."""
    import torch
    from PIL import Image

    open_clip = load_open_clip()
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{directory}")
    pixels = torch.stack([preprocess(Image.fromarray(picture)) for picture in pictures()])
    ids = texts(vocabulary)
    random = np.random.default_rng(2)
    proxy, target = (random.normal(size=size).astype(np.float32) for size in (32, 24))
    with torch.no_grad():
        found = {
            "pixels": pixels.permute(0, 2, 3, 1),
            "images": model.encode_image(pixels),
            "texts": model.encode_text(torch.tensor(ids)),
            "scale": model.logit_scale.exp(),
        }
    found = {name: array.numpy() for name, array in found.items()} | {"proxy": proxy, "target": target}
    given = torch.tensor(proxy, requires_grad=True)

    def insert(module, inputs, output):
        return torch.cat([output[:, :SLOT], given[None, None], output[:, SLOT + 1 :]], 1)

    getattr(model, "text", model).token_embedding.register_forward_hook(insert)
    embedded = model.encode_text(torch.tensor(ids[1:2]), normalize=True)[0]
    (embedded @ torch.tensor(target)).backward()
    return found | {"with_proxy": embedded.detach().numpy(), "gradient": given.grad.numpy()}


def main(_):
    out, arrays = pathlib.Path(FLAGS.out), {}
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = write_tokenizer(folder, WORDS, CONTEXT)
    for weights in dict.fromkeys(weights for weights, *_ in CASES.values()):
        name = next(name for name, case in CASES.items() if case[0] == weights)
        write_weights(out / f"{weights}.safetensors", config(name, vocabulary)["model_cfg"])
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(pathlib.Path(folder), name, out)
            arrays |= {f"{name}: {key}": array for key, array in expected(folder, vocabulary).items()}
    np.savez_compressed(out / "expected.npz", **arrays)
    for path in sorted(out.iterdir()):
        path.chmod(0o644)
        print(f"{path.stat().st_size:9,} {path}")


if __name__ == "__main__":
    flags.DEFINE_string("out", "tests/encoders/open_clip", "where to write the files")
    app.run(main)
