"""Asks a model behind an OpenAI-compatible endpoint: one POST to `…/chat/completions` for each question.

Replies are not trusted: their size and time are limited, and they are escaped and cut before they are shown. Redirects
are not followed. The key goes to the given host alone, and is in no message.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import email.utils
import ipaddress
import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from multimap_jax.errors import InputError, InputOSError
from multimap_jax.storage.filenames import is_plain_name, printable

if TYPE_CHECKING:
    import httpx

SLEEP = asyncio.sleep
Result = TypeVar("Result")
REPLY_BYTES = 10**6  # of a reply; the rest is not read
SHOWN_LENGTH = 200  # characters of a reply in a message
RETRIED = (429, 500, 502, 503, 504)  # status codes after which a retry may succeed
REFUSING = (400, 413, 415, 422)  # status codes that may be about this request alone
LONGEST_WAIT = 300.0  # most seconds that a server may ask to wait before the next try
# Excludes addresses that two parsers could read as different hosts.
ADDRESS = re.compile(r"(https?)://([\w.-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?(/[\w.~:!$&'()*+,;=%/-]*)?", re.ASCII | re.I)


class Unreachable(InputOSError, ConnectionError):
    """The endpoint does not answer."""


class TooSlow(InputOSError, TimeoutError):
    """The endpoint does not answer in time."""


class RequestRefused(InputError):
    """The endpoint refuses a request; it may answer others."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint.

    Attributes:
      base: an address like https://host/v1. model: its name there. key: the API key, or None.
      seconds: time limit of one try. tries: number of tries; of those that take too long, `slow_tries`.
      name: the parameter that holds its address ("llm"), from which those of its model and key are named.

    Raises InputError for an invalid value, and for a key that would be sent unencrypted.
    """

    base: str
    model: str
    key: str | None = dataclasses.field(default=None, repr=False)
    seconds: float = 60
    tries: int = 3
    slow_tries: int = 3
    name: str = "llm"

    def __post_init__(self) -> None:
        address = ADDRESS.fullmatch(self.base)
        if not address or int(address[3] or 0) > 65535:
            found = "one with a user or password" if "@" in self.base else shown(self.base)
            found = "one with a query or fragment" if re.search("[?#]", self.base) else found  # either may be secret
            raise InputError(f"expected an address like https://host/v1, found {found}: give only that part", self.name)
        if not is_plain_name(self.model):
            raise InputError(f"expected a model's name at {self.base}, found {ascii(self.model)}", f"{self.name}_model")
        if not (0 < self.seconds < float("inf") and self.tries >= 1 and self.slow_tries >= 1):
            raise ValueError(f"expected seconds > 0 and tries >= 1, found {self}")
        if self.key and not re.fullmatch("[!-~]+", self.key):
            raise InputError(f"expected a key of ASCII characters without spaces: set {self.variable} again")
        if self.key and not self.base.lower().startswith("https:") and not self.is_loopback:
            raise InputError(
                f"a key is only sent to https or to this machine, found {self.base}: give an https address, or unset "
                f"{self.variable}",
                self.name,
            )

    @classmethod
    def from_environment(cls, base: str, model: str, name: str = "llm", **limits: Any) -> Endpoint:
        """An endpoint with the key in its own environment variable, if it is set. Keys in other variables are for
        other hosts."""
        key = os.environ.get(key_variable(name), "").strip() or None
        return cls(base, model, key, name=name, **limits)

    @property
    def variable(self) -> str:
        return key_variable(self.name)

    @property
    def url(self) -> str:
        return self.base.rstrip("/") + "/chat/completions"

    @property
    def host(self) -> str:
        address = ADDRESS.fullmatch(self.base)
        return address[2].lower() if address else ""

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        host = self.host.strip("[]")
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(host).is_loopback
        return host == "localhost"

    def __str__(self) -> str:
        return f"{self.url} (model {self.model})"

    def shown(self, text: str | bytes) -> str:
        """Text from the endpoint for a message, without the key."""
        return shown(text.decode("utf-8", "replace") if isinstance(text, bytes) else text, self.key)


def key_variable(name: str) -> str:
    """The environment variable of an endpoint's key."""
    return f"MULTIMAP_{name.upper()}_KEY"


def shown(text: str, key: str | None = None) -> str:
    """Text of a reply for a message: one line without control characters, cut, and without the key."""
    text = text.replace(key, "[key]") if key else text
    return printable(" ".join(text.split())[:SHOWN_LENGTH])[:SHOWN_LENGTH]


