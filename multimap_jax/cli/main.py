"""The command `multimap`: flags, help and exit status. Heavy modules are imported once the flags are in order."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path

from absl import flags

from multimap_jax import choices
from multimap_jax.cli.console import (
    check_folder,
    open_streams,
    refuse_second_values,
    unknown_flag,
    unknown_word,
    with_flag,
    write_line,
)
from multimap_jax.cli.flags import define_settings, given_settings
from multimap_jax.cli.signals import CHILD, begin_child, run_child, until_stopped
from multimap_jax.cli.verbs import (
    EDIT_USAGE,
    EXPORT_USAGE,
    begin_edit,
    begin_export,
    check_given,
    define_edit_flags,
    define_export_flags,
)
from multimap_jax.errors import InputError, hint
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.settings import ProxySettings, Settings
from multimap_jax.storage.filenames import printable, without_secrets
from multimap_jax.storage.objects import remove_fetched
from multimap_jax.storage.paths import parse_path

USAGE = """Groups the images of a folder by what a word says, and another way for another word.

What do you want to do?
  group images, look at the groups        multimap --images=… --subject=… --aspect=… --out=out/    (the flags below)
  find out what they could be grouped by  multimap suggest
  merge, split or rename groups           in out/report.html, then multimap edit
  put new images into the same groups     multimap apply
  get folders, or a table                 multimap export
  embed very many images, in parts        multimap embed
multimap help VERB says how, with examples.

  multimap --images=photos/ --subject=fruit --aspect=color --clip=openai/clip-vit-base-patch32 --out=out/
  multimap --images=photos/ --subject=fruit --aspect=color --aspect=species \\
           --words=color=red,green,yellow --clusters=species=3 --clip=openai/clip-vit-base-patch32 --out=out/
  multimap export --run=out/ --aspect=color --to=folders/ --how=link

Writes labels.csv, run.json, report.html and, given --labels, metrics.json into --out. What was computed is kept there:
the same command goes on after an interruption, another aspect or more images cost only what is new.
srun multimap … --distributed is one run of many hosts: a Cloud TPU slice, under Slurm or Open MPI.
Exit status: 0, or 2 with one sentence where something given is wrong.
"""
SUGGEST_USAGE = """Ranks the vocabulary's aspects by how well the encoder tells them apart in these images, and prints
the command to run next. Embeddings are kept in --out, where that command finds them.

  multimap suggest --images=photos/ --subject=fruit --clip=openai/clip-vit-base-patch32 --out=out/
  multimap suggest --embeddings=out/ --subject=fruit --clip=openai/clip-vit-base-patch32
  multimap suggest --images=photos/ --subject=fruit --vocabulary=builtin,mine.txt --out=out/
"""
APPLY_USAGE = """Puts new images into the groups of a finished run. Nothing is grouped anew.

  multimap apply --run=out/ --images=new/ --out=more/
  multimap apply --run=edited/ --images=new/ --out=more/          (the groups as multimap edit made them)
  multimap apply --run=out/ --images=new/ --labels=truth.csv --out=more/

Writes labels.csv, run.json, report.html and, given --labels, metrics.json into --out.
"""
EMBED_USAGE = """Only embeds the images, for multimap --embeddings=OUT and for other tools.

  multimap embed --images='shards/{00000..00031}.tar' --clip=openai/clip-vit-base-patch32 --out=out/ --part=2/16
  multimap embed --images=photos/ --clip=openai/clip-vit-base-patch32 --out=out/
  multimap --embeddings=out/ --subject=… --aspect=… --clip=openai/clip-vit-base-patch32 --out=groups/    (then)

