"""Flags: how they are defined and checked, flags that several verbs share, and flags made from settings."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags
from absl.flags import FlagValues

from multimap_jax import choices
from multimap_jax.errors import InputError, errors_about
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.settings import ImageSettings, ProxySettings, Settings, flag_of
from multimap_jax.storage.filenames import without_secrets
from multimap_jax.storage.paths import parse_path

if TYPE_CHECKING:
    from multimap_jax.words.look import Look
    from multimap_jax.words.word_sources import WordSources

# Flags that may be repeated, once for each aspect.
REPEATABLE = ("aspect", "words", "clusters")
# Largest number of digits: Python refuses to parse very long numbers, and no count of images or workers is longer.
DIGITS = 12
# Precisions that no flag offers: float64 changes JAX for the whole process.
PARITY_ONLY = ("float64",)
TYPES: dict[str, Callable] = {"bool": flags.DEFINE_bool, "int": flags.DEFINE_integer, "float": flags.DEFINE_float}


def text(
    name: str, help: str, default: Any = None, define: Callable = flags.DEFINE_string, **more: Any
) -> functools.partial:
    """A flag for `make_flags`, which calls the result. define: one of absl's DEFINE functions. more: its arguments."""
    return functools.partial(define, name, default, help=help, **more)


def switch(name: str, help: str, default: bool = False, **more: Any) -> functools.partial:
    return text(name, help, default, flags.DEFINE_bool, **more)


def choice(name: str, help: str, options: Sequence[str], default: Any) -> functools.partial:
    return text(name, help, default, flags.DEFINE_enum, enum_values=options)


def fields_with_flags(settings: type) -> list[dataclasses.Field]:
    return [field for field in dataclasses.fields(settings) if field.metadata["help"]]


def settings_flags(settings: type, of_recipe: bool = False) -> list[functools.partial]:
    """Flags for the fields of a dataclass of `settings` that have a help text.

    of_recipe: whether the recipe sets the defaults.
    """
    definitions = []
    for field in fields_with_flags(settings):
        default = None if of_recipe else field.default
        help = field.metadata["help"]
        if options := [name for name in field.metadata["options"] if name not in PARITY_ONLY]:
            definitions.append(choice(flag_of(field), help, options, default))
        else:
            definitions.append(text(flag_of(field), help, default, TYPES[field.type.partition(" ")[0]]))
    return definitions


def given_settings(values: FlagValues, settings: type) -> dict:
    """Field -> value, for the fields of a dataclass of `settings` whose flags have a value."""
    found = {field.name: values[flag_of(field)].value for field in fields_with_flags(settings)}
    return {name: value for name, value in found.items() if value is not None}


SOURCE_HELP = (
    "folder of images, including subfolders; or a list (.csv, .parquet) with a column of paths; or parquet files that "
    "contain images; or tar files: 'shards/{00000..00031}.tar', 'data/*.parquet'"
)
READY_HELP = (
    "existing embeddings of --clip, instead of --images: a folder written by multimap or clip-retrieval, or a .npy "
    "file with a .csv or .parquet of the same name"
)
VOCABULARY_HELP = (
    "files of aspects and words, with lines like color: red, green; later files take precedence; 'builtin' is the "
    "package's own"
)
SUBJECT_HELP = (
    "what the images show. multimap may use a similar subject of the vocabulary if that separates the words better; "
    "exactly:fruit always uses yours"
)
IMAGES = text("images", SOURCE_HELP)
CLIP = text(
    "clip", "the encoder: 'embedded', a directory in Hugging Face's or open_clip's layout, or a hub id", "embedded"
)
ENCODER = (CLIP, *settings_flags(ImageSettings))
# What to group, and what it shows.
INPUTS = (IMAGES, text("embeddings", READY_HELP), text("subject", SUBJECT_HELP, choices.SUBJECT), *ENCODER)
WORD_SOURCE_FLAGS = (
    text("vocabulary", VOCABULARY_HELP, ["builtin"], flags.DEFINE_list),
    text("wordnet", "folder with WordNet's index.noun and data.noun, if not the usual one"),
)
RUN = text("run", "folder of a finished run, its --out")
# For files of a finished run that were moved.
RUN_CLIP = text("clip", "the run's encoder, if it was moved")
MOVED = (
    text("images", "the run's images, if they were moved"),
    text("embeddings", "the run's embeddings, if they were moved"),
    RUN_CLIP,
)
LOOK_HELP = (
    "address of a model that sees images, such as http://localhost:11434/v1 of Ollama: multimap sends it each image, "
    "and groups its answers"
)
# A model that is asked about the images.
LOOK = (
    text("look", LOOK_HELP),
    text("look_model", "name of that model; set its key in MULTIMAP_LOOK_KEY"),
    text("look_size", "pixels of the longer side of what is sent, at most", choices.LOOK_SIZE, flags.DEFINE_integer),
    text("look_most", "images to ask about, at most; the others are in no group", None, flags.DEFINE_integer),
    text("look_requests", "requests at once", choices.LOOK_REQUESTS, flags.DEFINE_integer),
    switch("yes", "allow sending images to another machine"),
)
LABELS = text("labels", "csv of true labels: a column called image, and one column for each aspect")
COMMON = {
    "Progress and help": (
        switch("progress", "show progress bars", True),
        choice("log", "progress as bars, or as one JSON line a minute on stderr", choices.LOGS, "bars"),
        text("profile", "folder for JAX traces of a few chunks of work"),
        switch("version", "show the version"),
        switch("help", "show this help", short_name="h"),
    )
}
# Heading in the help text -> definitions of flags.
FlagGroups = Mapping[str, Sequence[functools.partial]]


