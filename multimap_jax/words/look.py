"""Asks a model that sees images about one aspect of each, by one request to an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import re
import time
from collections.abc import Callable, Sequence

from PIL import Image, ImageOps

from multimap_jax.arrays.sampling import sample_indices
from multimap_jax.choices import LOOK_REQUESTS, LOOK_SIZE
from multimap_jax.errors import InputError, names_arguments
from multimap_jax.images.decoding import AnImage, Images, Unreadable, as_list, decode
from multimap_jax.prompts.answers import Answers, clean
from multimap_jax.prompts.aspect import Aspect, check_aspect
from multimap_jax.runtime.progress import duration, open_bar
from multimap_jax.storage.filenames import is_plain_name
from multimap_jax.words import chat
from multimap_jax.words.chat import Endpoint, RequestRefused, TooSlow, Unreachable

QUALITY = 90  # of the JPEG that is sent
SECONDS = 300  # of one request: a server may first have to load the model
TRIES = 5
ESTIMATED_AFTER = 20  # images
# Consecutive images without an answer after which the server counts as gone.
GONE_AFTER = 8
# Seconds that requests on their way have after one of another failed for good.
GRACE_SECONDS = 5
SIZES = (64, 4096)
MOST_REQUESTS = 256
THOUGHTS = re.compile(r"<think>.*?(</think>|$)", re.DOTALL | re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Look:
    """How to ask about images.

    Attributes:
      endpoint: whom to ask. size: pixels of the longer side of what is sent, at most. requests: how many at once.
      most: images to ask about, None for all.

    Raises InputError for numbers out of range.
    """

    endpoint: Endpoint
    size: int = LOOK_SIZE
    requests: int = LOOK_REQUESTS
    most: int | None = None

    def __post_init__(self) -> None:
        if not SIZES[0] <= self.size <= SIZES[1]:
            raise InputError(f"the size is {self.size} pixels, expected {SIZES[0]} to {SIZES[1]:,}", "look_size")
        if not 1 <= self.requests <= MOST_REQUESTS:
            raise InputError(f"{self.requests} requests at once, expected 1 to {MOST_REQUESTS}", "look_requests")
        if self.most is not None and self.most < 1:
            raise InputError(f"at most {self.most} images, expected 1 or more", "look_most")

    @classmethod
    def at(cls, url: str, model: str, **settings: int | None) -> Look:
        """Asks a model at an address, with the key in MULTIMAP_LOOK_KEY, if it is set."""
        endpoint = Endpoint.from_environment(url, model, "look", seconds=SECONDS, tries=TRIES, slow_tries=1)
        return cls(endpoint, **settings)  # type: ignore[arg-type]

    def chosen(self, names: Sequence) -> Sequence[int]:
        """The indices of the images to ask about: with `most`, those whose names have the lowest hashes."""
        drawn = None if self.most is None else sample_indices(names, 0, self.most)
        return range(len(names)) if drawn is None else drawn.tolist()

    def origin(self, aspect: Aspect) -> dict[str, str | int]:
        """What an answer depends on besides the image."""
        base, model = self.endpoint.base, self.endpoint.model
        return {"question": question(aspect), "host": base, "model": model, "size": self.size}


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer about one image, "" without one; why there is none; whether to ask again in the next run."""

    text: str
    reason: str = ""
    again: bool = False


@names_arguments
def look(
    images: Images,
    aspect: Aspect,
    url: str,
    model: str,
    *,
    size: int = LOOK_SIZE,
    most: int | None = None,
    requests: int = LOOK_REQUESTS,
    progress: bool = False,
    say: Callable[[str], None] = print,
) -> Answers:
    """What a model that sees images says of one aspect of each, for `MultiMaP.fit(…, answers=…)`.

    Images are sent to the server at `url`, scaled and encoded again: without their names and metadata, such as the
    place of a photograph. The key in MULTIMAP_LOOK_KEY, if it is set, goes there too. Nothing is kept.

    Args:
      images: as in `Clip.embed_images`. aspect: with words, the model chooses among them.
      url: an address like http://localhost:11434/v1. model: its name there.
      size: pixels of the longer side of what is sent, at most. most: images to ask about, None for all.
      requests: how many at once. progress: whether to show a bar. say: gets what is sent where, and failures.

    Returns an answer for each image, or why there is none. Raises InputError or InputOSError if the server cannot be
    used; then the answers so far are lost, which the command would keep.
    """
    check_aspect(aspect)
    asked, pictures = Look.at(url, model, size=size, requests=requests, most=most), as_list(images)
    indices, found = asked.chosen(range(len(pictures))), dict[int, Answer]()

    def keep(i: int, answer: Answer) -> None:
        found[indices[i]] = answer

    ask_images([pictures[i] for i in indices], aspect, asked, keep, say, progress)
    return together([found.get(i, unasked(asked)) for i in range(len(pictures))], aspect, asked)


def together(answers: Sequence[Answer], aspect: Aspect, asked: Look) -> Answers:
    """The answers about all images."""
    reasons = {i: answer.reason for i, answer in enumerate(answers) if not answer.text}
    return Answers([answer.text for answer in answers], reasons, asked.origin(aspect))


