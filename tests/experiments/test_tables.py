"""The table programs: methods, grid, finished cells, intervals and what they write."""

import csv
import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from absl import flags

import multimap_jax as mm
from experiments import write_results as results
from experiments.baselines.process import NotRunError
from experiments.calibration import difficulty
from experiments.evaluation import case as case_module
from experiments.evaluation import datasets, image_proxies, methods
from experiments.evaluation import score_cache as kept
from experiments.evaluation import whole_sets as set_cells
from experiments.evaluation.case import SEEDS, labellings, make_case, score
from experiments.paper import grid, tables
from experiments.paper.released_eval import pool_images
from multimap_jax.prompts.aspect import word_embeddings


@pytest.fixture(scope="module")
def case():
    labelled, clip = datasets.twin("fruit", 36, seed=4), mm.load_clip("embedded")
    item, embeddings = datasets.find("fruit"), clip.embed_images(labelled.images)
    case = make_case(item, labelled, "color", clip, embeddings, mm.ProxyConfig.paper(steps=20))
    return dataclasses.replace(case, pooled=pool_images(clip, labelled.images))


def test_the_most_picked_words_are_as_many_as_the_groups(case):
    labels, long = methods.most_picked(case), dataclasses.replace(case, words=("red", "crimson", "green", "yellow"))
    assert set(labels) <= set(range(len(case.words))) and len(set(labels)) <= case.clusters
    counts = np.bincount(methods.zero_shot(long), minlength=4)
    assert set(methods.most_picked(long)) <= set(np.argsort(-counts, kind="stable")[:3])
    exact = dataclasses.replace(case, words=case.names)
    assert np.array_equal(methods.most_picked(exact), methods.zero_shot(exact))


def test_moved_images_lie_where_the_words_are(case):
    moved = image_proxies.move(case)
    assert moved.shape == case.embeddings.shape and np.allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-5)
    texts = word_embeddings(case.clip, case.asked())
    assert (moved @ texts.T).mean() > (case.embeddings @ texts.T).mean() + 0.05


@pytest.fixture
def table_flags(tmp_path):
    """The table programs' flags, quick and small, taken away again afterwards."""
    before = set(flags.FLAGS)
    tables.define_flags(str(tmp_path / "out"))
    flags.FLAGS(["test", "--quick", "--datasets=fruit", "--methods=image k-means,CLIP_GPT"])
    yield tmp_path / "out"
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_gives_features_or_labels_of_all_images(name, case):
    outcome = methods.find(name)(case)
    assert np.isfinite(outcome.features if isinstance(outcome, case_module.Learnt) else outcome).all()
    labels = labellings(outcome, case, seeds=2)
    assert {found.shape for found in labels} == {(36,)}
    once = name.startswith("CLIP_") or name == "most picked"
    seeded = name.startswith("default: ") or name in ("Multi-MaP default", "TGAICC")
    assert len(labels) == (1 if once else SEEDS if seeded else 2)
    assert 0 <= score(outcome, case, seeds=2)[0]["nmi"] <= 1


@pytest.mark.slow
def test_the_ablations_differ_by_their_terms(case):
    found = {name: methods.find(name)(case) for name in methods.METHODS if name.startswith("Multi-MaP_")}
    names = list(found)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            assert np.abs(found[first] - found[second]).max() > 1e-4, (first, second)


def test_unknown_methods_list_the_known_ones():
    with pytest.raises(ValueError, match="known: Multi-MaP, "):
        methods.find("magic")


@pytest.mark.slow
def test_the_grid_gives_each_setting_its_own_fit(case):
    settings = [(0.01, 0.0), (0.001, 5e-4)]
    losses = grid.grid_losses(case, settings, steps=20)
    for (rate, decay), loss in zip(settings, losses):
        config = dataclasses.replace(case.config, learning_rate=rate, weight_decay=decay)
        fit = mm.fit_proxies(case.clip, case.embeddings, case.asked(), contrast=case.contrast, config=config)
        assert loss == pytest.approx(fit.loss.mean(), rel=1e-4)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


