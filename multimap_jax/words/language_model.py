"""Asks a language model for candidate words. It sends only text, and prints it first."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import msgspec

from multimap_jax.errors import InputError, InputOSError
from multimap_jax.prompts.normalize import unique_words
from multimap_jax.storage.filenames import is_plain_name, reason_text
from multimap_jax.storage.paths import write_file
from multimap_jax.storage.reading import read_json
from multimap_jax.words import chat
from multimap_jax.words.chat import REPLY_BYTES, Endpoint, message_of, shown

MOST_WORDS = 200
WORD_LENGTH = 100  # characters of a word
SYSTEM = 'You answer with JSON only, in the form {"words": ["first", "second"]}, and with no other text.'


def ask_words(
    aspect: str,
    subject: str,
    endpoint: Endpoint,
    say: Callable[[str], None] = print,
    folder: Path | None = None,
    most: int = MOST_WORDS,
) -> tuple[str, ...]:
    """Words for an aspect ("color") of a subject ("fruit"): lower case, unique, 2 to `most` of them.

    `say` gets the prompt before it is sent. With a `folder` the answer is cached there and reused.

    Raises InputError for an unusable answer, InputOSError for no answer, or if it cannot be cached.
    """
    for text in (aspect, subject):
        if not is_plain_name(text):
            raise InputError(f"expected an aspect and a subject as plain text, found {shown(ascii(text))}: change it")
    prompt = (
        f"Photographs of {subject} are to be sorted by {aspect}. List the values of {aspect} that may be seen in them: "
        f"at most {most} short English words, the usual ones first, none that means the same as another."
    )
    asked = {"base": endpoint.base, "model": endpoint.model, "aspect": aspect, "subject": subject}
    asked["prompt"] = f"{SYSTEM} {prompt}"
    if folder is not None:
        path = folder / f"words-{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]}.json"
        with contextlib.suppress(ValueError, OSError):  # missing or damaged: ask again
            kept = read_json(path, limit=2 * REPLY_BYTES)
            words = msgspec.convert(kept.pop("words", None), list[str])
            if kept == asked and 2 <= len(words) <= most and words == usable(words):
                return tuple(words)
    try:
        answered = _words_of(chat.run(_ask(endpoint, prompt, say)), endpoint)
        words = usable(answered, endpoint.key or "")
        if len(words) < 2:
            raise InputError(f"expected two or more usable words from {endpoint.url}, found {len(words)}: ask again")
    except InputError as error:
        raise type(error)(f"{error.message}, or give the words yourself", "words", f"{aspect}=A,B,…") from None
    if len(words) < len(answered):
        say(f"dropped {len(answered) - len(words):,} of {len(answered):,} words: repeated, too long or unreadable")
    if len(words) > most:
        say(f"using the first {most} of {len(words):,} words from {endpoint.url}")
    words = words[:most]
    if folder is not None:
        try:
            write_file(path, json.dumps(asked | {"words": words}, indent=1))
        except OSError as error:
            message = f"cannot write the words to {path} ({reason_text(error)}): give another folder"
            raise InputOSError(message, "out") from None
    return tuple(words)


def _words_of(reply: bytes, endpoint: Endpoint) -> list[str]:
    """The words of a reply, unchanged. Raises InputError for any other answer."""
    content: object = reply
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError):
        content = (message_of(reply) or {})["content"]
        text = content.strip()  # type: ignore[attr-defined]  # other answers are errors
        if text.startswith("```") and text.endswith("```"):
            text = text[3:-3].removeprefix("json")
        words = json.loads(text)
        return msgspec.convert(words["words"] if isinstance(words, dict) and len(words) == 1 else words, list[str])
    content = content if isinstance(content, bytes) else str(content)
    raise InputError(
        f'expected {{"words": […]}} as JSON from {endpoint.url}, found {endpoint.shown(content)!r}: try another model'
    )


def usable(words: list[str], key: str = "") -> list[str]:
    """The words in lower case with single spaces, without those that are repeated, empty, too long or unreadable, or
    that contain the key."""
    lower = (" ".join(word.lower().split()) for word in words if is_plain_name(word.strip()))
    return unique_words(word for word in lower if len(word) <= WORD_LENGTH and not (key and key.lower() in word))


async def _ask(endpoint: Endpoint, prompt: str, say: Callable[[str], None]) -> bytes:
    """The reply to the prompt. Errors as in `chat.ask`."""
    async with chat.connected(endpoint) as client:
        say(f"Sending to {endpoint}, {'with your key' if endpoint.key else 'without a key'}: {SYSTEM} {prompt}")
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
        return await chat.ask(client, endpoint, messages, say)
