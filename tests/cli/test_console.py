"""What the command says to people: help by what they want, the nearest right flag, the flag that an error is about."""

import errno
import io
import os
import re
import subprocess
import sys

import jax
import pytest

from multimap_jax.cli import console, group
from multimap_jax.cli import main as cli
from multimap_jax.cli.flags import by_aspect, make_flags, names_by_heading
from multimap_jax.errors import InputError, MissingError


@pytest.mark.parametrize("verb", [verb for verb in cli.VERBS if verb])
def test_help_of_every_verb_has_three_examples(verb, capsys):
    assert cli.main(["multimap", "help", verb]) == 0
    said = capsys.readouterr().out
    assert sum(line.startswith("  multimap ") for line in said.splitlines()) >= 3
    assert cli.main(["multimap", verb, "--help"]) == 0 and capsys.readouterr().out == said
    groups = names_by_heading(cli.VERBS[verb].FLAGS)
    assert said.count("\n  --") == len(make_flags(cli.VERBS[verb].FLAGS)) - 1  # all but -h
    for heading, names in groups.items():
        below = said.partition(f"\n\n{heading}:\n")[2].partition("\n\n")[0]
        assert re.findall(r"^  --(\w+):", below, re.M) == names


def test_help_begins_with_what_one_wants_to_do(capsys):
    assert cli.main(["multimap", "help"]) == 0
    said = capsys.readouterr().out
    assert "What do you want to do?" in said and all(f"multimap {verb}" in said for verb in cli.VERBS if verb)
    assert sum(line.startswith("  multimap ") for line in said.splitlines()) == 3
    assert cli.main(["multimap"]) == 2 and "What do you want to do?" in capsys.readouterr().out