@pytest.mark.slow
def test_a_table_is_written_and_a_second_run_computes_nothing(table_flags, monkeypatch, capsys):
    tables.run_table("table2", ["Multi-MaP"], "table2_methods.csv")
    with (table_flags / "table2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == tables.COLUMNS and len(rows) == 4
    assert {row["method"] for row in rows} == {"image k-means", "CLIP_GPT"}
    assert all(float(row["nmi_low"]) <= float(row["nmi"]) <= float(row["nmi_high"]) for row in rows)
    monkeypatch.setattr(kept.Runs, "add", lambda *_: pytest.fail("a finished cell was computed again"))
    tables.run_table("table2", ["Multi-MaP"], "table2_methods.csv")
    assert "drawn twins" in (table_flags / "table2.md").read_text()


def test_a_missing_set_leaves_its_rows_empty(table_flags, tmp_path, capsys):
    flags.FLAGS.data = str(tmp_path)
    tables.run_table("table2", ["Multi-MaP"], "table2_methods.csv")
    with (table_flags / "table2.csv").open() as file:
        assert {row["nmi"] for row in csv.DictReader(file)} == {""}
    assert "left empty: Fruit is not below" in capsys.readouterr().out


@pytest.mark.slow
def test_a_method_for_a_whole_set_answers_all_its_aspects_from_one_cell(table_flags, monkeypatch, capsys):
    asked = []

    def run_cell(name, task, labelled, seed, limit):
        asked.append(name)
        aspects = {
            aspect: case_module.rate_labels(np.stack([labels == labels[0]] * 2), labels, seed)
            for aspect, labels in labelled.labels.items()
        }
        cost = {"epochs": 7, "losses": {"gap": 0.25}, "seconds": 3.2, "memory": 5_000_000, "note": "two views"}
        return {"aspects": aspects} | cost

    monkeypatch.setattr(set_cells, "run_cell", run_cell)
    monkeypatch.setattr(set_cells, "make_task", lambda *_: None)
    flags.FLAGS.methods, flags.FLAGS.minutes = ["image k-means", "MSC"], 1e-9
    tables.run_table("table2", [], "table2_methods.csv")
    assert not asked and "as the time is over: Fruit all, MSC" in capsys.readouterr().out
    flags.FLAGS.minutes = None
    for _ in range(2):
        tables.run_table("table2", [], "table2_methods.csv")
    assert asked == ["MSC"]
    with (table_flags / "table2.csv").open() as file:
        rows = {(row["aspect"], row["method"]): row for row in csv.DictReader(file)}
    assert len(rows) == 4 and all(float(row["nmi"]) > 0 for row in rows.values())
    assert rows["species", "MSC"]["paper_nmi"] == "0.1627"
    text = (table_flags / "table2.md").read_text()
    assert "| Fruit | MSC | 7 | gap 0.25 | 3.2 | 5 | two views |" in text
    assert re.search(r"\| Fruit \| image k-means \| – \| \| \d+\.\d \| – \| \|", text)


@pytest.mark.slow
def test_a_method_that_gives_nothing_leaves_its_column_empty(table_flags, monkeypatch, capsys):
    def run_cell(*_):
        raise NotRunError("MSC took too long")

    monkeypatch.setattr(set_cells, "run_cell", run_cell)
    monkeypatch.setattr(set_cells, "make_task", lambda *_: None)
    flags.FLAGS.methods = ["MSC"]
    tables.run_table("table2", [], "table2_methods.csv")
    assert "left empty: Fruit, MSC took too long" in capsys.readouterr().out
    assert "| Fruit | color | 0 | – (0.689 / 0.805) |" in (table_flags / "table2.md").read_text()


def test_a_torn_last_line_is_passed_over(tmp_path):
    runs = kept.Runs(tmp_path / "runs.jsonl")
    runs.add(("a", 1), [{"nmi": 0.5}])
    with runs.path.open("a") as file:
        file.write('[["b", 2], [{"nm')
    assert kept.Runs(runs.path).scores == {("a", 1): [{"nmi": 0.5}]}


def test_the_papers_figures_stand_beside_ours():
    paper = tables.read_paper(tables.PAPER / "table3_clip_variants.csv")
    assert paper["Card", "order", "CLIP_GPT"] == (0.3518, 0.8458) and len(paper) == 48


def cell(method, nmi, spread=0.0):
    resampled = nmi + spread * np.random.default_rng(0).normal(size=500)
    return tables.Cell("fruit", "color", method, 300, nmi, nmi, resampled)


def test_bold_needs_a_paired_difference_beyond_chance():
    def best(*rows):
        return tables.significantly_best(rows)

    sure, close = [cell("a", 0.6, 0.01), cell("b", 0.5)], [cell("a", 0.51, 0.01), cell("b", 0.5)]
    assert best(sure) == ["a"] and best(close) == [None] and best([cell("a", 0.5), cell("b", 0.5)]) == [None]
    assert best([*sure, cell("c", 0.595)]) == [None]
    doubtful = [cell("a", 0.522, 0.01), cell("b", 0.5)]
    assert best(doubtful) == ["a"] and best(doubtful, close) == [None, None] and best(doubtful, sure) == ["a", "a"]
    assert best([tables.make_cell("fruit", "color", "a", [])]) == [None]
    assert tables.visible([close, sure]) == pytest.approx(0.028, rel=0.1)


def test_runs_are_json_lines(tmp_path):
    runs = kept.Runs(tmp_path / "deep" / "runs.jsonl")
    runs.add(("a",), 1)
    assert json.loads(runs.path.read_text()) == [["a"], 1]


def test_the_results_are_made_from_what_was_measured():
    found = results.pages(results.FOLDER / "results")
    for path, text in found.items():
        assert path.read_text() == text, path
    written = found[results.FOLDER / "RESULTS.md"]
    assert written.startswith("# Results") and written.count("](results/benchmark_proxies") == 3
    for link in re.findall(r"\]\((results/[^)]*)\)", written):
        assert (results.FOLDER / link).is_file(), link


@pytest.mark.parametrize("folder", ["twins", "photos", "fashion"])
def test_tables_2_and_3_agree_where_they_show_the_same_cell(folder):
    def cells(name):
        with (results.FOLDER / "results" / folder / f"{name}.csv").open(newline="") as file:
            return {(row["dataset"], row["aspect"], row["method"]): row for row in csv.DictReader(file)}

    first, second = cells("table2"), cells("table3")
    shared = first.keys() & second.keys()
    assert {method for *_, method in shared} >= {"Multi-MaP", "Multi-MaP released", "Multi-MaP default", "CRL"}
    assert [first[place] for place in shared] == [second[place] for place in shared]


def test_a_kept_run_is_of_one_code(monkeypatch):
    source = "def method(case):\n    return case.embeddings * {}  # {}\n"
    digests = []
    for text in (source.format(1, "one"), source.format(1, "a comment"), source.format(2, "one")):
        monkeypatch.setattr(kept.inspect, "getsource", lambda _, text=text: text)
        kept.code_digest.cache_clear()
        digests.append(kept.code_digest(methods.crl))
    assert digests[0] == digests[1] != digests[2]
    monkeypatch.undo()
    kept.code_digest.cache_clear()
    ours = kept.code_digest(methods.default_round)
    monkeypatch.setattr(kept, "library_code", lambda: "another library")
    kept.code_digest.cache_clear()
    assert kept.code_digest(methods.default_round) != ours
    kept.code_digest.cache_clear()


def test_a_cell_is_of_all_that_makes_it(monkeypatch):
    item = datasets.find("fruit")
    code = lambda: (kept.code_digest.cache_clear(), tables.cell_code(item, "color", "Multi-MaP"))[1]  # noqa: E731
    digests = [code(), code()]
    for module, name, value in (
        (grid, "RATES_AND_DECAYS", ((0.5, 0.0),)),
        (case_module, "SEEDS", 3),
        (tables, "chosen_config", lambda case, key, runs: case.config),
    ):
        monkeypatch.setattr(module, name, value)
        if name == "SEEDS":
            monkeypatch.setattr(case_module.labellings, "__defaults__", (3,))
        digests.append(code())
    kept.code_digest.cache_clear()
    assert digests[0] == digests[1] and len(set(digests)) == 4


def test_the_code_of_a_program_counts_though_it_is_run_as_main(tmp_path):
    script = "from experiments.evaluation import case, score_cache as kept; case.rate.__module__ = '__main__';"
    script += "assert any('resampled_nmi' in text for text in kept.sources(case.rate, {}))"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=results.FOLDER.parent)