--part=2/16 is the second of sixteen workers, which need not know of each other: each takes every sixteenth shard. A
worker that died is started again and does what is missing. With --distributed instead, the same line on every host of
a Cloud TPU slice, under Slurm or Open MPI, each takes its part.
"""
SOURCE = (
    "folder of images, looked through recursively; a list (.csv, .parquet) with a column of paths; parquet files that "
    "hold images; tar files: 'shards/{00000..00031}.tar' or 'data/*.parquet'"
)
READY = (
    "instead of --images: embeddings by --clip that are there, in a folder as multimap or clip-retrieval write them, "
    "or one .npy with a .csv or .parquet of the same name"
)
WORDS = (
    "candidate words of an aspect: color=red,green,yellow; or where they come from: species=vocabulary, "
    "species=wordnet, species=wordnet:bird, species=llm, species=none, and the images choose among those. Without "
    "this flag: the vocabulary, for an aspect that it knows"
)
CLUSTERS = (
    "number of groups of an aspect: color=3, or color=auto, and it is found; without this flag one for each word that "
    "is given, else auto"
)
FLAGS = "--coordinator, --processes and --process"
DIGITS = 12
REPEATABLE = ("aspect", "words", "clusters")
_typed: list[str] = []  # addresses
_unsaid: list[str] = []  # why something that was to be printed was not


def define_flags() -> flags.FlagValues:
    """The flags of this command, in a set of their own: importing this module defines no global flag."""
    values = flags.FlagValues()
    define = {"flag_values": values}
    flags.DEFINE_string("images", None, SOURCE, **define)
    flags.DEFINE_string("embeddings", None, READY, **define)
    flags.DEFINE_string("subject", choices.SUBJECT, "what is in the images", **define)
    flags.DEFINE_multi_string("aspect", [], "what to group by, once for each grouping", **define)
    flags.DEFINE_list("contrast", list(choices.CONTRAST), "aspects pushed away from, if the recipe does", **define)
    flags.DEFINE_multi_string("words", [], WORDS, **define)
    _define_source_flags(values)
    flags.DEFINE_string("llm", None, "address of a language model that is asked for words: https://host/v1", **define)
    flags.DEFINE_string("llm_model", None, "its name there; the key is read from MULTIMAP_LLM_KEY alone", **define)
    flags.DEFINE_multi_string("clusters", [], CLUSTERS, **define)
    flags.DEFINE_string("template", choices.TEMPLATE, "prompt", **define)
    flags.DEFINE_string("clip", "embedded", "'embedded', a directory in the Hugging Face layout, or a hub id", **define)
    flags.DEFINE_string("out", "out", "folder for the results and for what is kept between runs", **define)
    flags.DEFINE_bool("fresh", False, "forget the embeddings and proxies that are kept in --out", **define)
    flags.DEFINE_enum("recipe", "default", choices.RECIPES, "named set of choices for the optimisation", **define)
    define_settings(values, Settings)
    define_settings(values, ProxySettings, of_recipe=True)
    _define_cluster_flags(values)
    flags.DEFINE_string("coordinator", None, "several processes: HOST:PORT of process 0", **define)
    flags.DEFINE_integer("processes", None, "several processes: how many", **define)
    flags.DEFINE_integer("process", None, "several processes: which one this is, 0 to processes - 1", **define)
    return _define_common_flags(values)


def _define_common_flags(values: flags.FlagValues, labels: bool = True) -> flags.FlagValues:
    """`values` with the flags that every verb has, or every one that groups images."""
    define = {"flag_values": values}
    if labels:
        flags.DEFINE_string("labels", None, "csv of true labels: column image, then one column an aspect", **define)
    flags.DEFINE_bool("progress", True, "show progress bars", **define)
    flags.DEFINE_enum("log", "bars", choices.LOGS, "bars on a terminal, or a line a minute on stderr", **define)
    flags.DEFINE_string("profile", None, "folder for JAX's traces of a few chunks of work", **define)
    flags.DEFINE_bool("version", False, "show the version", **define)
    flags.DEFINE_bool("help", False, "show this help", short_name="h", **define)
    return values


def _define_cluster_flags(values: flags.FlagValues) -> None:
    """The flags of verbs that several processes can run as one, which the cluster knows."""
    define = {"flag_values": values}
    flags.DEFINE_bool("distributed", False, "several processes, which JAX finds: the same line on every host", **define)
    flags.DEFINE_integer(
        "heartbeat",
        choices.HEARTBEAT_SECONDS,
        "several processes: seconds of silence after which one counts as dead",
        lower_bound=1,
        upper_bound=24 * 60 * 60,
        **define,
    )


def help_text(values: flags.FlagValues, usage: str) -> str:
    lines = [usage]
    for name in (name for name in values if name != "h"):
        flag = values[name]
        default = ",".join(flag.default) if isinstance(flag.default, list) else flag.default
        # absl adds a sentence of its own, set off by a line break, to flags that may be repeated.
        text = f"--{name}: " + flag.help.split(";\n")[0]
        if isinstance(flag, flags.EnumFlag):
            text += f": {', '.join(flag.parser.enum_values)}"
        text += " (repeatable)" if name in REPEATABLE else ""
        text += "" if default in (None, "") or default is False else f" (default: {default})"
        lines += textwrap.wrap(text, 100, initial_indent="  ", subsequent_indent=" " * 6)
    return "\n".join(lines)


def _define_source_flags(values: flags.FlagValues) -> None:
    """Where words come from that the user does not give."""
    define = {"flag_values": values}
    flags.DEFINE_list(
        "vocabulary",
        ["builtin"],
        "files of aspects and words, lines like color: red, green; later ones go first, 'builtin' is the package's",
        **define,
    )
    flags.DEFINE_string("wordnet", None, "folder of WordNet's index.noun and data.noun, if not the usual one", **define)


def define_suggest_flags() -> flags.FlagValues:
    """The flags of `multimap suggest`."""
    values = flags.FlagValues()
    define = {"flag_values": values}
    flags.DEFINE_string("images", None, SOURCE, **define)
    flags.DEFINE_string("embeddings", None, READY, **define)
    flags.DEFINE_string("subject", choices.SUBJECT, "what is in the images", **define)
    flags.DEFINE_string("clip", "embedded", "'embedded', a directory in the Hugging Face layout, or a hub id", **define)
    flags.DEFINE_string("out", "out", "folder for the embeddings, which the next command finds there", **define)
    _define_source_flags(values)
    return _define_common_flags(values, labels=False)


def define_apply_flags() -> flags.FlagValues:
    """The flags of `multimap apply`."""
    values = flags.FlagValues()
    define = {"flag_values": values}
    flags.DEFINE_string("run", None, "folder of a finished run, its --out", **define)
    flags.DEFINE_string("images", None, f"the new images: {SOURCE}", **define)
    flags.DEFINE_string("out", None, "folder for the results, another one than the run's", **define)
    flags.DEFINE_string("clip", None, "where the run's checkpoint lies now", **define)
    return _define_common_flags(values)


def define_embed_flags() -> flags.FlagValues:
    """The flags of `multimap embed`."""
    values = flags.FlagValues()
    define = {"flag_values": values}
    flags.DEFINE_string("images", None, SOURCE, **define)
    flags.DEFINE_string("clip", "embedded", "'embedded', a directory in the Hugging Face layout, or a hub id", **define)
    flags.DEFINE_string("out", None, "folder for the embeddings, the same one for all workers", **define)
    flags.DEFINE_string("part", "1/1", "this worker's number, from 1, and how many there are: 2/16", **define)
    _define_cluster_flags(values)
    return _define_common_flags(values, labels=False)


VERBS = {
    "apply": (define_apply_flags, APPLY_USAGE),
    "edit": (lambda: define_edit_flags(_define_common_flags), EDIT_USAGE),
    "embed": (define_embed_flags, EMBED_USAGE),
    "export": (lambda: define_export_flags(_define_common_flags), EXPORT_USAGE),
    "suggest": (define_suggest_flags, SUGGEST_USAGE),
    "": (define_flags, USAGE),
}


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    open_streams()
    _unsaid.clear()
    argv = list(sys.argv if argv is None else argv)
    _typed[:] = [value for _, _, value in (each.partition("=") for each in argv) if "://" in value]
    status = _main(argv)
    return _fail(_unsaid[0]) if _unsaid and not status else status


def _main(argv: list[str]) -> int:
    if argv[1:2] == ["help"]:
        argv[1:] = [*[word for word in argv[2:] if word != "help"][:1], "--help"]
    verb = argv[1] if len(argv) > 1 and argv[1] in VERBS else ""
    if verb:
        del argv[1]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot write a name is no reason to stop
            stream.reconfigure(errors="replace")
    define, usage = VERBS[verb]
    values = define()
    refuse_second_values(values)
    if any(each.lstrip("-").startswith("flagfile") for each in argv[1:] if each.startswith("-")):
        return _fail("--flagfile is not read here: give the flags themselves")
    see = f"(see multimap {verb} --help)".replace("  ", " ")
    try:
        rest = values(argv)[1:]
    except flags.UnrecognizedFlagError as error:
        return _fail(f"{unknown_flag(error.flagname, values, verb, {key: own[0] for key, own in VERBS.items()})} {see}")
    except flags.Error as error:
        return _fail(f"{error} {see}")
    if rest:
        return _fail(f"{unknown_word(rest[0], VERBS)} {see}")
    if values.help or values.version:
        from multimap_jax import __version__

        _say(help_text(values, usage) if values.help else f"multimap {__version__}")
        return 0
    if len(argv) == 1:
        _say(usage)
        return 2
    return until_stopped(lambda: _command(values, argv, verb), lambda: _leave(_fail(_stopped(_out(values)), 130)))


def _out(values: flags.FlagValues) -> str | None:
    """--out of a verb that has it."""
    return values.out if "out" in values else None


def _command(values: flags.FlagValues, argv: list[str], verb: str) -> int:
    """What the flags ask for; what is wrong is said here."""
    try:
        check_folder()
        processes = _processes(values)
        if (processes is None or processes.coordinator) and CHILD not in os.environ:
            status = run_child([sys.executable, "-m", "multimap_jax", *([verb] if verb else []), *argv[1:]])
            return (
                status if status >= 0 else _fail(ended_by(-status, parse_path(_out(values) or ""), values.heartbeat), 1)
            )
        if CHILD in os.environ:
            begin_child()
        with warnings.catch_warnings():
            _show_warnings_as_notes()
            return BEGIN[verb](values, processes)
    except MemoryError:
        return _leave(_fail(f"there is too little memory; {_kept(_out(values))}"))
    except (ValueError, TypeError, OSError) as error:
        given = {name: values[name].value for name in values if values[name].present}
        if isinstance(error, InputError):
            flag = {"n_clusters": "clusters", "random_state": "seed"}.get(error.parameter, error.parameter)
            return _leave(_fail(error.message + (hint(f"--{flag}", error.value and f"={error.value}") if flag else "")))
        return _leave(_fail(with_flag(sentence(error), given, values)))


def _kept(out: str) -> str:
    return f"what was finished is kept in {out}: the same command goes on from there"


def _stopped(out: str | None) -> str:
    return f"stopped; {_kept(out)}" if out else "stopped"


def _show_warnings_as_notes() -> None:
    """Each warning once, as a sentence; those meant for programmers not at all."""
    said = set()

    def show(message, *_, **__):
        if str(message) not in said:
            said.add(str(message))
            _note(str(message))

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # what is wrong with an image is said once, by its name
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = show


def _note(text: str) -> None:
    write_line("stderr", _shown(f"multimap: note: {text}"))


def _processes(values: flags.FlagValues):
    """Who takes part, as the flags say; None where the cluster is to be asked."""
    from multimap_jax.runs.distributed.process_group import ALONE, Processes

    given = [values[name].value for name in ("coordinator", "processes", "process") if name in values]
    named = any(value is not None for value in given)
    if "distributed" in values and values.distributed:
        if named or ("part" in values and values["part"].present):
            others = FLAGS if named else "--part"
            raise ValueError(f"--distributed finds all processes and what each does: leave it out, or {others}")
        return None
    if not named:
        return ALONE
    if None in given or not given[0]:
        raise ValueError(f"{FLAGS} belong together: give all three or none")
    return Processes(*given, values.heartbeat)


def _asked(values: flags.FlagValues, processes):
    """`processes`, those of the cluster where they are None."""
    from multimap_jax.runs.distributed.jax_runtime import join_cluster
    from multimap_jax.runs.distributed.process_group import Processes

    instead = "--part" if "part" in values else FLAGS
    return processes or Processes(*join_cluster(values.heartbeat, instead), values.heartbeat)


@contextlib.contextmanager
def _watched(values: flags.FlagValues, index: int, several: bool):
    """What runs within is logged and traced as the flags say. index: of this process, among several or not."""
    from multimap_jax.runtime.profiling import traces_in
    from multimap_jax.runtime.progress import lines_of_json, waiting_shown

    with contextlib.ExitStack() as watching:
        watching.enter_context(waiting_shown(values.progress and sys.stderr.isatty()))
        if values.profile:
            folder = parse_path(values.profile)
            watching.enter_context(traces_in(folder / f"process-{index}" if several else folder, _note))
        if values.log == "json":
            watching.enter_context(lines_of_json(index if several else None))
        yield


def ended_by(number: int, out: Path, heartbeat: int) -> str:
    """What to say of a process of several that signal `number` ended. JAX's runtime ends its own process by SIGABRT
    where another one is gone, and says so above; any other signal came from outside."""
    kept = f"; what was finished is kept in {out}" if (out / "plan").is_dir() else ""
    again = ": start all processes again" + (" to go on from there" if kept else "")
    if number == signal.SIGABRT:
        return f"another process of this run ended or was silent for {heartbeat} s{kept}{again}"
    name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
    hint = {
        signal.SIGKILL: ", as the system does where memory runs out",
        signal.SIGSEGV: ", as JAX is at once where process 0's port is taken (JAX_COORDINATOR_PORT names another)",
    }.get(number, "")
    return f"this process was ended by {name}{hint}{kept}{again}"


def _run(values: flags.FlagValues, processes) -> int:
    if not values.images and not values.embeddings:
        raise ValueError("--images is missing: give the folder of images")
    if values.images and values.embeddings:
        raise ValueError("--images and --embeddings exclude each other: give one")
    if not values.aspect:
        raise ValueError("--aspect is missing: say what to group by, such as --aspect=color")
    for name in values.aspect:
        if "," in name:
            each = " ".join(f"--aspect={part.strip()}" for part in name.split(","))
            raise ValueError(f"--aspect={name} is read as one name: give the flag once for each, {each}")
    words = _by_aspect("words", values.words, values.aspect)
    clusters = _by_aspect("clusters", values.clusters, values.aspect)
    sources = _sources(values)
    find = _find(values, words, sources)
    for name in (name for name in values.aspect if name not in {*find, *words, *clusters}):
        hint = f"give --words={name}=A,B,…, or --words={name}=wordnet or llm"
        _note(f"the vocabulary has no words for {name!r} of {values.subject!r}, its groups are found without: {hint}")
    words = {name: given for name, given in words.items() if name not in find and normal_form(given) != "none"}
    counts = {name: _count(name, words, clusters) for name in values.aspect}
    from multimap_jax.prompts.aspect import Aspect
    from multimap_jax.runs.group import run_group
    from multimap_jax.runs.job import Job
    from multimap_jax.runtime.compilation import start_jax

    aspects = tuple(Aspect(name, values.subject, _split(words.get(name)), values.template) for name in values.aspect)
    if not values.out:
        raise ValueError("--out is empty: give the folder for the results")
    processes = _asked(values, processes)
    job = Job(
        images=parse_path(values.images or values.embeddings),
        aspects=aspects,
        clusters=counts,
        contrast={name: tuple(other for other in values.contrast if other != name) for name in values.aspect},
        config=_config(values),
        clip=values.clip,
        labels=parse_path(values.labels) if values.labels else None,
        out=parse_path(values.out),
        settings=Settings(**given_settings(values, Settings)),
        fresh=values.fresh,
        ready=bool(values.embeddings),
        processes=processes,
        find=find,
        sources=sources,
        line=_line(values),
    )
    start_jax(bool(processes.coordinator))
    with _watched(values, processes.index, processes.count > 1):
        run_group(job, _say, progress=values.progress and sys.stderr.isatty())
    return 0


def _apply(values: flags.FlagValues, _) -> int:
    check_given(values, ("run", "images", "out"))

    from multimap_jax.runs.apply import Apply, run_apply
    from multimap_jax.runtime.compilation import start_jax

    start_jax()
    labels = parse_path(values.labels) if values.labels else None
    line = _line(values, "apply")
    job = Apply(
        parse_path(values.run), parse_path(values.images), parse_path(values.out), values.clip, labels, line=line
    )
    with _watched(values, 0, False):
        run_apply(job, _say, progress=values.progress and sys.stderr.isatty())
    return 0


def _embed(values: flags.FlagValues, processes) -> int:
    check_given(values, ("images", "out"))
    number, workers = _part(values)

    from multimap_jax.runs.embed import Embed, run_embed
    from multimap_jax.runtime.compilation import start_jax

    processes = _asked(values, processes)
    if processes.coordinator:
        number, workers = processes.index + 1, processes.count
    start_jax(bool(processes.coordinator))
    job = Embed(parse_path(values.images), parse_path(values.out), values.clip, (number, workers), processes)
    with _watched(values, number - 1, workers > 1):
        run_embed(job, _say, progress=values.progress and sys.stderr.isatty())
    return 0


def _after(begin: Callable, verb: str) -> Callable:
    """A verb that reads a finished run."""

    def run(values: flags.FlagValues, _) -> int:
        with _watched(values, 0, False):
            begin(values, _line(values, verb), _say, values.progress and sys.stderr.isatty())
        return 0

    return run


def _part(values: flags.FlagValues) -> tuple[int, int]:
    """The worker and how many there are: "2/16" -> (2, 16). ValueError for anything else."""
    number, slash, workers = values.part.partition("/")
    if not slash or not number.isdecimal() or not workers.isdecimal() or max(map(len, (number, workers))) > DIGITS:
        raise ValueError(f"--part={values.part} cannot be read: expected a worker's number and how many, such as 2/16")
    if int(workers) == 0:
        raise ValueError(f"--part={values.part}: expected at least one worker, such as 1/1")
    if not 1 <= int(number) <= int(workers):
        hint = " (a scheduler that counts from 0: --part=$((INDEX+1))/N)" if int(number) == 0 else ""
        raise ValueError(f"--part={values.part}: expected 1/{workers} to {workers}/{workers}{hint}")
    return int(number), int(workers)


def _say(text: str) -> None:
    """Prints. Where that fails the run goes on; a reader that went away (`multimap … | head`) is no failure at all."""
    error = write_line("stdout", _shown(text))
    if error and not isinstance(error, BrokenPipeError):
        _unsaid.append(f"cannot write to standard output ({error.strerror}): give it a place with room")


def _line(values: flags.FlagValues, verb: str = "") -> str:
    """The command as it was typed, for a shell; without the secrets of addresses."""
    given = [(name, without_secrets(each)) for name in values if name != "h" for each in _given(values[name])]
    return " ".join(["multimap", *([verb] if verb else []), *(shlex.quote(f"--{name}={each}") for name, each in given)])


def _shown(text: str) -> str:
    """What may go to a terminal or a log: nothing that steers it, and no secret of an address. Where one that was typed
    ends is known, whatever its password holds."""
    for address in _typed:
        text = text.replace(address, without_secrets(address))
    return printable(without_secrets(text))


def _given(flag: flags.Flag) -> list[str]:
    """The values of a flag as they were typed, [] where it was not."""
    if not flag.present:
        return []
    if flag.name in REPEATABLE:
        return list(flag.value)
    value = flag.value
    return [",".join(value) if isinstance(value, list) else str(value).lower() if flag.boolean else str(value)]


def _by_aspect(flag: str, given: list[str], aspects: list[str]) -> dict[str, str]:
    """["color=3"] -> {"color": "3"}."""
    if len(set(map(normal_form, aspects))) < len(aspects):
        raise ValueError("--aspect names the same aspect twice")
    found = {}
    for item in given:
        name, value = _aspect_and_value(item, aspects)
        if not value:
            raise ValueError(f"--{flag}={item} cannot be read: expected --{flag}=ASPECT=VALUE")
        if name not in aspects:
            raise ValueError(f"--{flag} names the aspect {name!r}, which no --aspect asks for ({', '.join(aspects)})")
        if name in found:
            raise ValueError(f"--{flag} is given twice for the aspect {name!r}")
        found[name] = value
    return found


def _aspect_and_value(item: str, aspects: list[str]) -> tuple[str, str]:
    """ "color=3" -> ("color", "3"). An aspect may have a "=" in its name, and another spelling here."""
    forms, parts = {normal_form(name): name for name in aspects}, item.split("=")
    cuts = [("=".join(parts[:i]), "=".join(parts[i:])) for i in range(len(parts) - 1, 0, -1)]
    known = [(forms[normal_form(name)], value) for name, value in cuts if normal_form(name) in forms]
    return known[0] if known else (parts[0], "=".join(parts[1:]))


def _split(words: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",")) if words else ()


def _sources(values: flags.FlagValues):
    """Where words may come from."""
    from multimap_jax.words.language_model import Endpoint
    from multimap_jax.words.sources import Sources

    given = [values[name].value for name in ("llm", "llm_model") if name in values]
    if any(given) and not all(given):
        raise ValueError("--llm and --llm_model belong together: give both or none")
    endpoint = Endpoint.from_environment(*given) if any(given) else None
    files = tuple(None if name == "builtin" else parse_path(name) for name in values.vocabulary)
    folder = parse_path(values.out) / "words" if endpoint else None
    return Sources(files, parse_path(values.wordnet) if values.wordnet else None, endpoint, folder)


def _find(values: flags.FlagValues, words: dict[str, str], sources) -> dict[str, str]:
    """Aspects whose words are to be found -> from where: as --words says, else from the vocabulary, if it has any."""
    from multimap_jax.words.sources import source_of
    from multimap_jax.words.vocabulary import vocabulary_words

    found, vocabulary = {}, sources.vocabulary()
    for name in values.aspect:
        source = source_of(words.get(name, ""))
        if name not in words and vocabulary_words(vocabulary, name, values.subject):
            source = "vocabulary"
        if source:
            found[name] = source
    return found


def _suggest(values: flags.FlagValues, _) -> int:
    if bool(values.images) == bool(values.embeddings):
        raise ValueError("give the images: --images, or --embeddings instead, and not both")
    if not values.out:
        raise ValueError("--out is empty: give the folder for the embeddings")

    from multimap_jax.runs.suggest import Suggest, run_suggest
    from multimap_jax.runtime.compilation import start_jax

    start_jax()
    images, ready = parse_path(values.images or values.embeddings), bool(values.embeddings)
    job = Suggest(images, parse_path(values.out), values.subject, values.clip, _sources(values), ready)
    with _watched(values, 0, False):
        run_suggest(job, _say, progress=values.progress and sys.stderr.isatty())
    return 0


def _count(name: str, words: dict[str, str], clusters: dict[str, str]) -> int | str:
    given = clusters.get(name, "" if name in words else choices.AUTO)
    if given == choices.AUTO:
        return given
    # Longer than any number of images: Python would rather not read it.
    if given and (not given.isdecimal() or len(given) > DIGITS or int(given) < 1):
        raise ValueError(f"--clusters={name}={given[:80]}: expected a whole number of 1 or more, or {choices.AUTO}")
    return int(given) if given else len(_split(words[name]))


def _config(values: flags.FlagValues):
    import dataclasses

    from multimap_jax.proxies.recipes import ProxyConfig

    return dataclasses.replace(ProxyConfig.named(values.recipe), **given_settings(values, ProxySettings))


BEGIN = {
    "apply": _apply,
    "edit": _after(begin_edit, "edit"),
    "embed": _embed,
    "export": _after(begin_export, "export"),
    "suggest": _suggest,
    "": _run,
}


def _leave(status: int) -> int:
    """Of several processes this one ends at once: JAX would wait here for the others, and they for this one. Without a
    word of it they notice its silence."""
    if CHILD in os.environ:
        sys.stdout.flush()
        remove_fetched()
        os._exit(status)
    return status


def sentence(error: Exception) -> str:
    """What an error says, for a person: errors of the system name their file and reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot read or write {error.filename} ({error.strerror}); the same command goes on from what is kept"
    return str(error)


def _fail(said: str, status: int = 2) -> int:
    write_line("stderr", _shown(f"multimap: {said}"))
    return status