def make_flags(groups: FlagGroups) -> FlagValues:
    """The flags of a verb and the flags that all verbs have. They are not global: importing this package defines no
    global flag."""
    values = FlagValues()
    for define in itertools.chain(*groups.values(), *COMMON.values()):
        define(flag_values=values)
    return values


def names_by_heading(groups: FlagGroups) -> dict[str, list[str]]:
    """Heading -> the names of its flags, for all flags of a verb."""
    return {heading: [define.args[0] for define in group] for heading, group in {**groups, **COMMON}.items()}


# Parameter of an error -> its flag, where the names differ.
RENAMED = {"n_clusters": "clusters", "name": "aspect"} | {
    field.name: flag_of(field) for settings in (Settings, ProxySettings) for field in dataclasses.fields(settings)
}


def check_values(values: FlagValues) -> None:
    """Makes absl raise an error with a sentence for a wrong value, and an error for a flag with two different values;
    it would silently use the last one."""
    for flag in (values[name] for name in values):
        if not isinstance(flag, flags.MultiFlag):
            flag.parse = functools.partial(  # type: ignore[method-assign]  # absl has no other way in
                _parse_once, flag, flag.parse
            )


def _parse_once(flag: flags.Flag, parse: Callable, argument: str) -> None:
    given, before, typed = flag.present, flag.value, flag.serialize()
    try:
        parse(argument)
    except flags.IllegalFlagValueError:
        raise flags.IllegalFlagValueError(f"--{flag.name}={argument}: {expected_value(flag)}") from None
    if given and flag.value != before:
        raise flags.IllegalFlagValueError(f"{typed} and {flag.serialize()} contradict each other: give one of them")


def expected_value(flag: flags.Flag) -> str:
    """What a flag takes, with an example to type."""
    parser, name = flag.parser, flag.name
    if isinstance(parser, flags.EnumParser):
        return f"expected one of {', '.join(parser.enum_values)}, such as --{name}={parser.enum_values[0]}"
    if flag.boolean:
        return f"expected true or false, such as --{name}=true"
    noun, example = ("a whole number", "10") if isinstance(parser, flags.IntegerParser) else ("a number", "0.05")
    bounds = getattr(parser, "lower_bound", None), getattr(parser, "upper_bound", None)
    between = f" from {bounds[0]:,} to {bounds[1]:,}" if None not in bounds else ""
    return f"expected {noun}{between}, such as --{name}={example}"


def value_problem(error: flags.Error) -> str:
    """The message of absl for a flag whose value is missing or wrong, as a sentence."""
    missing = str(error).partition("Missing value for flag ")[2]
    return f"{missing} has no value: type {missing}=VALUE" if missing else str(error)


def check_source(values: FlagValues) -> None:
    """InputError unless either --images or --embeddings is given."""
    if not values.images and not values.embeddings:
        raise InputError("--images is missing: give the images, or --embeddings instead")
    if values.images and values.embeddings:
        raise InputError("give either --images or --embeddings, not both")


