"""Candidate words for an aspect, from a language model behind any OpenAI-compatible endpoint.

Only text is sent, after it was said. Whatever comes back is taken for hostile: it is bounded in size and time, and is
escaped and cut before anybody reads it.
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
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from multimap_jax.prompts.normalize import normal_form
from multimap_jax.storage.filenames import is_plain_name, printable
from multimap_jax.storage.paths import error_text, write_file
from multimap_jax.storage.reading import read_json

SLEEP = time.sleep
REPLY_BYTES, WORD_LENGTH, SHOWN_LENGTH = 10**6, 100, 200
# Status codes that may pass, and the longest wait between two tries.
PASSING, WAIT_SECONDS = (429, 500, 502, 503, 504), 30.0
# Nothing that one reader of addresses could take for another host than the next reader does.
ADDRESS = re.compile(r"(https?)://([\w.-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?(/[\w.~:!$&'()*+,;=%/-]*)?", re.ASCII | re.I)
SYSTEM = 'You answer with JSON only, in the form {"words": ["first", "second"]}, and with no other text.'


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint: `base` as in https://host/v1, the `model`'s name there, and a `key` or none.

    `seconds`: limit of one try, as a whole; `tries`: how often it is asked; `most`: words that are used. Raises
    ValueError for an address or number that will not do, and for a key that would go over the network in the clear.
    """

    base: str
    model: str
    key: str | None = dataclasses.field(default=None, repr=False)
    seconds: float = 60
    tries: int = 3
    most: int = 200

    def __post_init__(self):
        address = ADDRESS.fullmatch(self.base)
        if not address or int(address[3] or 0) > 65535:
            found = "one with a user or password" if "@" in self.base else shown(self.base)
            found = "one with a query or fragment" if re.search("[?#]", self.base) else found  # either may be secret
            raise ValueError(f"expected an address like https://host/v1 in --llm, found {found}: give it without more")
        if not is_plain_name(self.model):
            raise ValueError(f"expected the model's name at {self.base}, found {ascii(self.model)}: give --llm_model")
        if not (0 < self.seconds < float("inf") and self.tries >= 1 and self.most >= 2):
            raise ValueError(f"expected seconds over 0, a try or more and two words or more, found {self}: change that")
        if self.key and not re.fullmatch("[!-~]+", self.key):
            raise ValueError(
                "expected a key of ASCII characters without spaces, found others: set MULTIMAP_LLM_KEY again"
            )
        if self.key and not self.base.lower().startswith("https:") and not self.loopback:
            raise ValueError(
                f"a key goes to https or to this machine only, found {self.base}: give an https address with --llm, "
                "or set MULTIMAP_LLM_KEY to nothing"
            )

    @classmethod
    def from_environment(cls, base: str, model: str) -> Endpoint:
        """With the key of MULTIMAP_LLM_KEY, or none. Keys that the environment holds for others go to nobody."""
        return cls(base, model, os.environ.get("MULTIMAP_LLM_KEY", "").strip() or None)

    @property
    def url(self) -> str:
        return self.base.rstrip("/") + "/chat/completions"

    @property
    def loopback(self) -> bool:
        host = ADDRESS.fullmatch(self.base)[2].strip("[]").lower()
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(host).is_loopback
        return host == "localhost"


def ask_words(
    aspect: str, subject: str, endpoint: Endpoint, say: Callable[[str], None] = print, folder: Path | None = None
) -> tuple[str, ...]:
    """Words for an aspect ("color") of a subject ("fruit"): lower case, each once, 2 to `endpoint.most` of them.

    What is sent goes to `say` first. With a `folder` the answer is kept there, and read again instead of asking. Raises
    ValueError for an answer that will not do, OSError where none comes or it cannot be kept, with what to do.
    """
    for text in (aspect, subject):
        if not is_plain_name(text):
            raise ValueError(f"expected an aspect and a subject as plain text, found {shown(ascii(text))}: change that")
    prompt = (
        f"Photographs of {subject} are to be sorted by {aspect}. List the values of {aspect} that may be seen in them: "
        f"at most {endpoint.most} short English words, the usual ones first, none that means the same as another."
    )
    asked = {"base": endpoint.base, "model": endpoint.model, "aspect": aspect, "subject": subject}
    asked["prompt"] = f"{SYSTEM} {prompt}"
    path = None
    if folder is not None:
        name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]
        path = folder / f"words-{name}.json"
        with contextlib.suppress(ValueError, OSError):  # none, or a damaged one: asked anew
            kept = read_json(path, most=2 * REPLY_BYTES)
            words = kept.pop("words", None)
            if kept == asked and is_list(words) and 2 <= len(words) <= endpoint.most and words == fitting(words):
                return tuple(words)
    try:
        answered = words_of(_ask(endpoint, prompt, say), endpoint)
        words = fitting(answered, endpoint.key or "")
        if len(words) < 2:
            raise ValueError(f"expected two words or more from {endpoint.url}, found {len(words)} that fit: ask again")
    except (ValueError, ConnectionError, TimeoutError) as error:
        kind = type(error) if isinstance(error, (ConnectionError, TimeoutError)) else ValueError
        raise kind(f"{error}, or give the words yourself with --words={aspect}=A,B,…") from None
    if len(words) < len(answered):
        say(f"{len(answered) - len(words):,} of {len(answered):,} words are repeated or do not fit and were dropped")
    if len(words) > endpoint.most:
        say(f"{endpoint.url} gave {len(words):,} words: the first {endpoint.most} are used")
    words = words[: endpoint.most]
    if path is not None:
        try:
            write_file(path, json.dumps(asked | {"words": words}, indent=1))
        except OSError as error:
            reason = error.strerror or error_text(error)
            raise OSError(f"cannot keep the words in {path} ({reason}): give another folder with --out") from None
    return tuple(words)


