"""`multimap`, or `multimap group`: groups images by one or several aspects."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl.flags import DEFINE_list, DEFINE_multi_string, FlagValues

from multimap_jax import choices
from multimap_jax.cli import flags
from multimap_jax.cli.config import apply_config, flags_for_config
from multimap_jax.cli.console import note, running
from multimap_jax.cli.processes import CLUSTER, NUMBERED, join_processes
from multimap_jax.errors import InputError
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.settings import ProxySettings, Settings

if TYPE_CHECKING:
    from multimap_jax.words.word_sources import WordSources

PURPOSE = "group images, look at the groups"
# {verbs}: a line for each verb, from its PURPOSE.
USAGE = """Groups the images of a folder by an aspect that you name, such as color, and differently for another aspect.

What do you want to do?
{verbs}
multimap help VERB explains one of these, with examples.

  multimap --images=photos/ --subject=fruit --aspect=color --clip=openai/clip-vit-base-patch32 --out=out/
  multimap --images=photos/ --subject=fruit --aspect=color --aspect=species \\
           --words=color=red,green,yellow --clusters=species=3 --clip=openai/clip-vit-base-patch32 --out=out/
  multimap --config=out/run.json --out=again/                     (repeats a run; a .toml file of flags also works)

Writes labels.csv, run.json, report.html and, with --labels, metrics.json into --out. Results are cached in --out: an
interrupted command resumes, and new aspects or images cost only the new work.
srun multimap … --distributed runs on many hosts at once: a Cloud TPU slice, under Slurm or Open MPI.
Exit status: 0, or 2 with a message about what to change.
"""
WORDS_HELP = (
    "words of an aspect: color=red,green,yellow. Or a source of words: species=vocabulary, species=wordnet, "
    "species=wordnet:bird or species=llm; multimap uses those that match the images. species=none groups without "
    "words. Default: the vocabulary, if it has the aspect"
)
EXACTLY = "exactly:"  # before a subject to use without comparing it with others
CONFIG_HELP = 'run.json of a run, to repeat it, or a TOML file of flags: images = "photos"; typed flags take precedence'
CLUSTERS_HELP = "number of groups for an aspect: color=3 or color=auto. Default: one per given word, otherwise auto"
CONTRAST_HELP = "aspects that proxies are pushed away from, if the recipe does so"
FLAGS = {
    "Input": (*flags.INPUTS, flags.LABELS, flags.text("config", CONFIG_HELP)),
    "Output": (
        flags.text("out", "folder for the results and the cache", "out"),
        flags.switch("fresh", "discard the embeddings and proxies cached in --out"),
    ),
    "Groups": (
        flags.text("aspect", "what to group by, such as color", [], DEFINE_multi_string),
        flags.text("clusters", CLUSTERS_HELP, [], DEFINE_multi_string),
        *flags.settings_flags(Settings),
    ),
    "Words": (
        flags.text("words", WORDS_HELP, [], DEFINE_multi_string),
        *flags.WORD_SOURCE_FLAGS,
        flags.text("llm", "address of a language model to ask for words: https://host/v1"),
        flags.text("llm_model", "name of that language model; set its key in MULTIMAP_LLM_KEY"),
        flags.text("template", "prompt template", choices.TEMPLATE),
    ),
    "A model that looks at the images": (
        *flags.LOOK,
        flags.text("look_aspects", "aspects to ask about; default: all", [], DEFINE_list),
    ),
    "Proxies": (
        flags.choice("recipe", "preset for optimising the proxies", choices.RECIPES, "default"),
        flags.text("contrast", CONTRAST_HELP, list(choices.CONTRAST), DEFINE_list),
    ),
    "Proxies (defaults: the recipe's)": flags.settings_flags(ProxySettings, of_recipe=True),
    "Several processes": (*CLUSTER, *NUMBERED),
}


def run(values: FlagValues) -> None:
    from_file = apply_config(values)
    flags.check_source(values)
    paths = flags.paths_of(values, "out", optional=("images", "embeddings", "labels"))
    check_aspects(values.aspect)
    words = flags.by_aspect("words", values.words, values.aspect)
    clusters = flags.by_aspect("clusters", values.clusters, values.aspect)
    sources, look = flags.word_sources(values), flags.look_of(values)
    looked = looked_aspects(values)
    subject, is_exact = values.subject.removeprefix(EXACTLY), values.subject.startswith(EXACTLY)
    find = sources_by_aspect(subject, is_exact, words, clusters, values.aspect, sources, looked)
    words = {name: text for name, text in words.items() if name not in find and normal_form(text) != "none"}
    note_single_words(words, clusters)
    counts = {name: cluster_count(name, words, clusters) for name in values.aspect}

    from multimap_jax.prompts.aspect import Aspect
    from multimap_jax.proxies.recipes import ProxyConfig
    from multimap_jax.runs.group import run_group
    from multimap_jax.runs.job import Job

    job = Job(
        images=paths["images"] or paths["embeddings"],
        aspects=tuple(Aspect(name, subject, split_words(words.get(name)), values.template) for name in values.aspect),
        clusters=counts,
        contrast={name: tuple(other for other in values.contrast if other != name) for name in values.aspect},
        config=dataclasses.replace(ProxyConfig.named(values.recipe), **flags.given_settings(values, ProxySettings)),
        **flags.encoder_of(values),
        labels=paths["labels"],
        out=paths["out"],
        settings=Settings(**flags.given_settings(values, Settings)),
        fresh=values.fresh,
        ready=bool(values.embeddings),
        find=find,
        sources=sources,
        line=flags.command_line(values),
        flags=flags_for_config(values),
        addresses="images" not in from_file,
        exact_subject=is_exact,
        look=look,
        look_aspects=looked,
        allowed=values.yes,
    )
    processes = join_processes(values)
    with running(values, processes.index if processes.count > 1 else None, bool(processes.coordinator)) as output:
        run_group(dataclasses.replace(job, processes=processes), **output)


def looked_aspects(values: FlagValues) -> tuple[str, ...]:
    """The aspects that a model is asked about; () if none is."""
    named = values.look_aspects
    if named and not values.look:
        raise InputError("--look_aspects needs --look: give the address of a model to ask about these aspects")
    forms = {normal_form(name): name for name in values.aspect}
    if unknown := [name for name in named if normal_form(name) not in forms]:
        raise InputError(f"--look_aspects names {unknown[0]!r}, which is not an aspect of this command")
    if not values.look:
        return ()
    if values.features not in (None, choices.ANSWER):
        note(f"--features={values.features} uses no answers, so nothing is sent to {values.look}")
        return ()
    return tuple(forms[normal_form(name)] for name in named or values.aspect)


def check_aspects(aspects: list[str]) -> None:
    """InputError if no aspect is given, one flag has several, or one is given twice."""
    if not aspects:
        raise InputError("--aspect is missing: say what to group by, such as --aspect=color")
    for name in aspects:
        if "," in name:
            single = " ".join(f"--aspect={text.strip()}" for text in name.split(","))
            raise InputError(f"--aspect={name} names one aspect: give the flag once for each, {single}")
    if len(set(map(normal_form, aspects))) < len(aspects):
        raise InputError("--aspect names the same aspect twice: give it once")


def sources_by_aspect(
    subject: str,
    is_exact: bool,
    words: dict[str, str],
    clusters: dict[str, str],
    aspects: list[str],
    sources: WordSources,
    looked: Sequence[str] = (),
) -> dict[str, str]:
    """Aspect -> its source of words, for the aspects without given words: as --words says, else the vocabulary if it
    has the aspect. Prints a note for aspects without words, a source of words, and a number of groups.

    is_exact: whether words of other subjects do not count. looked: aspects that need none, because a model is asked.
    """
    from multimap_jax.words.vocabulary import subjects_of, vocabulary_words
    from multimap_jax.words.word_sources import source_of

    found, vocabulary = {}, sources.vocabulary()
    for name in aspects:
        source = source_of(words.get(name, ""))
        known = vocabulary_words(vocabulary, name, subject) or (not is_exact and subjects_of(vocabulary, name))
        if name in looked and not source:
            continue
        if name not in words and known:
            source = "vocabulary"
        if source:
            found[name] = source
        elif name not in words and name not in clusters:
            advice = f"To use words, give --words={name}=A,B,…, --words={name}=wordnet or --words={name}=llm"
            note(f"grouping without words: the vocabulary has none for {name!r} of {subject!r}. {advice}")
    return found


def note_single_words(words: dict[str, str], clusters: dict[str, str]) -> None:
    """Prints a note for an aspect with one word and no number of groups, which gives one group."""
    for name, text in words.items():
        if len(split_words(text)) == 1 and name not in clusters:
            note(
                f"--words={name}={text} is only one word, so all images go into one group: give more words, such as "
                f"--words={name}={text},…, or a number of groups, such as --clusters={name}=3"
            )


def cluster_count(name: str, words: dict[str, str], clusters: dict[str, str]) -> int | str:
    """The number of groups for an aspect, or AUTO."""
    given = clusters.get(name, "" if name in words else choices.AUTO)
    if given == choices.AUTO:
        return given
    if given and (not given.isdecimal() or len(given) > flags.DIGITS or int(given) < 1):
        raise InputError(
            f"--clusters={name}={given[:80]}: expected a whole number of 1 or more, or {choices.AUTO}, such as "
            f"--clusters={name}=3"
        )
    return int(given) if given else len(split_words(words[name]))


def split_words(text: str | None) -> tuple[str, ...]:
    """ "red, green" -> ("red", "green")."""
    return tuple(word.strip() for word in text.split(",")) if text else ()
