"""`multimap apply`: new images into the groups of a finished run, nothing learnt of them but proxies where needed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from multimap_jax.clip.model import Clip, load_clip
from multimap_jax.estimator import MultiMaP, load
from multimap_jax.inputs.files import read_json, said_of
from multimap_jax.inputs.names import name_of_path
from multimap_jax.inputs.open import open_source
from multimap_jax.inputs.places import local_folder, same
from multimap_jax.inputs.source import exists
from multimap_jax.progress import each
from multimap_jax.recipes import ProxyConfig
from multimap_jax.run.files import RUN, check_own, file_hashes, make_writable
from multimap_jax.run.job import Clock, check_some, embed, measured, notes_on, write_results
from multimap_jax.run.lock import locked
from multimap_jax.run.measure import read_labels
from multimap_jax.run.processes import ALONE, Company
from multimap_jax.run.say import say_end, say_result
from multimap_jax.saving import ARRAYS, SETTINGS

AGAIN = "run multimap again"


@dataclasses.dataclass(frozen=True)
class Apply:
    """What to do. `clip`: instead of the checkpoint that the run names."""

    run: Path
    images: Path
    out: Path
    clip: str | None
    labels: Path | None
    # For run.json: the settings of the run that is followed.
    seed: int = 0
    config: ProxyConfig = ProxyConfig()
    line: str = ""  # that was typed


def run_apply(job: Apply, say: Callable[[str], None] = print, progress: bool = True) -> None:
    """Writes the results for the new images, in the same groups.

    Raises ValueError, FileNotFoundError or OSError, each with one sentence, before anything is computed wherever that
    is possible.
    """
    clock, content = Clock(), read_run(job.run)
    source = open_source(job.images)
    aspects = [aspect["name"] for aspect in content["aspects"]]
    truth = None if job.labels is None else read_labels(job.labels, aspects, source.images, job.images)
    if same(job.out, job.run):
        raise ValueError(f"--out={job.out} is the run itself, whose results would be lost: give another folder")
    if any("model" in aspect for aspect in aspects_of(job.out)):
        raise ValueError(f"--out={job.out} is another finished run, whose results would be lost: give another folder")
    make_writable(job.out)
    check_own(job.out, job.labels)
    clip = load_checkpoint(job, content)
    models = [read_checked(job.run, aspect, clip) for aspect in content["aspects"]]
    job = dataclasses.replace(job, seed=content["seed"], config=ProxyConfig(**content["config"]))
    clock.lap("load")
    with locked(job.out, ALONE):
        found = embed(source, clip, job.out, Company(ALONE), progress)
        clock.lap("embed")
        notes = [f"New images in the groups of {name_of_path(str(job.run))}: nothing was grouped anew.", *source.notes]
        check_some(source, found)
        notes += notes_on(found)
        results = []
        for model in each(models, "grouping", progress):
            begin = time.perf_counter()
            model.progress = progress
            rows = model.rows(found.rows)
            result = measured(model, model.assign_rows(rows), truth, found, begin)
            results.append(dataclasses.replace(result, rows=rows))
            say_result(results[-1], say)
        clock.lap("group")
        written = write_results(job, clip, source, found, results, notes, clock, progress=progress)
    say_end(job.out, written, found.failures, say)


def read_run(run: Path) -> dict:
    """What run.json says of a run that can be followed.

    Raises FileNotFoundError where there is none, ValueError for one that is damaged or keeps no models.
    """
    path = run / RUN
    if not exists(path):
        raise FileNotFoundError(f"there is no finished run in {run}: expected {RUN} and models, as multimap writes")
    content = read_json(path, advice=AGAIN)
    with said_of(f"{path}, damaged or of an earlier version,", AGAIN):
        aspects, clip = content["aspects"], content["clip"]
        texts = [clip["name"], clip["hash"], *(aspect[key] for aspect in aspects for key in ("name", "model"))]
        if not aspects or not all(isinstance(text, str) for text in texts) or type(content["seed"]) is not int:
            raise ValueError("no aspects, or other things than names")
        if not all(set(aspect["files"]) == {SETTINGS, ARRAYS} for aspect in aspects):
            raise ValueError("it does not name the files of a model")
        ProxyConfig(**content["config"])
    return content


def aspects_of(out: Path) -> list[dict]:
    """The aspects that a run.json in `out` speaks of, [] where there is none."""
    try:
        return [aspect for aspect in read_json(out / RUN)["aspects"] if isinstance(aspect, dict)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def load_checkpoint(job: Apply, content: dict) -> Clip:
    """The checkpoint of the run, by its hash. A hub id that only a file names is not fetched."""
    name, digest = content["clip"]["name"], content["clip"]["hash"]
    if job.clip is None and name != "embedded" and not Path(name).is_dir():
        raise ValueError(f"the run was made with {name}, which is no directory here: say --clip={name} to fetch it")
    clip = load_clip(name if job.clip is None else job.clip)
    if clip.hash != digest:
        raise ValueError(
            f"{clip.name} is not the checkpoint that {job.run} was made with ({name}): give it with --clip"
        )
    return clip


def read_checked(run: Path, aspect: dict, clip: Clip) -> MultiMaP:
    """The model of one aspect, if its files are those that the run wrote. ValueError where they are not."""
    folder = run / "models" / Path(str(aspect["model"])).name
    found = file_hashes(folder)
    for name, digest in aspect["files"].items():
        if found.get(name) != digest:
            raise ValueError(f"{folder / name} is not what the run in {run} wrote: run multimap again")
    return load(local_folder(folder, [folder / name for name in aspect["files"]]), clip)
