"""True sentences about scenes, in many phrasings: what the embedded checkpoint's text tower learns from.

A caption says some of a picture's labels, or none ("a fruit"), or nothing true at all (invented words, which the text
tower has to learn to keep away from every picture).
"""

import dataclasses
import re
from collections.abc import Mapping

from multimap_jax.scenes.registry import SCENES

# The prompt that the package asks with.
TEMPLATE = "a {subject} with the {aspect} of {word}"

_ASPECT_NAMES = {
    "color": ("color", "colour"),
    "species": ("species", "kind", "type"),
    "order": ("order", "number", "rank", "value"),
    "suits": ("suits", "suit"),
    "shape": ("shape", "form"),
    "type": ("type", "kind"),
    "emotion": ("emotion", "expression"),
    "glass": ("glass", "glasses"),
    "identity": ("identity", "name"),
    "pose": ("pose", "direction"),
}
_SUBJECTS = {
    "fruit": ("fruit", "fruits"),
    "card": ("card", "cards", "playing card"),
    "object": ("object", "thing"),
    "face": ("face", "person"),
    "car": ("car", "cars", "vehicle"),
    "flower": ("flower", "flowers", "blossom"),
}
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SYNONYMS = {
    **{word: (word.removesuffix("s"),) for word in ("clubs", "diamonds", "hearts", "spades")},
    **{word: (word + "s",) for word in ("apple", "banana", "grape", "pear")},
    **{word: (word + "s",) for word in ("rose", "tulip", "sunflower", "sedan", "truck", "van", "ball", "cylinder")},
    "cherry": ("cherries",),
    **{word: (word + "s",) for word in ("cube", "cone")},
    "red": ("crimson", "scarlet"),
    "green": ("emerald",),
    "yellow": ("golden",),
    "blue": ("azure",),
    "purple": ("violet",),
    "burgundy": ("maroon",),
    "white": ("ivory",),
    "black": ("ebony",),
    "daisy": ("daisies",),
    "lily": ("lilies",),
    "happy": ("smiling", "happiness", "laughing"),
    "angry": ("anger", "furious"),
    "sad": ("sadness", "unhappy"),
    "neutral": ("calm",),
    "sunglasses": ("shades",),
    "straight": ("forward",),
    "suv": ("suvs",),
    "strawberry": ("strawberries",),
    "ace": ("1", "one"),
    "jack": ("j",),
    "queen": ("q",),
    "king": ("k",),
    **{word: (str(number),) for number, word in enumerate(_NUMBERS, 2)},
}
# Words that a list of candidates may well hold, though nothing that is drawn fits them.
DISTRACTORS = {
    ("fruit", "species"): tuple(
        "oranges raspberries blueberries plums peaches nectarines pineapple kiwi watermelon cantaloupe apricots mango "
        "lemon".split()
    ),
    ("card", "order"): ("joker", "eleven", "zero"),
    ("card", "suits"): ("stars", "crowns", "swords", "cups"),
    ("object", "shape"): ("ring", "pyramid", "bottle"),
    ("face", "emotion"): ("surprise", "fear", "disgust", "contempt"),
    ("face", "glass"): ("positive", "fashionable", "goggles"),
    ("face", "identity"): tuple(map(str, range(1, 11))),
    ("face", "pose"): (
        "frowning", "neutral expression", "raised eyebrows", "squinting", "pouting", "wide-eyed", "nodding",
        "tilting head", "down",
    ),
    ("car", "type"): ("convertible", "coupe", "bus"),
    ("flower", "species"): ("iris", "orchid", "peony"),
    **{(subject, "color"): ("brown", "turquoise", "beige") for subject in ("object", "fruit", "car", "flower")},
}  # fmt: skip
# {word} is the word or one of its synonyms, {aspect} one of the aspect's names, {subject} the subject.
_ANY_ASPECT = (
    TEMPLATE,
    TEMPLATE,
    TEMPLATE,
    "{subject} with the {aspect} of {word}",
    "{subject} with a {aspect} of {word}",
    "{subject} with {aspect} of {word}",
    "a {subject} with {aspect} {word}",
    "a photo of a {subject} with the {aspect} of {word}",
    "the {aspect} of the {subject} is {word}",
    "{word}",
    "{word}",
    "{word} {subject}",
)
_OWN_ASPECT = {
    "color": ("a {word} {subject}", "a photo of a {word} {subject}", "the {subject} is {word}", "something {word}"),
    "species": ("a {word}", "a photo of a {word}", "this is a {word}", "the {subject} is a {word}"),
    "order": ("a {word}", "the {word}", "a {subject} that shows a {word}", "a photo of a {word}"),
    "shape": ("a {word}", "a photo of a {word}"),
    "type": ("a {word}", "a photo of a {word}", "this is a {word}"),
    "emotion": ("a {word} {subject}", "somebody {word}", "a photo of a {word} {subject}"),
    "glass": ("a {subject} with {word}", "somebody with {word}"),
    "identity": ("a photo of {word}", "this is {word}"),
    "pose": ("a {subject} that looks {word}", "looking {word}"),
    "suits": ("a {subject} of {word}", "a {subject} that shows {word}", "a photo of {word}", "some {word}"),
}
_SEVERAL = {
    ("color", "species"): (
        "a {color} {species}",
        "{color} {species}",
        "a photo of a {color} {species}",
        "the {species} is {color}",
    ),
    ("color", "shape"): ("a {color} {shape}", "{color} {shape}", "a photo of a {color} {shape}"),
    ("color", "type"): ("a {color} {type}", "{color} {type}", "a photo of a {color} {type}"),
    ("emotion", "glass", "identity", "pose"): (
        "{identity} is {emotion} and looks {pose}",
        "a {emotion} face with {glass} that looks {pose}",
        "{identity} with {glass}",
    ),
    ("order", "suits"): ("the {order} of {suits}", "{order} of {suits}", "a photo of the {order} of {suits}"),
}
_ABOUT_DISTRACTORS = (TEMPLATE, "{subject} with a {aspect} of {word}")
_ABOUT_INVENTED = (TEMPLATE, "{word}", "a {word}", "{word} {subject}", "{subject} with a {aspect} of {word}")
_NO_ASPECT = ("a {subject}", "{subject}", "a photo of a {subject}", "a picture of a {subject}")
_NAME_ALONE = ("the {aspect} of a {subject}", "a {subject} with the {aspect}")


