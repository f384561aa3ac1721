"""Asks a language model behind an OpenAI-compatible endpoint for candidate words.

It sends only text, and prints it first. Replies are not trusted: their size and time are limited, and they are escaped
and cut before they are shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import ipaddress
import json
import os
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from multimap_jax.errors import InputError, InputOSError
from multimap_jax.prompts.normalize import unique_words
from multimap_jax.storage.filenames import is_plain_name, printable, reason_text
from multimap_jax.storage.paths import write_file
from multimap_jax.storage.reading import read_json

SLEEP = time.sleep
Answer = TypeVar("Answer")
REPLY_BYTES = 10**6  # of a reply; the rest is not read
WORD_LENGTH = 100  # characters of a word
SHOWN_LENGTH = 200  # characters of a reply in a message
RETRIED = (429, 500, 502, 503, 504)  # status codes after which a retry may succeed
MAX_WAIT = 30.0  # seconds between two tries
# Excludes addresses that two parsers could read as different hosts.
ADDRESS = re.compile(r"(https?)://([\w.-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?(/[\w.~:!$&'()*+,;=%/-]*)?", re.ASCII | re.I)
SYSTEM = 'You answer with JSON only, in the form {"words": ["first", "second"]}, and with no other text.'


class Unreachable(InputOSError, ConnectionError):
    """The endpoint does not answer."""


class TooSlow(InputOSError, TimeoutError):
    """The endpoint does not answer in time."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint.

    Attributes:
      base: an address like https://host/v1. model: its name there. key: the API key, or None.
      seconds: time limit of one try. tries: number of tries. most: largest number of words to use.

    Raises InputError for an invalid value, and for a key that would be sent unencrypted.
    """

    base: str
    model: str
    key: str | None = dataclasses.field(default=None, repr=False)
    seconds: float = 60
    tries: int = 3
    most: int = 200

    def __post_init__(self) -> None:
        address = ADDRESS.fullmatch(self.base)
        if not address or int(address[3] or 0) > 65535:
            found = "one with a user or password" if "@" in self.base else shown(self.base)
            found = "one with a query or fragment" if re.search("[?#]", self.base) else found  # either may be secret
            raise InputError(f"expected an address like https://host/v1, found {found}: give only that part", "llm")
        if not is_plain_name(self.model):
            raise InputError(f"expected a model's name at {self.base}, found {ascii(self.model)}", "llm_model")
        if not (0 < self.seconds < float("inf") and self.tries >= 1 and self.most >= 2):
            raise ValueError(f"expected seconds > 0, tries >= 1 and most >= 2, found {self}")
        if self.key and not re.fullmatch("[!-~]+", self.key):
            raise InputError("expected a key of ASCII characters without spaces: set MULTIMAP_LLM_KEY again")
        if self.key and not self.base.lower().startswith("https:") and not self.is_loopback:
            raise InputError(
                f"a key is only sent to https or to this machine, found {self.base}: give an https address, or unset "
                "MULTIMAP_LLM_KEY",
                "llm",
            )

    @classmethod
    def from_environment(cls, base: str, model: str) -> Endpoint:
        """An endpoint with the key in MULTIMAP_LLM_KEY, if it is set. Keys in other variables are for other hosts."""
        return cls(base, model, os.environ.get("MULTIMAP_LLM_KEY", "").strip() or None)

    @property
    def url(self) -> str:
        return self.base.rstrip("/") + "/chat/completions"

    @property
    def is_loopback(self) -> bool:
        address = ADDRESS.fullmatch(self.base)
        host = address[2].strip("[]").lower() if address else ""
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(host).is_loopback
        return host == "localhost"

    def shown(self, text: str | bytes) -> str:
        """Text from the endpoint for a message, without the key."""
        return shown(text.decode("utf-8", "replace") if isinstance(text, bytes) else text, self.key)


def ask_words(
    aspect: str, subject: str, endpoint: Endpoint, say: Callable[[str], None] = print, folder: Path | None = None
) -> tuple[str, ...]:
    """Words for an aspect ("color") of a subject ("fruit"): lower case, unique, 2 to `endpoint.most` of them.

    `say` gets the prompt before it is sent. With a `folder` the answer is cached there and reused.

    Raises InputError for an unusable answer, InputOSError for no answer, or if it cannot be cached.
    """
    for text in (aspect, subject):
        if not is_plain_name(text):
            raise InputError(f"expected an aspect and a subject as plain text, found {shown(ascii(text))}: change it")
    prompt = (
        f"Photographs of {subject} are to be sorted by {aspect}. List the values of {aspect} that may be seen in them: "
        f"at most {endpoint.most} short English words, the usual ones first, none that means the same as another."
    )
    asked = {"base": endpoint.base, "model": endpoint.model, "aspect": aspect, "subject": subject}
    asked["prompt"] = f"{SYSTEM} {prompt}"
    if folder is not None:
        path = folder / f"words-{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]}.json"
        with contextlib.suppress(ValueError, OSError):  # missing or damaged: ask again
            kept = read_json(path, limit=2 * REPLY_BYTES)
            words = msgspec.convert(kept.pop("words", None), list[str])
            if kept == asked and 2 <= len(words) <= endpoint.most and words == usable(words):
                return tuple(words)
    try:
        answered = _words_of(_ask(endpoint, prompt, say), endpoint)
        words = usable(answered, endpoint.key or "")
        if len(words) < 2:
            raise InputError(f"expected two or more usable words from {endpoint.url}, found {len(words)}: ask again")
    except InputError as error:
        raise type(error)(f"{error.message}, or give the words yourself", "words", f"{aspect}=A,B,…") from None
    if len(words) < len(answered):
        say(f"dropped {len(answered) - len(words):,} of {len(answered):,} words: repeated, too long or unreadable")
    if len(words) > endpoint.most:
        say(f"using the first {endpoint.most} of {len(words):,} words from {endpoint.url}")
    words = words[: endpoint.most]
    if folder is not None:
        try:
            write_file(path, json.dumps(asked | {"words": words}, indent=1))
        except OSError as error:
            message = f"cannot write the words to {path} ({reason_text(error)}): give another folder"
            raise InputOSError(message, "out") from None
    return tuple(words)


def _words_of(reply: bytes, endpoint: Endpoint) -> list[str]:
    """The words of a reply, unchanged. Raises InputError for any other answer."""
    content, unusable = reply, (ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError)
    with contextlib.suppress(*unusable):
        content = json.loads(reply)["choices"][0]["message"]["content"]
        text = content.strip()
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


def shown(text: str, key: str | None = None) -> str:
    """Text of a reply for a message: one line without control characters, cut, and without the key."""
    text = text.replace(key, "[key]") if key else text
    return printable(" ".join(text.split())[:SHOWN_LENGTH])[:SHOWN_LENGTH]


def _ask(endpoint: Endpoint, prompt: str, say: Callable[[str], None]) -> bytes:
    """The reply to the prompt; tries again if that may help. Raises InputError or InputOSError if there is none."""
    try:
        import httpx
    except ImportError:
        raise InputError('a language model needs httpx: pip install "multimap_jax[llm]"') from None
    url, name = endpoint.url, f"{endpoint.url} (model {endpoint.model})"
    say(f"Sending to {name}, {'with your key' if endpoint.key else 'without a key'}: {SYSTEM} {prompt}")
    for turn in range(endpoint.tries):
        wait = 2.0 ** min(turn, 5)
        try:
            status, headers, reply = _run(_post(endpoint, prompt))
            answer = f"{name} answered {status} ({endpoint.shown(reply) or 'without a reason'})"
            if status not in RETRIED:
                break
            after = headers.get("retry-after", "")
            wait = max(wait, float(after)) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", after, re.ASCII) else wait
            failure = Unreachable(f"{answer}: try again later")
        except TimeoutError:
            failure = TooSlow(f"{name} did not answer within {endpoint.seconds:g} s: try again later")
        except (httpx.TransportError, OSError) as error:
            reason = endpoint.shown(str(error)) or type(error).__name__
            failure = Unreachable(f"cannot reach {url} ({reason}): check the address and the network")
        except (httpx.InvalidURL, ValueError, ImportError) as error:  # may also come from the environment's proxy
            reason = endpoint.shown(str(error))
            raise InputError(f"cannot send a request to {url} ({reason}): check the address and your proxy") from None
        if turn + 1 == endpoint.tries:
            raise failure
        wait = min(wait, MAX_WAIT)
        say(f"{failure}; trying again in {wait:g} s")
        SLEEP(wait)
    if status in (401, 403):
        key = "the key in MULTIMAP_LLM_KEY" if endpoint.key else "MULTIMAP_LLM_KEY, which is not set"
        raise InputError(f"{answer}: check {key}")
    if 300 <= status < 400:
        target = endpoint.shown(headers.get("location", "nowhere"))
        raise InputError(f"{url} redirects to {target}, which multimap does not follow: give the right address")
    if not 200 <= status < 300:
        raise InputError(f"{answer}: check the address and the model")
    if len(reply) > REPLY_BYTES:
        raise InputError(f"{name} answered more than {REPLY_BYTES:,} bytes: try another model")
    return reply


def _run(work: Coroutine[Any, Any, Answer]) -> Answer:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:  # in a notebook, whose loop runs in this thread
        return thread.submit(asyncio.run, work).result()


async def _post(endpoint: Endpoint, prompt: str) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and reply, cut soon after REPLY_BYTES. Raises TimeoutError if this takes too long."""
    import httpx

    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
    body = {"model": endpoint.model, "temperature": 0, "messages": messages}
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {})
    reply = bytearray()
    # Requests to this machine bypass the environment's proxy, which would see the key.
    client = httpx.AsyncClient(timeout=None, follow_redirects=False, trust_env=not endpoint.is_loopback)
    async with (
        asyncio.timeout(endpoint.seconds),
        client,
        client.stream("POST", endpoint.url, json=body, headers=headers) as response,
        contextlib.aclosing(response.aiter_raw(2**16)) as chunks,  # type: ignore[type-var]  # a generator, with aclose
    ):
        async for chunk in chunks:
            reply += chunk
            if len(reply) > REPLY_BYTES:
                break
        return response.status_code, response.headers, bytes(reply)