def message_of(reply: bytes) -> dict[str, Any] | None:
    """The message in a reply; None if it has none."""
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError, MemoryError):
        message = json.loads(reply)["choices"][0]["message"]
        return message if isinstance(message, dict) else None
    return None


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine to its end, also in a notebook, whose loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@contextlib.asynccontextmanager
async def connected(endpoint: Endpoint) -> AsyncIterator[httpx.AsyncClient]:
    """A client for requests to an endpoint. InputError without httpx, or if the environment's proxy is invalid."""
    try:
        import httpx
    except ImportError:
        raise InputError('a language model needs httpx: pip install "multimap_jax[llm]"') from None
    try:  # requests to this machine bypass the environment's proxy, which would see the key
        client = httpx.AsyncClient(timeout=None, follow_redirects=False, trust_env=not endpoint.is_loopback)
    except (httpx.InvalidURL, ValueError, ImportError) as error:
        raise unsendable(endpoint, error) from None
    async with client:
        yield client


async def ask(
    client: httpx.AsyncClient, endpoint: Endpoint, messages: Sequence[dict], say: Callable[[str], None]
) -> bytes:
    """The reply to messages; tries again if that may help, after the time that the server asks for.

    Raises RequestRefused if the endpoint refuses these messages, other InputErrors if it would refuse any, Unreachable
    or TooSlow if it does not answer.
    """
    import httpx

    failure: Unreachable | TooSlow
    for turn in range(endpoint.tries):
        wait = 2.0 ** min(turn, 5)
        try:
            status, headers, reply = await _post(client, endpoint, messages)
        except TimeoutError:
            failure = TooSlow(f"{endpoint} did not answer within {endpoint.seconds:g} s: try again later")
            if turn + 1 >= endpoint.slow_tries:
                raise failure from None
        except (httpx.TransportError, OSError) as error:
            reason = endpoint.shown(str(error)) or type(error).__name__
            if "CERTIFICATE_VERIFY_FAILED" in reason:
                raise InputError(f"{endpoint.url} has no certificate that this machine trusts ({reason})") from None
            failure = Unreachable(f"cannot reach {endpoint.url} ({reason}): check the address and the network")
        except (httpx.InvalidURL, ValueError, ImportError) as error:
            raise unsendable(endpoint, error) from None
        else:
            answer = f"{endpoint} answered {status} ({endpoint.shown(reply) or 'without a reason'})"
            if status not in RETRIED:
                break
            asked = seconds_to_wait(headers.get("retry-after", ""))
            if asked > LONGEST_WAIT:
                raise Unreachable(f"{answer}, and asks to wait {asked:,.0f} s: try again then")
            failure, wait = Unreachable(f"{answer}: try again later"), max(wait, asked)
        if turn + 1 == endpoint.tries:
            raise failure
        say(f"{failure}; trying again in {wait:g} s")
        await SLEEP(wait)
    if status in (401, 403):
        key = f"the key in {endpoint.variable}" if endpoint.key else f"{endpoint.variable}, which is not set"
        raise InputError(f"{answer}: check {key}")
    if 300 <= status < 400:
        target = endpoint.shown(headers.get("location", "nowhere"))
        raise InputError(
            f"{endpoint.url} redirects to {target}, which multimap does not follow: give the right address"
        )
    if not 200 <= status < 300:
        kind = RequestRefused if status in REFUSING else InputError
        raise kind(f"{answer}: check the address and the model")
    if len(reply) > REPLY_BYTES:
        raise RequestRefused(f"{endpoint} answered more than {REPLY_BYTES:,} bytes: try another model")
    return reply


def unsendable(endpoint: Endpoint, error: Exception) -> InputError:
    """The error where no request can be sent, because of the address or the environment's proxy."""
    reason = endpoint.shown(str(error))
    return InputError(f"cannot send a request to {endpoint.url} ({reason}): check the address and your proxy")


def seconds_to_wait(retry_after: str) -> float:
    """The seconds in a header Retry-After, which has a number or a date; 0 if it cannot be read."""
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", retry_after, re.ASCII):
        return float(retry_after)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    return 0.0


async def _post(
    client: httpx.AsyncClient, endpoint: Endpoint, messages: Sequence[dict]
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and reply, cut soon after REPLY_BYTES. Raises TimeoutError if this takes too long."""
    body = {"model": endpoint.model, "temperature": 0, "messages": messages}
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {})
    reply = bytearray()
    async with (
        asyncio.timeout(endpoint.seconds),
        client.stream("POST", endpoint.url, json=body, headers=headers) as response,
        contextlib.aclosing(response.aiter_raw(2**16)) as chunks,  # type: ignore[type-var]  # a generator, with aclose
    ):
        async for chunk in chunks:
            reply += chunk
            if len(reply) > REPLY_BYTES:
                break
        return response.status_code, response.headers, bytes(reply)