def by_aspect(flag: str, given: list[str], aspects: list[str]) -> dict[str, str]:
    """["color=3"] -> {"color": "3"}."""
    found = {}
    for item in given:
        name, value = split_item(item, aspects)
        if not value:
            kind, example = {"words": ("words", "red,green"), "clusters": ("a number of groups", "3")}[flag]
            example = f"--{flag}={name if name in aspects else aspects[0]}={example}"
            raise InputError(f"--{flag}={item}: expected an aspect and {kind}, such as {example}")
        if name not in aspects:
            raise InputError(
                f"--{flag}={item}: {name!r} is not an aspect of this command, expected {' or '.join(aspects)}: "
                f"correct the name, or add --aspect={name}"
            )
        if name in found:
            raise InputError(f"--{flag} is given twice for the aspect {name!r}: give it once")
        found[name] = value
    return found


def split_item(item: str, aspects: list[str]) -> tuple[str, str]:
    """ "color=3" -> ("color", "3"). An aspect's name may contain "=", and may be spelled differently here."""
    forms, pieces = {normal_form(name): name for name in aspects}, item.split("=")
    cuts = [("=".join(pieces[:i]), "=".join(pieces[i:])) for i in range(len(pieces) - 1, 0, -1)]
    known = [(forms[normal_form(name)], value) for name, value in cuts if normal_form(name) in forms]
    return known[0] if known else (pieces[0], "=".join(pieces[1:]))


def paths_of(values: FlagValues, *needed: str, optional: Sequence[str] = ()) -> dict:
    """Flag -> path, None if it is not given. InputError if one of `needed` is missing."""
    for name in needed:
        if not values[name].value:
            wrong = "missing" if values[name].value is None else "empty"
            raise InputError(f"--{name} is {wrong}: {values[name].help}")
    paths = {}
    for name in (*needed, *optional):
        with errors_about(name):
            paths[name] = parse_path(given) if (given := values[name].value) else None
    return paths


def encoder_of(values: FlagValues) -> dict:
    """The values of ENCODER, as arguments of a run."""
    return {"clip": values.clip, "image_settings": ImageSettings(**given_settings(values, ImageSettings))}


def word_sources(values: FlagValues) -> WordSources:
    """The sources of candidate words, as a `words.word_sources.WordSources`."""
    from multimap_jax.words.chat import Endpoint
    from multimap_jax.words.word_sources import WordSources

    model = address_and_model(values, "llm") if "llm" in values else []
    endpoint = Endpoint.from_environment(*model) if model else None
    files = tuple(None if name == "builtin" else parse_path(name) for name in values.vocabulary)
    cache = parse_path(values.out) / "words" if endpoint else None
    return WordSources(files, paths_of(values, optional=("wordnet",))["wordnet"], endpoint, cache)


def address_and_model(values: FlagValues, name: str) -> list[str]:
    """The address and the name of a model; [] if neither is given. InputError if one is missing."""
    given: list[Any] = [values[flag].value for flag in (name, f"{name}_model")]
    if any(given) and not all(given):
        raise InputError(f"--{name} and --{name}_model must be given together")
    return given if all(given) else []


def look_of(values: FlagValues) -> Look | None:
    """The values of LOOK; None if no model is to be asked."""
    given = address_and_model(values, "look")
    if not given:
        if typed := [name for name in ("look_size", "look_most", "look_requests") if values[name].present]:
            raise InputError(f"--{typed[0]} needs --look: give the address of a model")
        return None

    from multimap_jax.words.look import Look

    return Look.at(*given, size=values.look_size, requests=values.look_requests, most=values.look_most)


def command_line(values: FlagValues, *verb: str) -> str:
    """The command for a shell: the typed flags and those of --config, without the secrets of addresses."""
    given = [(name, text) for name in values if name not in ("h", "config") for text in _typed_values(values[name])]
    return shlex.join(["multimap", *verb, *(f"--{name}={without_secrets(text)}" for name, text in given)])


def _typed_values(flag: flags.Flag) -> Sequence[str]:
    """The values of a flag as typed; () if it was not given."""
    if not flag.present:
        return ()
    if flag.name in REPEATABLE:
        return flag.value or ()
    if isinstance(flag.value, list):
        return [",".join(flag.value)]
    return [str(flag.value).lower() if flag.boolean else str(flag.value)]
