"""The files of the embedded checkpoint: weights, tokenizer, preprocessing, the words it knows, and what it can do."""

import datetime
import json
import pathlib

import numpy as np

from experiments.training.byte_tokenizer import write_tokenizer
from experiments.training.captions import known_words
from multimap_jax.encoders.clip.checkpoint import save_checkpoint

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)

CARD = """# The embedded checkpoint

A small CLIP, trained by `python -m experiments.training.embedded_clip` on pictures that `multimap_jax.scenes` draws and
on captions that `experiments.training.captions` makes up. No photograph and no other model took part in it.

It knows the families of scenes below and the words in `words.json`, and nothing else: it is there so that the package
can be tried and tested at once and without a network. For photographs, load another checkpoint.

{trainings}

Zero-shot accuracy on 1,000 pictures of each family that training never saw, asked with "a {{subject}} with the
{{aspect}} of {{word}}" (a face's identity has no words but arbitrary names):

| scene | aspect | accuracy |
|---|---|---|
{rows}
"""


def write_tokenizer_files(directory, context, names):
    """Write the tokenizer and words.json for these families; returns the tokenizer, read back from its files."""
    from transformers import CLIPTokenizer

    directory = pathlib.Path(directory)
    words = known_words(names)
    size = write_tokenizer(directory, words, context)
    (directory / "words.json").write_text(json.dumps(words, indent=0) + "\n", encoding="utf-8")
    tokenizer = CLIPTokenizer.from_pretrained(directory)
    if len(tokenizer) != size:
        raise RuntimeError(f"the tokenizer read back from {directory} has {len(tokenizer)} tokens, expected {size}")
    return tokenizer


def trainings(directory):
    """The lines about trainings in the README.md of a checkpoint, [] without one."""
    card = pathlib.Path(directory) / "README.md"
    lines = card.read_text(encoding="utf-8").splitlines() if card.exists() else []
    return [line for line in lines if line.startswith("- Trained on ")]


def write_weights(directory, towers, figures, families, before=()):
    """Write config.json, model.safetensors in float16, preprocessing, and README.md with the figures reached.

    before: lines about the trainings that this one went on from.
    """
    directory = pathlib.Path(directory)
    save_checkpoint(directory, towers, dtype=np.float16)
    # safetensors makes files that only their owner may read.
    (directory / "model.safetensors").chmod(0o644)
    size = towers.image.config.size
    (directory / "preprocessor_config.json").write_text(json.dumps(preprocessing(size), indent=1) + "\n")
    rows = "\n".join(f"| {name.replace(' ', ' | ')} | {figures[name]:.3f} |" for name in figures if " " in name)
    today, length = datetime.date.today().isoformat(), f"{figures['minutes']} minutes ({figures['steps']:,} steps)"
    lines = [*before, f"- Trained on {today} for {length} on {', '.join(families)}."]
    card = CARD.format(trainings="\n".join(lines), rows=rows)
    (directory / "README.md").write_text(card, encoding="utf-8")


def preprocessing(size):
    """CLIP's own: the shortest edge to `size` (bicubic), the middle cut out, mean and deviation of each channel."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(MEAN),
        "image_std": list(DEVIATION),
    }
