"""Reads flags from a file: run.json, to repeat a run, or a TOML file. Typed flags take precedence."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from absl.flags import FlagValues

from multimap_jax.choices import ANSWER
from multimap_jax.cli.flags import by_aspect, expected_value
from multimap_jax.errors import InputError, MissingError
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.settings import ImageSettings, ProxySettings, Settings, flag_of
from multimap_jax.storage.filenames import error_text, without_secrets
from multimap_jax.storage.paths import exists, open_file, parse_path

KINDS = (Settings, ImageSettings, ProxySettings)
SETTINGS = tuple(flag_of(field) for kind in KINDS for field in dataclasses.fields(kind))
# Flags with one value for each aspect; in the file these are tables.
BY_ASPECT = ("words", "clusters")
# Flags that name files and folders on this machine.
PLACES = ("images", "embeddings", "labels", "wordnet", "vocabulary")
OTHERS = ("subject", "clip", "aspect", "template", "contrast", "recipe", "look_aspects")
# All flags that a file may set. The file may come from a stranger, so flags that write, delete, download or send must
# be typed.
ALLOWED = (*PLACES, *BY_ASPECT, *SETTINGS, *OTHERS)
TOML_BYTES = 10**6

Value = bool | int | float | str | list[str] | dict[str, int | str | list[str]]


@dataclasses.dataclass(frozen=True)
class RunFlags:
    """The part of run.json that --config reads."""

    flags: dict[str, Value] | None = None


def read_config(path: Path) -> dict[str, Value]:
    """Reads the flags in a file. MissingError if there is no file, InputError or ValueError if it cannot be read."""
    import msgspec

    from multimap_jax.storage.reading import read_form

    if not exists(path):
        raise MissingError(f"there is no file {path}: give the run.json of a run, or a TOML file", "config")
    if path.suffix.lower() != ".toml":
        found = read_form(path, RunFlags, "give the run.json of a run, or a TOML file", strict=False).flags
        if found is None:
            raise InputError(f"{path} has no flags to repeat: give the run.json of the original run", "config")
        return found
    with open_file(path, TOML_BYTES) as file:
        text = file.read()
    try:
        return msgspec.convert(tomllib.loads(text.decode()), dict[str, Value])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error_text(error)})", "config") from None


def apply_config(values: FlagValues) -> set[str]:
    """Sets the flags in --config that were not typed; returns their names. InputError for flags that a file may not
    set."""
    if not values.config:
        return set()
    path, typed = parse_path(values.config), {name for name in values if values[name].present}
    found = read_config(path)
    for name in found:
        check_name(path, name, values)
    typed |= {"images", "embeddings"} if typed & {"images", "embeddings"} else set()
    own = {name for name in found if name not in typed and name not in BY_ASPECT}
    for name in sorted(own):
        check_place(path, name, found[name])
        set_flag(path, values[name], found[name])
    for name in (name for name in BY_ASPECT if name in found):
        add_by_aspect(path, values, name, found[name])
    return own


def check_name(path: Path, name: str, values: FlagValues) -> None:
    """InputError for a flag that a file may not set."""
    if name not in values:
        raise InputError(f"{path} sets {name[:80]!r}, which is not a flag: see multimap help group", "config")
    if name not in ALLOWED:
        raise InputError(f"a file cannot set {name}: remove it from {path} and type --{name}", "config")


def check_place(path: Path, name: str, value: Value) -> None:
    """InputError for an address, or a checkpoint that is not on this machine: the user must type these."""
    for text in value if isinstance(value, list) else [value]:
        away = name in PLACES and "://" in str(text)
        if name == "clip" and text != "embedded":
            away = "://" in str(text) or not parse_path(str(text)).is_dir()
        if away:
            shown = without_secrets(str(text))[:200]
            raise InputError(f"{path} names {shown}, which is not a file or folder on this machine", name, shown)


def set_flag(path: Path, flag: flags.Flag, value: Value) -> None:
    """Sets a flag as if the user had typed its value."""
    wrong = f"{path}: {flag.name} cannot be {str(value)[:80]}"
    if isinstance(value, dict) or (isinstance(value, list) and not isinstance(flag.value, list)):
        raise InputError(f"{wrong}: expected one value", "config")
    texts: Sequence[object] = [",".join(value) if isinstance(value, list) else value]
    if isinstance(value, list) and isinstance(flag, flags.MultiFlag):
        texts = value
    try:
        for text in texts:
            flag.parse(str(text))
    except flags.IllegalFlagValueError:
        raise InputError(f"{wrong}: {expected_value(flag)}", "config") from None


def add_by_aspect(path: Path, values: FlagValues, name: str, table: Value) -> None:
    """Adds a file's values of --words or --clusters for the requested aspects that have no typed value."""
    if not isinstance(table, dict):
        raise InputError(f"{path}: {name} is {str(table)[:80]}, expected a table: aspect = value", "config")
    typed = {*map(normal_form, by_aspect(name, values[name].value or [], values.aspect))}
    asked = {normal_form(aspect) for aspect in values.aspect} - typed
    for aspect, value in table.items():
        if normal_form(aspect) in asked:
            text = ",".join(value) if isinstance(value, list) else value
            values[name].parse(f"{aspect}={text}")


def flags_for_config(values: FlagValues) -> dict[str, Value]:
    """The typed flags, as run.json keeps them for --config: with absolute paths and without secrets."""
    found: dict[str, Any] = {name: values[name].value for name in ALLOWED if name in values and values[name].present}
    if values.look and values.features in (None, ANSWER):  # to repeat the run, --look must be typed again
        found |= {"look_aspects": values.look_aspects or values.aspect}
    for name in found:
        if name in BY_ASPECT:
            found[name] = by_aspect(name, found[name], values.aspect)
        elif isinstance(found[name], list):
            found[name] = [whole_path(name, text) for text in found[name]]
        elif isinstance(found[name], str):
            found[name] = whole_path(name, found[name])
    return found


def whole_path(name: str, text: str) -> str:
    """The value of a flag; the absolute path if it names a file or folder on this machine."""
    is_local = name in PLACES and text != "builtin" or name == "clip" and text != "embedded"
    path = parse_path(text) if is_local and "://" not in text else None
    if path is None or (name == "clip" and not path.is_dir()):
        return without_secrets(text)
    return f"{path.absolute()}"