def test_a_record_after_a_torn_line_is_kept(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('[["a", 1], 2]\n[["b", 2], [{"nm')
    kept.Runs(path).add(("c",), 3)
    assert kept.Runs(path).scores == {("a", 1): 2, ("c",): 3}


def test_the_code_of_a_method_is_that_of_what_it_calls_and_of_no_other():
    code = kept.sources(methods.default_round, {})
    for part in ("default_round", "default_words", "in_span"):
        assert any(f"name='{part}'" in text for text in code)
    assert not any("name='crl'" in text for text in code)
    assert kept.code_digest(methods.METHODS["Multi-MaP_p"]) != kept.code_digest(methods.METHODS["Multi-MaP_r"])
    assert kept.code_digest(methods.crl, ("red",)) != kept.code_digest(methods.crl, ("green",))
    assert "multi_sub" not in str(code) and "class" not in kept.plain("# class\nx = 1")


@pytest.mark.slow
def test_the_default_in_the_tables_is_what_the_estimator_gives(case):
    model = mm.MultiMaP(case.asked(), case.clip, case.clusters, contrast=case.contrast, random_state=1).fit(
        case.embeddings
    )
    assert (methods.default(case)[1] == model.labels_).all()
    one = dataclasses.replace(case, words=case.words[:1], embeddings=case.embeddings[:12], truth=case.truth[:12])
    model = mm.MultiMaP(one.asked(), one.clip, one.clusters, contrast=one.contrast).fit(one.embeddings)
    assert model.features_ == "proxy" and (methods.default(one)[0] == model.labels_).all()


@pytest.mark.slow
def test_the_difficulty_is_the_lowest_that_zero_shot_finds_hard():
    assert difficulty.chosen({0: 1.0, 1: 0.83, 2: 0.64, 3: 0.52}) == 2
    assert difficulty.chosen({0: 1.0, 1: 0.83, 2: 0.44}) is None
    clip, means = mm.load_clip("embedded"), {}
    for level in (0, 2):
        found = difficulty.zero_shot_means(clip, level, 20, 5)
        assert len(found) == 15 and "cmuface identity" not in found
        means[level] = np.mean(list(found.values()))
    assert means[0] > 0.95 > 0.85 > means[2]