@pytest.mark.parametrize(
    "typed, said",
    [
        (["--imags=x"], "did you mean --images? (see multimap help group)"),
        (["--claster=3"], "did you mean --clusters?"),
        (["export", "--form=copy"], "unknown flag --form (see multimap help export)"),
        (["export", "--dryrun"], "did you mean --dry_run?"),
        (["--edits=x"], "it is a flag of multimap edit (see multimap help edit)"),
        (["--run=x"], "it is a flag of multimap edit, apply, export (see multimap help edit)"),
        (["sort"], "the commands are group, suggest"),
        (["edti"], "did you mean multimap edit? (see multimap help)"),
        (["help", "exprot"], "did you mean multimap export? (see multimap help)"),
        (["photos"], "the commands are group, suggest, edit, apply, export, embed; give everything else as flags"),
        (["export", "--how=move"], "--how=move: expected one of copy, link, such as --how=copy (see multimap help exp"),
        (["--leftover=5%"], "--leftover=5%: expected a number, such as --leftover=0.05 (see multimap help group)"),
        (["--steps=abc"], "--steps=abc: expected a whole number, such as --steps=10 (see"),
        (["--heartbeat=0"], "--heartbeat=0: expected a whole number from 1 to 86,400, such as"),
        (["--fresh=maybe"], "--fresh=maybe: expected true or false, such as --fresh=true (see"),
        (["--steps"], "--steps has no value: type --steps=VALUE (see"),
    ],
)
def test_what_is_typed_wrongly_is_answered_by_the_nearest(typed, said, capsys):
    assert cli.main(["multimap", *typed]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "(see multimap help" in error


def test_an_error_names_the_flag_to_change():
    def said(error):
        return console.sentence(error, make_flags(group.FLAGS))

    assert said(MissingError("there is no folder a/b", "images")) == "there is no folder a/b (see --images)"
    assert said(InputError("9 groups asked for", "n_clusters")) == "9 groups asked for (see --clusters)"
    assert said(InputError("random_state is -1", "random_state", "0")) == "random_state is -1 (use --seed=0)"
    assert said(FileNotFoundError(2, "gone", "a/b")) == "there is no file or folder a/b"
    assert said(OSError(5, "Input/output error", "a/b")).startswith("cannot read or write a/b (Input/output error):")
    for error in (InputError("another --out", "out"), InputError("no such thing", "edits"), ValueError("who knows")):
        assert said(error) == str(error).partition(" (see")[0]


@pytest.mark.slow
@pytest.mark.parametrize("told", ["JAX_PLATFORMS=cuda", "JAX_PLATFORMS=nothing,cpu", "JAX_PLATFORM_NAME=nothing"])
def test_a_platform_that_is_not_here_is_named_before_anything_is_read(told, finished):
    if told == "JAX_PLATFORMS=cuda" and any(device.platform == "gpu" for device in jax.devices()):
        pytest.skip("it is here")
    name, _, value = told.partition("=")
    script = (
        "import sys; from multimap_jax.cli import main as cli\n"
        "for verb in sys.argv[2:]: assert cli.main(['multimap', *verb.split(), *sys.argv[1].split()]) == 2, verb\n"
    )
    photos, run = finished
    verbs = ["--aspect=a --clusters=a=2 --images=/x", "suggest --images=/x", "embed --out=/x --images=/x"]
    verbs += [f"apply --run={run} --out=/x --images=/x", f"export --run={run} --to=x.csv"]
    verbs += [f"edit --run={run} --edits=/x --out=/x"]
    environment = {key: text for key, text in os.environ.items() if not key.startswith("JAX_PLATFORM")} | {name: value}
    done = subprocess.run(
        [sys.executable, "-c", script, "--noprogress", *verbs], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(verbs) and all(f"JAX finds no device with {told}" in line for line in lines)


STREAMS = {  # what the shell does to the command -> the status of --version and of what is wrong
    "2>&-": (0, 2),
    ">&-": (0, 2),
    ">&- 2>&-": (0, 2),
    "<&- >&- 2>&-": (0, 2),
    "</dev/null 2>/dev/full": (0, 2),
    ">/dev/full": (2, 2),
}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux's")
@pytest.mark.parametrize("streams", STREAMS)
def test_a_process_without_standard_streams_does_its_work(streams):
    statuses = []
    for flag in ("--version", "--nonsense"):
        command = f'"{sys.executable}" -m multimap_jax {flag} {streams}'
        done = subprocess.run(command, shell=True, capture_output=True, text=True)
        statuses.append(done.returncode)
        assert done.stderr.count("\n") <= 1 and "Traceback" not in done.stderr
    assert tuple(statuses) == STREAMS[streams]


def test_what_cannot_be_printed_ends_no_run_but_is_said(monkeypatch, capsys):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(group, "run", lambda values: (console.say("done"), console.say("written")))
    assert cli.main(["multimap", "--seed=1"]) == 2
    sys.stdout.close()
    monkeypatch.undo()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "cannot write to standard output (No space left on device)" in said
    monkeypatch.setattr(sys, "stderr", Full())
    monkeypatch.setattr(group, "run", lambda values: console.note("done"))
    assert cli.main(["multimap", "--seed=1"]) == 0
    sys.stderr.close()


def test_missing_streams_are_opened(monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert cli.main(["multimap", "--version"]) == 0 and sys.stdin.read() == "" and not sys.stderr.isatty()
    sys.stdin.close(), sys.stdout.close(), sys.stderr.close()


@pytest.mark.parametrize(
    "typed, said",
    [
        (["--seed=1", "--seed=2"], "--seed=1 and --seed=2 contradict each other"),
        (["--noprogress", "--progress"], "--noprogress and --progress contradict each other"),
        (["--vocabulary=a", "--vocabulary=a,b"], "--vocabulary=a and --vocabulary=a,b contradict"),
        (["export", "--how", "copy", "--how", "link"], "--how=copy and --how=link contradict"),
        (["--seed=1", "--seed=1"], "--images is missing"),
        (["--aspect=a", "--aspect=b"], "--images is missing"),
    ],
)
def test_of_a_flag_that_is_given_twice_neither_value_wins(typed, said, capsys):
    assert cli.main(["multimap", *typed]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_help_of_help_is_help(capsys):
    assert cli.main(["multimap", "help", "help"]) == 0 and "What do you want to do?" in capsys.readouterr().out
    assert cli.main(["multimap", "help", "help", "edit"]) == 0 and "edits.json" in capsys.readouterr().out


def test_a_deleted_current_folder_is_named(monkeypatch, capsys):
    def gone():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    assert cli.main(["multimap", "--images=x", "--aspect=a", "--clusters=a=2"]) == 2
    assert "the current folder was deleted: change to another one" in capsys.readouterr().err


@pytest.mark.parametrize("part, said", [("0/0", "at least one worker"), ("1/0", "at least one worker"), ("0/2", "1/2")])
def test_parts_are_numbers_that_there_are(part, said, capsys):
    assert cli.main(["multimap", "embed", "--images=x", "--out=x", f"--part={part}"]) == 2
    assert said in capsys.readouterr().err


def test_an_aspect_may_have_an_equals_sign_in_its_name():
    given = ["a=b=red,green", "a=c=blue", "a=b=c=x"]
    assert by_aspect("words", given, ["a", "a=b", "a=b=c"]) == {"a=b": "red,green", "a": "c=blue", "a=b=c": "x"}
    with pytest.raises(ValueError, match="^--words=.*: expected an aspect and words, such as --words=a=b=red,green$"):
        by_aspect("words", ["a=b="], ["a", "a=b"])
    with pytest.raises(
        ValueError, match="^--words=d=e: 'd' is not an aspect of this command, expected a: .* add --aspect=d$"
    ):
        by_aspect("words", ["d=e"], ["a"])
    given = ["Color=Red", "cafe\u0301=b =1"]
    assert by_aspect("words", given, ["color", "CAFÉ=B"]) == {"color": "Red", "CAFÉ=B": "1"}
    with pytest.raises(ValueError, match="twice for the aspect 'color'"):
        by_aspect("words", ["Color=red", "color=blue"], ["color"])


@pytest.mark.parametrize("more, is_said", [([], True), (["--clusters=color=2"], False), (["--aspect=a"], True)])
def test_one_word_gets_a_note_that_says_what_to_type(more, is_said, capsys):
    flags = ["--images=nowhere", "--aspect=color", "--words=color=red", *more]
    assert cli.main(["multimap", *flags]) == 2
    said = "only one word, so all images go into one group: give more words, such as --words=color=red,…, or"
    assert (said in capsys.readouterr().err) == is_said
