"""What the command says to people: help by what they want, the nearest right flag, the flag that an error is about."""

import pytest

from multimap_jax import cli
from multimap_jax.manners import with_flag


@pytest.mark.parametrize("verb", [verb for verb in cli.VERBS if verb])
def test_help_of_every_verb_has_three_examples(verb, capsys):
    assert cli.main(["multimap", "help", verb]) == 0
    said = capsys.readouterr().out
    assert sum(line.startswith("  multimap ") for line in said.splitlines()) >= 3
    assert cli.main(["multimap", verb, "--help"]) == 0 and capsys.readouterr().out == said
    assert all(f"--{name}:" in said for name in cli.VERBS[verb][0]() if name != "h")


def test_help_begins_with_what_one_wants_to_do(capsys):
    assert cli.main(["multimap", "help"]) == 0
    said = capsys.readouterr().out
    assert "What do you want to do?" in said and all(f"multimap {verb}" in said for verb in cli.VERBS if verb)
    assert sum(line.startswith("  multimap ") for line in said.splitlines()) == 3
    assert cli.main(["multimap"]) == 2 and "What do you want to do?" in capsys.readouterr().out


@pytest.mark.parametrize(
    "typed, said",
    [
        (["--imags=x"], "did you mean --images?"),
        (["--claster=3"], "did you mean --clusters?"),
        (["export", "--form=copy"], "unknown flag --form"),
        (["export", "--dryrun"], "did you mean --dry_run?"),
        (["--edits=x"], "it belongs to multimap edit"),
        (["edti"], "did you mean multimap edit?"),
        (["help", "exprot"], "did you mean multimap export?"),
        (["photos"], "everything is a flag"),
        (["export", "--how=move"], "--how=move: value should be one of <copy|link>"),
    ],
)
def test_what_is_typed_wrongly_is_answered_by_the_nearest(typed, said, capsys):
    assert cli.main(["multimap", *typed]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "--help" in error


def test_an_error_names_the_flag_to_change():
    known = ["images", "steps", "clusters", "out"]
    assert with_flag("there is no folder a/b", {"images": "a/b/", "out": "a"}, known).endswith("(see --images)")
    assert with_flag("steps is -1", {}, known).endswith("(see --steps)")
    assert with_flag("9 groups asked for", {}, known).endswith("(see --clusters)")
    for said in ("give --out", "who knows"):
        assert with_flag(said, {"out": ""}, known) == said