@dataclasses.dataclass(frozen=True)
class Caption:
    """A text and what it says: the subject that it names (None: any) and the labels that it names ({} for "a fruit").

    labels: None where nothing drawn fits the text.
    """

    text: str
    subject: str | None
    labels: Mapping[str, str] | None

    def fits(self, subject, labels):
        """Whether the text is true of a picture of `subject` with these labels, of whatever family it is."""
        return (
            self.labels is not None
            and self.subject in (None, subject)
            and all(labels.get(aspect) == word for aspect, word in self.labels.items())
        )


def all_words(scene):
    """{aspect: every word that the scene can draw}, the ones for training included."""
    return {aspect: (*words, *scene.more.get(aspect, ())) for aspect, words in scene.aspects.items()}


def template_captions(names=tuple(SCENES)):
    """The package's own prompt for every subject, aspect and word of these families, each once."""
    captions = [
        Caption(TEMPLATE.format(subject=scene.subject, aspect=aspect, word=word), scene.subject, {aspect: word})
        for scene in map(SCENES.get, names)
        for aspect, words in all_words(scene).items()
        for word in words
    ]
    return list({caption.text: caption for caption in captions}.values())


def _caption(template, scene, labels, **said):
    """A filled template, which names the subject only where it has a place for it."""
    named = scene.subject if "{subject}" in template else None
    return Caption(template.format(**said), named, labels)


def _choose(generator, options):
    return options[generator.integers(len(options))]


def _say(generator, word, share_of_synonyms=0.25):
    """The word itself, mostly; at times a plural, a singular or a number in digits."""
    return _choose(generator, _SYNONYMS.get(word, (word,))) if generator.random() < share_of_synonyms else word


