"""TGAICC (arXiv 2406.18589): every aspect is asked in several ways, the answers clustered, and clusterings that agree
make one by consensus.

Followed (the paper and AndSt/alternative_image_clustering): six prompts an aspect; one k-means (k-means++, one start)
a prompt; Ward linkage on 1 − AMI between these clusterings; of the thresholds 0, 1/35 … 34/35 the first that gives as
many groups of at least two clusterings as there are aspects; within a group the consensus with the highest mean NMI
(geometric) to its members.

Ours, an adaptation. There a visual question answering model answers in free text; here the same frozen CLIP answers
with its words: k-means runs on the square roots of the zero-shot probabilities under each of six templates (their
Euclidean distance is Hellinger's). There CSPA, MCLA, HBGF and NMF solve the consensus, the first three on METIS, which
is not among our packages; here it is spectral clustering or average linkage, both on how often two images go together,
and it has the number of groups that is asked for. Other aspects have as many groups as words. The answer to the aspect
is the group with most of its prompts; if no threshold fits, the consensus is over its prompts alone. The first
threshold that fits may give groups of a few clusterings, even of one aspect, and leave the others out; that is theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

import multimap_jax as mm
from experiments.evaluation.case import Case, by_seed
from multimap_jax.arrays.rows import ProjectedRows
from multimap_jax.prompts.aspect import word_embeddings

TEMPLATES = (
    "a {subject} with the {name} of {word}",
    "a photo of a {subject} with the {name} of {word}",
    "a picture of a {subject} with a {name} of {word}",
    "a {subject} of the {name} {word}",
    "the {name} of the {subject} is {word}",
    "this {subject} is {word}",
)
THRESHOLDS = 35
LIMIT = 5000  # images, for two arrays [images, images]


def tgaicc(case: Case) -> np.ndarray:
    """Labels int [seeds, images]."""
    aspects = (case.asked(), *(aspect for aspect in case.others if aspect.words))
    groups = (case.clusters, *(len(aspect.words) for aspect in aspects[1:]))
    asked = [(said, number, k) for number, k in enumerate(groups) for said in answers(case, aspects[number])]
    owners = np.array([number for _, number, _ in asked])

    def labels(seed: int) -> np.ndarray:
        base = np.stack([one_clustering(said, k, seed) for said, _, k in asked])
        return consensus(base[members_for(0, owners, alike(base, len(aspects)))], case.clusters, seed)

    return by_seed(labels)


def answers(case: Case, aspect: mm.Aspect) -> list[np.ndarray]:
    """Square roots of the probabilities of the aspect's words, [images, words] for every template."""
    filled = [mm.Aspect(aspect.name, aspect.subject, aspect.words, template) for template in TEMPLATES]
    scaled = [case.clip.temperature_scale * word_embeddings(case.clip, each).T for each in filled]
    return [np.sqrt(softmax(ProjectedRows(case.embeddings, texts)[:], axis=1)) for texts in scaled]


def one_clustering(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    """k-means with a single start on rows [images, words], labels int [images]."""
    from sklearn.cluster import KMeans

    return KMeans(min(k, len(np.unique(rows, axis=0))), n_init=1, random_state=seed).fit_predict(rows)


def alike(base: np.ndarray, aspects: int) -> list[np.ndarray]:
    """Clusterings [clusterings, images] -> the indices of those in each of `aspects` groups; [] if none fits."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from sklearn.metrics import adjusted_mutual_info_score

    first, second = np.triu_indices(len(base), 1)  # the order of scipy's condensed distances
    agreement = [adjusted_mutual_info_score(base[i], base[j]) for i, j in zip(first, second)]
    tree = linkage(np.maximum(1 - np.array(agreement), 0), "ward")
    for number in range(THRESHOLDS):
        found = fcluster(tree, number / THRESHOLDS, "distance")
        groups = [np.flatnonzero(found == group) for group in np.unique(found)]
        groups = [group for group in groups if len(group) >= 2]
        if len(groups) == aspects:
            return groups
    return []


def members_for(aspect: int, owners: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    """The group with most of the aspect's prompts; of equals the one with the fewest others; all its prompts if none.

    owners: the aspect of every prompt, int [prompts].
    """
    held = [(np.sum(owners[group] == aspect), -len(group)) for group in groups]
    if not held or max(held)[0] == 0:
        return np.flatnonzero(owners == aspect)
    return groups[held.index(max(held))]


def consensus(base: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Labels int [images] that agree with the clusterings [clusterings, images]; the better of two solutions."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    from sklearn.cluster import SpectralClustering

    kinds, which = np.unique(base, axis=1, return_inverse=True)
    if kinds.shape[1] <= k:
        return which.ravel()
    together = np.mean([one[:, None] == one for one in base], axis=0)
    # A little everywhere holds the graph in one piece where all clusterings agree.
    spectral = SpectralClustering(k, affinity="precomputed", random_state=seed).fit_predict(together + 1e-3)
    tree = linkage(squareform(1 - together, checks=False), "average")
    return max((spectral, fcluster(tree, k, "maxclust") - 1), key=lambda labels: mean_nmi(labels, base))


def mean_nmi(labels: np.ndarray, base: np.ndarray) -> float:
    """Mean NMI (geometric) of labels [images] to clusterings [clusterings, images]."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(np.mean([normalized_mutual_info_score(labels, one, average_method="geometric") for one in base]))
