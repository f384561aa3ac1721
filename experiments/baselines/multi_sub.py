"""Multi-Sub (arXiv 2411.03978): a proxy mixed from the words beside the image, whose projection learns with it.

Followed: the paper's representation v = [w | x] after its phase I, as the authors' other program runs it
(`released_eval`): 100 epochs of alignment of the prompt with the image, on the mixture's weights and on the image
projection.

Why two things are ours. The released evaluation (`released`: nothing of this is changed) sets the halves side by side
as they are, at the learning rate .005.
1. A raw image feature is tens of times as long as a proxy and spreads as much more around its mean. k-means sees
squares of distances, so the proxies do not count: what came out was k-means on images. Unit rows alone do not always
mend it, since mixtures may lie close together. Here halves are unit rows, centred, and divided by their spread.
2. At .005 the mixtures are far from learnt after 100 epochs. The rate is the one of RATES with the lowest loss at the
end, as the authors' Multi-MaP paper chooses theirs; no label takes part.

Missing: phase II, ten epochs that pull the image projection toward pseudo-groups (λ .5 between the distances within and
across groups). A summary of the paper says that the proxies make the pseudo-labels; by which rule, with which margin,
and how the last labels come about could not be found. The authors' main.py takes a margin of 1 and the argmax of
[w | x]·Eᵀ, whose widths differ, of arrays that carry no gradient; it cannot run, and it never clusters.
"""

from __future__ import annotations

import numpy as np

from experiments.evaluation.case import Case
from experiments.paper.released_eval import RELEASED_TEMPLATE, Evaluation, batch_order, released_eval

RELEASED_RATE = 0.005
RATES = (0.05, RELEASED_RATE)


def multi_sub(case: Case, epochs: int = 100, released: bool = False) -> np.ndarray:
    """[w | x], float [images, width + embed]; `released`: as the authors' program has it."""
    aspect, order = case.asked(RELEASED_TEMPLATE), batch_order(len(case.pooled), 20, epochs, seed=0)

    def learn(rate: float) -> Evaluation:
        return released_eval(case.clip, case.pooled, aspect, order, rate)

    if released:
        return learn(RELEASED_RATE).combined
    found = min(map(learn, RATES), key=lambda each: each.losses[-1])
    return beside(found.proxy, found.image)


def beside(*parts: np.ndarray) -> np.ndarray:
    """Parts [images, d] side by side, so that the squared distances within each have the same mean."""
    return np.concatenate([even(part) for part in parts], axis=1)


def even(rows: np.ndarray) -> np.ndarray:
    """Unit rows [images, d] around 0 with a mean square length of 1; zeros where all rows are one."""
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows - rows.mean(0)
    spread = np.sqrt((rows**2).sum(1).mean())
    return rows / spread if spread > 1e-5 else np.zeros_like(rows)