def _name(generator, scene, share_of_synonyms=0.2):
    """What the scene's subject is called: its own word, mostly."""
    options = _SUBJECTS.get(scene.subject, (scene.subject,))
    return _choose(generator, options) if generator.random() < share_of_synonyms else scene.subject


def _describe_one(generator, scene):
    aspect = _choose(generator, tuple(scene.aspects))
    word = _choose(generator, all_words(scene)[aspect])
    template = _choose(generator, _ANY_ASPECT + _OWN_ASPECT.get(aspect, ()))
    name = _choose(generator, (aspect,) + _ASPECT_NAMES.get(aspect, (aspect,)))
    said = _say(generator, word)
    return _caption(template, scene, {aspect: word}, subject=_name(generator, scene), aspect=name, word=said)


def _describe_several(generator, scene):
    labels = {aspect: _choose(generator, words) for aspect, words in all_words(scene).items()}
    template = _choose(generator, _SEVERAL[tuple(scene.aspects)])
    said = {aspect: _say(generator, word, 0.1) for aspect, word in labels.items()}
    named = {aspect: word for aspect, word in labels.items() if f"{{{aspect}}}" in template}
    return _caption(template, scene, named, **said)


def _describe_none(generator, scene):
    aspect = _choose(generator, tuple(scene.aspects))
    template = _choose(generator, _NO_ASPECT + _NAME_ALONE)
    return _caption(template, scene, {}, subject=_name(generator, scene), aspect=aspect)


def _invent(generator, scene):
    """A caption about an invented word: letters, at times starting as a known word does."""
    aspect = _choose(generator, tuple(scene.aspects))
    start = _choose(generator, all_words(scene)[aspect])
    start = start[: generator.integers(2, len(start) + 1)] if generator.random() < 0.3 else ""
    letters = "".join(_choose(generator, "aabcdeefghiijklmnoopqrstuvwxyz") for _ in range(generator.integers(3, 8)))
    template = _choose(generator, _ABOUT_INVENTED)
    return Caption(template.format(subject=scene.subject, aspect=aspect, word=start + letters), None, None)


def _distract(generator, scene):
    """A caption about a word of the scene's kind that is never drawn."""
    aspect = _choose(generator, [aspect for aspect in scene.aspects if (scene.subject, aspect) in DISTRACTORS])
    word = _choose(generator, DISTRACTORS[scene.subject, aspect])
    return Caption(
        _choose(generator, _ABOUT_DISTRACTORS).format(subject=scene.subject, aspect=aspect, word=word), None, None
    )


def draw_caption(generator, scene):
    """One caption about some picture of a scene, in a random phrasing."""
    kind = generator.random()
    if kind < 0.66:
        return _describe_one(generator, scene)
    if kind < 0.82 and tuple(scene.aspects) in _SEVERAL:
        return _describe_several(generator, scene)
    if kind < 0.88:
        return _describe_none(generator, scene)
    return _distract(generator, scene) if kind < 0.95 else _invent(generator, scene)


def known_words(names=tuple(SCENES)):
    """Every word that captions about these families can contain, invented ones aside, sorted."""
    scenes = [SCENES[name] for name in names]
    aspects = {aspect for scene in scenes for aspect in scene.aspects}
    templates = [*_ANY_ASPECT, *_NO_ASPECT, *_NAME_ALONE]
    templates += [template for aspect in aspects for template in _OWN_ASPECT.get(aspect, ())]
    templates += [template for scene in scenes for template in _SEVERAL.get(tuple(scene.aspects), ())]
    texts = [re.sub(r"\{\w+\}", " ", template) for template in templates]
    for scene in scenes:
        texts += [scene.subject, *_SUBJECTS.get(scene.subject, ())]
        for aspect, words in all_words(scene).items():
            texts += [aspect, *_ASPECT_NAMES.get(aspect, ()), *words]
            texts += [synonym for word in words for synonym in _SYNONYMS.get(word, ())]
            texts += DISTRACTORS.get((scene.subject, aspect), ())
    return sorted(set(re.findall(r"\w+", " ".join(texts))))