def check_allowed(asked: Look | None, images: int, allowed: bool) -> None:
    """InputError if images would be sent to another machine and the user has not allowed it."""
    if asked and not allowed and not asked.endpoint.is_loopback:
        number = images if asked.most is None else min(images, asked.most)
        raise InputError(
            f"this would send up to {number:,} images to {asked.endpoint.host}, which is not this machine: allow that, "
            "or give the address of a model on this machine",
            "yes",
        )


def unasked(asked: Look) -> Answer:
    """In place of an answer about an image beyond `most`."""
    return Answer("", f"not asked, because only {asked.most} images were to be")


def question(aspect: Aspect) -> str:
    """What the model is asked, such as "What is the suit of this card? Answer in at most three words."."""
    asked = f"What is the {aspect.name} of this {aspect.subject}?"
    if len(aspect.words) > 1:
        return f"{asked} Answer with one of these only: {', '.join(aspect.words)}."
    return f"{asked} Answer in at most three words."


def sending_text(images: int, aspect: Aspect, asked: Look) -> str:
    """A sentence about what is sent where, before that is done."""
    key = "with your key" if asked.endpoint.key else "without a key"
    number = "1 image" if images == 1 else f"{images:,} images"
    return (
        f"sending {number} (at most {asked.size} pixels, without names and metadata) to {asked.endpoint}, {key}: "
        f"{question(aspect)}"
    )


def ask_images(
    images: Sequence[AnImage],
    aspect: Aspect,
    asked: Look,
    keep: Callable[[int, Answer], None],
    say: Callable[[str], None] = print,
    progress: bool = False,
) -> None:
    """Asks about images. keep: gets the index of each and its answer as soon as it is there. progress: whether to show
    a bar.

    Raises InputError or InputOSError where the server cannot be used, or is gone: after GONE_AFTER images in a row
    without an answer.
    """
    for text in (aspect.name, aspect.subject):
        if not is_plain_name(text):
            raise InputError(f"expected an aspect and a subject as plain text, found {ascii(text)[:80]}: change it")
    if images:
        say(sending_text(len(images), aspect, asked))
        with open_bar(len(images), f"asking about {aspect.name}", "image", shown=progress) as bar:

            def advance(i: int, answer: Answer) -> None:
                keep(i, answer)
                bar.update(1)

            chat.run(_ask_all(images, question(aspect), asked, advance, say))


async def _ask_all(
    images: Sequence[AnImage], text: str, asked: Look, keep: Callable[[int, Answer], None], say: Callable[[str], None]
) -> None:
    waiting, begin = iter(enumerate(images)), time.monotonic()
    done = failed = 0
    ended = False
    said: set[str] = set()

    def say_once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    async def work() -> None:
        nonlocal done, failed
        while not ended and (item := next(waiting, None)):
            i, image = item
            try:
                answer = await ask_image(client, asked, image, i, text, say_once)
                failed = 0 if answer.text else failed
                keep(i, answer)
            except (RequestRefused, Unreachable, TooSlow) as error:
                keep(i, Answer("", clean(error.message), again=True))
                failed += 1
                if failed >= min(GONE_AFTER, len(images)):
                    raise
            done += 1
            if done == ESTIMATED_AFTER < len(images):
                took = time.monotonic() - begin
                left = took / done * (len(images) - done)
                say(f"{done} images took {took:.0f} s: about {duration(left)} for the other {len(images) - done:,}")

    async with chat.connected(asked.endpoint) as client:
        tasks = [asyncio.create_task(work()) for _ in range(min(asked.requests, len(images)))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        ended = True  # after an error, keep the answers that are on their way
        for late in (await asyncio.wait(tasks, timeout=GRACE_SECONDS))[1]:
            late.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


async def ask_image(
    client: object, asked: Look, image: AnImage, index: int, text: str, say: Callable[[str], None]
) -> Answer:
    """The answer about one image. Errors as in `chat.ask`."""
    endpoint = asked.endpoint
    picture = await asyncio.to_thread(decode, image, index, lambda opened: encoded(opened, asked.size), asked.size)
    if isinstance(picture, Unreadable):
        return Answer("", f"the image cannot be read: {picture.reason}", picture.transient)
    url = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    reply = await chat.ask(client, endpoint, [{"role": "user", "content": content}], say)  # type: ignore[arg-type]
    message = chat.message_of(reply)
    if message is None:
        raise RequestRefused(f"{endpoint} answered what is no chat completion ({endpoint.shown(reply)}): try another")
    for kind in ("content", "refusal"):
        if isinstance(said := message.get(kind), str) and (answer := answer_of(said, endpoint)):
            return Answer(answer)
    return Answer("", "the answer is empty")


def answer_of(text: str, endpoint: Endpoint) -> str:
    """A reply without the model's thoughts, and without the key."""
    text = THOUGHTS.sub("", text)
    return clean(text.replace(endpoint.key, "[key]") if endpoint.key else text)


def encoded(picture: Image.Image, size: int) -> bytes:
    """An RGB image as a JPEG of at most `size` pixels, with nothing but its pixels."""
    if max(picture.size) > size:
        picture = ImageOps.contain(picture, (size, size), Image.Resampling.LANCZOS)
    bare = Image.new("RGB", picture.size)
    bare.paste(picture)
    buffer = io.BytesIO()
    bare.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