def is_list(content) -> bool:
    return isinstance(content, list) and all(isinstance(word, str) for word in content)


def words_of(reply: bytes, endpoint: Endpoint) -> list[str]:
    """The words of a reply as they were given. ValueError for any other than the one asked for."""
    content = reply.decode("utf-8", "replace")
    try:
        content = json.loads(reply)["choices"][0]["message"]["content"]
        text = content.strip()
        if text.startswith("```") and text.endswith("```"):
            text = text[3:-3].removeprefix("json")
        words = json.loads(text)
        words = words["words"] if isinstance(words, dict) and len(words) == 1 else words
        if is_list(words):
            return words
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, MemoryError):
        pass
    raise ValueError(
        f'expected {{"words": […]}} as JSON from {endpoint.url}, found {shown(str(content), endpoint.key)!r}: '
        "try another model with --llm_model"
    )


def fitting(words: list[str], key: str = "") -> list[str]:
    """The words in lower case with single spaces, each once, without those that are empty, too long, hold a control
    character or mark that turns text, or the key."""
    found = {}
    for word in map(str.strip, words):
        lower = " ".join(word.lower().split())
        if is_plain_name(word) and len(lower) <= WORD_LENGTH and not (key and key.lower() in lower):
            found.setdefault(normal_form(lower), lower)
    return list(found.values())


def shown(text: str, key: str | None = None) -> str:
    """What somebody else wrote, for a sentence: one line that steers no terminal, cut, and without the key."""
    text = text.replace(key, "[key]") if key else text
    return printable(" ".join(text.split())[:SHOWN_LENGTH])[:SHOWN_LENGTH]


def _ask(endpoint: Endpoint, prompt: str, say: Callable[[str], None]) -> bytes:
    """The reply to the prompt. ValueError or OSError where there is none, tried again where that may pass."""
    try:
        import httpx
    except ImportError:
        raise ValueError('--llm needs httpx, which is not installed: pip install "multimap_jax[llm]"') from None
    url, name = endpoint.url, f"{endpoint.url} (model {endpoint.model})"
    say(f"Sending to {name}, {'with your key' if endpoint.key else 'without a key'}: {SYSTEM} {prompt}")
    for turn in range(endpoint.tries):
        after = ""
        try:
            status, headers, reply = _run(_post(endpoint, prompt))
            if status not in PASSING:
                break
            after = headers.get("retry-after", "")
            failed = ConnectionError(f"{name} answered {status} ({_said(reply, endpoint)}): ask again later")
        except TimeoutError:
            failed = TimeoutError(f"{name} did not answer within {endpoint.seconds:g} s: ask again later")
        except (httpx.TransportError, OSError) as error:
            reason = shown(str(error), endpoint.key) or type(error).__name__
            failed = ConnectionError(f"{url} cannot be reached ({reason}): look at --llm and the network")
        except (httpx.InvalidURL, ValueError, ImportError) as error:  # of the proxy that the environment names, too
            raise ValueError(
                f"{url} cannot be asked ({shown(str(error), endpoint.key)}): look at --llm and your proxy"
            ) from None
        if turn + 1 == endpoint.tries:
            raise failed
        wait = 2.0 ** min(turn, 5)
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", after, re.ASCII):
            wait = max(wait, float(after))
        wait = min(wait, WAIT_SECONDS)
        say(f"{failed}; trying again in {wait:g} s")
        SLEEP(wait)
    if status in (401, 403):
        refused = "refused the key" if endpoint.key else "wants a key, and MULTIMAP_LLM_KEY holds none"
        raise ValueError(f"{name} {refused} ({status}, {_said(reply, endpoint)}): look at MULTIMAP_LLM_KEY")
    if 300 <= status < 400:
        target = shown(headers.get("location", "nowhere"), endpoint.key)
        raise ValueError(f"{url} sends on to {target}, which is not followed: give the right address with --llm")
    if not 200 <= status < 300:
        raise ValueError(f"{name} answered {status} ({_said(reply, endpoint)}): look at --llm and --llm_model")
    if len(reply) > REPLY_BYTES:
        raise ValueError(f"{name} answered more than {REPLY_BYTES:,} bytes: try another model with --llm_model")
    return reply


def _said(reply: bytes, endpoint: Endpoint) -> str:
    return shown(reply.decode("utf-8", "replace"), endpoint.key) or "no more was said"


def _run(work: Coroutine):
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as apart:  # a notebook, whose loop runs in this thread
        return apart.submit(asyncio.run, work).result()


async def _post(endpoint: Endpoint, prompt: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and reply, cut where it is over REPLY_BYTES. TimeoutError where all that takes too long."""
    import httpx

    body = {
        "model": endpoint.model,
        "temperature": 0,
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}],
    }
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {})
    reply = bytearray()
    async with asyncio.timeout(endpoint.seconds):
        # To this machine directly: a proxy of the environment would read the key.
        async with httpx.AsyncClient(timeout=None, follow_redirects=False, trust_env=not endpoint.loopback) as client:
            async with client.stream("POST", endpoint.url, json=body, headers=headers) as response:
                async with contextlib.aclosing(response.aiter_raw(2**16)) as pieces:
                    async for piece in pieces:
                        reply += piece
                        if len(reply) > REPLY_BYTES:
                            break
                return response.status_code, response.headers, bytes(reply)
