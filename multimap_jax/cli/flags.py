"""Flags: how they are defined and checked, those that several verbs share, and those made from settings."""

from __future__ import annotations

import dataclasses
import functools
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags
from absl.flags import FlagValues

from multimap_jax import choices
from multimap_jax.errors import InputError, errors_about
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.settings import ProxySettings, Settings, flag_of
from multimap_jax.storage.filenames import without_secrets
from multimap_jax.storage.paths import parse_path

if TYPE_CHECKING:
    from multimap_jax.words.word_sources import WordSources

# Values that are given by one flag for each aspect.
REPEATABLE = ("aspect", "words", "clusters")
# Digits of a number at most: Python refuses to read very long ones, and no count of images or workers is longer.
DIGITS = 12
# Precisions without a flag: this one changes JAX for the whole process.
PARITY_ONLY = ("float64",)
TYPES: dict[str, Callable] = {"bool": flags.DEFINE_bool, "int": flags.DEFINE_integer, "float": flags.DEFINE_float}


def text(name: str, help: str, default: Any = None, define: Callable = flags.DEFINE_string, **more: Any) -> Callable:
    """A flag for `make_flags`, which calls what this returns. define: one of absl's DEFINE functions. more: for it."""
    return functools.partial(define, name, default, help=help, **more)


def switch(name: str, help: str, default: bool = False, **more: Any) -> Callable:
    return text(name, help, default, flags.DEFINE_bool, **more)


def choice(name: str, help: str, options: Sequence[str], default: Any) -> Callable:
    return text(name, help, default, flags.DEFINE_enum, enum_values=options)


SOURCE_HELP = (
    "folder of images, searched recursively; or a list (.csv, .parquet) with a column of paths; or parquet files that "
    "hold images; or tar files: 'shards/{00000..00031}.tar', 'data/*.parquet'"
)
READY_HELP = (
    "instead of --images: existing embeddings by --clip, in a folder as multimap or clip-retrieval write them, or one "
    ".npy with a .csv or .parquet of the same name"
)
VOCABULARY_HELP = (
    "files of aspects and words, with lines like color: red, green; later files take precedence; 'builtin' is the "
    "package's own"
)
SUBJECT_HELP = (
    "what is in the images. Where the vocabulary's nearest subject separates the words better, that is used; "
    "exactly:fruit takes yours as it is"
)
IMAGES = text("images", SOURCE_HELP)
CLIP = text("clip", "'embedded', a directory in the Hugging Face layout, or a hub id", "embedded")
# What is grouped, and what it shows.
INPUTS = (IMAGES, text("embeddings", READY_HELP), text("subject", SUBJECT_HELP, choices.SUBJECT), CLIP)
WORD_SOURCE_FLAGS = (
    text("vocabulary", VOCABULARY_HELP, ["builtin"], flags.DEFINE_list),
    text("wordnet", "folder of WordNet's index.noun and data.noun, if not the usual one"),
)
RUN = text("run", "folder of a finished run, its --out")
# Where a finished run's files are, if they were moved since.
RUN_CLIP = text("clip", "where the run's checkpoint is now")
MOVED = (
    text("images", "where the run's images are now"),
    text("embeddings", "where the run's embeddings are now"),
    RUN_CLIP,
)
LABELS = text("labels", "csv of true labels: a column called image, then one column for each aspect")
COMMON = (
    switch("progress", "show progress bars", True),
    choice("log", "bars on a terminal, or one line a minute on stderr", choices.LOGS, "bars"),
    text("profile", "folder for JAX traces of a few chunks of work"),
    switch("version", "show the version"),
    switch("help", "show this help", short_name="h"),
)


def make_flags(*definitions: Callable) -> FlagValues:
    """The flags of a verb with those of all verbs, in a set of their own: importing this package defines no global
    flag."""
    values = FlagValues()
    for define in (*definitions, *COMMON):
        define(flag_values=values)
    return values


def settings_flags(settings: type, of_recipe: bool = False) -> list[Callable]:
    """A flag for every field of a dataclass of `settings` that has a help text.

    of_recipe: the default of each is the recipe's.
    """
    definitions = []
    for field in fields_with_flags(settings):
        default = None if of_recipe else field.default
        help = f"instead of the recipe's: {field.metadata['help']}" if of_recipe else field.metadata["help"]
        if options := [name for name in field.metadata["options"] if name not in PARITY_ONLY]:
            definitions.append(choice(flag_of(field), help, options, default))
        else:
            definitions.append(text(flag_of(field), help, default, TYPES[field.type.partition(" ")[0]]))
    return definitions


