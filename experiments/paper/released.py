"""The released program's main.py with its own settings, on the authors' data and CLIP ViT-B/32.

    python -m experiments.paper.released --dataset=fruit --data=dataset --clip=openai/clip-vit-base-patch32 \
        --out=released

--data holds the authors' folders, dataset/fruit/color/red/*.jpg. The released program ends with the proxies and never
clusters; here they are saved (NAME.npz: proxies, prompt_embeddings, reference, losses) and, as no seed or order was
published, the batches' order is drawn from --seed. Prints for each aspect the loss and, beside it, NMI and Rand index
of k-means on the proxies, mean over seeds 0 … 9. Without --data: on the drawn twin with the embedded encoder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import app, flags

import multimap_jax as mm
from experiments.evaluation import datasets, methods
from experiments.evaluation.case import Case, make_case, score

FLAGS = flags.FLAGS
SETTINGS = {
    "fruit": mm.ProxyConfig.released(learning_rate=0.005, alpha=0.3, beta=0.4, weight_decay=5e-5),
    "fruit360": mm.ProxyConfig.released(learning_rate=0.01, alpha=0.1, beta=0.3, weight_decay=0.0),
    "card": mm.ProxyConfig.released(learning_rate=0.005, alpha=0.2, beta=0.3, weight_decay=1e-5),
}
# For cards the program's only candidate word is the prompt itself, and the concept word is the folder's name.
CARD_PROMPTS = {"order": ("number", "Card with number of {word}"), "suits": ("suits", "Card with suits of {word}")}
CARD_WORDS = {"number": ("Card with number of *",), "suits": ("Card with suits of *",)}


def aspect_of(dataset: str, case: Case) -> mm.Aspect:
    """The aspect as the released program words it."""
    if dataset == "card":
        name, template = CARD_PROMPTS[case.aspect]
        return mm.Aspect(name, "Card", CARD_WORDS[name], template)
    return mm.Aspect(case.aspect, "Fruit", case.words, methods.RELEASED_TEMPLATE)


def main(_):
    item, clip, out = datasets.find(FLAGS.dataset), mm.load_clip(FLAGS.clip), Path(FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    labelled = datasets.load_or_draw(FLAGS.dataset, FLAGS.data, FLAGS.images, FLAGS.seed)
    if labelled.note:
        print(labelled.note)
    embeddings = clip.embed_images(labelled.images)
    for name in labelled.labels:
        case = make_case(item, labelled, name, clip, embeddings, SETTINGS[FLAGS.dataset])
        fit = mm.fit_proxies(
            clip, embeddings, aspect_of(FLAGS.dataset, case), config=case.config, seed=FLAGS.seed, progress=True
        )
        arrays = ("proxies", "prompt_embeddings", "reference", "losses")
        np.savez(out / f"{FLAGS.dataset}_{name}.npz", **{array: getattr(fit, array) for array in arrays})
        scores = score(fit.proxies, case)
        nmi, ri = (np.mean([score[metric] for score in scores]) for metric in ("nmi", "ri"))
        print(f"{name}: loss {fit.losses[-1]:.4f}; k-means on the proxies: NMI {nmi:.4f}, RI {ri:.4f}")


if __name__ == "__main__":
    flags.DEFINE_enum("dataset", "fruit", list(SETTINGS), "which set")
    flags.DEFINE_string("data", None, "the authors' folder dataset/; without it the drawn twin")
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_string("out", "released", "folder")
    flags.DEFINE_integer("images", 105, "drawn pictures")
    flags.DEFINE_integer("seed", 0, "of the batches' order")
    app.run(main)
