"""Which results are older than their code."""

from experiments import stale


def test_a_program_is_made_of_all_that_it_imports_starts_or_asks_for():
    names = {f"{path.relative_to(stale.ROOT)}" for path in stale.files_of("experiments.benchmarks.command")}
    assert "experiments/benchmarks/measuring.py" in names, "it imports it"
    assert "multimap_jax/report/page.py" in names, "it starts the command, which writes the page"
    assert "multimap_jax/encoders/load.py" in names
    assert not any(name.startswith("experiments/paper/") for name in names)
    assert stale.files_of("no.such.program") == set()


def test_the_commit_of_a_page_is_read_where_it_stands(tmp_path):
    (tmp_path / "with.md").write_text(
        "## A\n\n`python -m experiments.benchmarks.fit --out=x.json`, 2026-11-29, AMD, 2 cores, commit 6dc97c9+.\n"
    )
    (tmp_path / "without.md").write_text("## B\n\n`python -m experiments.paper.table2`, 2026-11-25, AMD, 2 cores.\n")
    (tmp_path / "other.md").write_text("no command\n")
    found = {path.name: parts for path, parts in stale.results(tmp_path)}
    assert found == {
        "with.md": {"program": "experiments.benchmarks.fit", "day": "2026-11-29", "commit": "6dc97c9"},
        "without.md": {"program": "experiments.paper.table2", "day": "2026-11-25", "commit": None},
    }


def test_every_page_of_a_measurement_names_a_program_that_is_there():
    pages = list(stale.results(stale.RESULTS))
    assert len(pages) > 30
    assert all(stale.file_of(str(parts["program"])) for _, parts in pages)
    assert set(stale.RESULTS.rglob("*.md")) == {path for path, _ in pages} | {stale.RESULTS / "reading.md"}