def given_settings(values: FlagValues, settings: type) -> dict:
    """The fields of a dataclass of `settings` whose flags have a value."""
    found = {field.name: values[flag_of(field)].value for field in fields_with_flags(settings)}
    return {name: value for name, value in found.items() if value is not None}


def fields_with_flags(settings: type) -> list[dataclasses.Field]:
    return [field for field in dataclasses.fields(settings) if field.metadata["help"]]


# Parameters of errors whose flags have other names -> these.
RENAMED = {"n_clusters": "clusters"} | {
    field.name: flag_of(field) for settings in (Settings, ProxySettings) for field in dataclasses.fields(settings)
}


def refuse_second_values(values: FlagValues) -> None:
    """Has absl raise an error for a flag that is given twice and differs: it would silently take the last value."""
    for flag in (values[name] for name in values):
        if not isinstance(flag, flags.MultiFlag):
            flag.parse = functools.partial(  # type: ignore[method-assign]  # absl has no other way in
                _parse_once, flag, flag.parse
            )


def _parse_once(flag: flags.Flag, parse: Callable, argument: str) -> None:
    given, before, typed = flag.present, flag.value, flag.serialize()
    parse(argument)
    if given and flag.value != before:
        raise flags.IllegalFlagValueError(f"{typed} and {flag.serialize()} contradict each other: give one of them")


def check_source(values: FlagValues) -> None:
    """InputError unless either --images or --embeddings is given."""
    if not values.images and not values.embeddings:
        raise InputError("--images is missing: give the images, or --embeddings instead")
    if values.images and values.embeddings:
        raise InputError("--images and --embeddings exclude each other: give one, not both")


def by_aspect(flag: str, given: list[str], aspects: list[str]) -> dict[str, str]:
    """["color=3"] -> {"color": "3"}."""
    found = {}
    for item in given:
        name, value = split_item(item, aspects)
        if not value:
            raise InputError(f"--{flag}={item} cannot be read: expected --{flag}=ASPECT=VALUE")
        if name not in aspects:
            raise InputError(f"--{flag} names the aspect {name!r}, which no --aspect asks for ({', '.join(aspects)})")
        if name in found:
            raise InputError(f"--{flag} is given twice for the aspect {name!r}")
        found[name] = value
    return found


def split_item(item: str, aspects: list[str]) -> tuple[str, str]:
    """ "color=3" -> ("color", "3"). An aspect may have a "=" in its name, and another spelling here."""
    forms, pieces = {normal_form(name): name for name in aspects}, item.split("=")
    cuts = [("=".join(pieces[:i]), "=".join(pieces[i:])) for i in range(len(pieces) - 1, 0, -1)]
    known = [(forms[normal_form(name)], value) for name, value in cuts if normal_form(name) in forms]
    return known[0] if known else (pieces[0], "=".join(pieces[1:]))


def paths_of(values: FlagValues, *needed: str, optional: Sequence[str] = ()) -> dict:
    """Flags that name files and folders -> their paths, None where they are not given. InputError for a missing one."""
    for name in needed:
        if not values[name].value:
            wrong = "missing" if values[name].value is None else "empty"
            raise InputError(f"--{name} is {wrong}: {values[name].help}")
    paths = {}
    for name in (*needed, *optional):
        with errors_about(name):
            paths[name] = parse_path(given) if (given := values[name].value) else None
    return paths


def word_sources(values: FlagValues) -> WordSources:
    """Where candidate words may come from, as a `words.word_sources.WordSources`."""
    from multimap_jax.words.language_model import Endpoint
    from multimap_jax.words.word_sources import WordSources

    model: list[Any] = [values[name].value for name in ("llm", "llm_model") if name in values]
    if any(model) and not all(model):
        raise InputError("--llm and --llm_model belong together: give both or none")
    endpoint = Endpoint.from_environment(*model) if any(model) else None
    files = tuple(None if name == "builtin" else parse_path(name) for name in values.vocabulary)
    cache = parse_path(values.out) / "words" if endpoint else None
    return WordSources(files, paths_of(values, optional=("wordnet",))["wordnet"], endpoint, cache)


def command_line(values: FlagValues, *verb: str) -> str:
    """The command as it was typed, with what a configuration adds, for a shell; without the secrets of addresses."""
    given = [(name, text) for name in values if name not in ("h", "config") for text in _typed_values(values[name])]
    return shlex.join(["multimap", *verb, *(f"--{name}={without_secrets(text)}" for name, text in given)])


def _typed_values(flag: flags.Flag) -> Sequence[str]:
    """The values of a flag as they were typed, () where it was not."""
    if not flag.present:
        return ()
    if flag.name in REPEATABLE:
        return flag.value or ()
    if isinstance(flag.value, list):
        return [",".join(flag.value)]
    return [str(flag.value).lower() if flag.boolean else str(flag.value)]
