"""A server that stands in for a model that sees images: it knows the true labels, and is wrong or hard to read in
chosen shares. No model was at hand; what is measured with this one is named as simulated."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from multimap_jax.choices import LOOK_SIZE
from multimap_jax.images.decoding import AnImage, opened_image
from multimap_jax.words.look import encoded

# Other ways to say a label, for the aspects of the sets at hand and of drawn fruit.
SYNONYMS = {
    "clubs": "clovers", "diamonds": "diamond shapes", "hearts": "love hearts", "spades": "black leaf shapes",
    "ace": "the A", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10", "jack": "knave", "queen": "lady", "king": "monarch",
    "happy": "cheerful", "sad": "unhappy", "angry": "furious", "neutral": "expressionless",
    "left": "leftwards", "right": "rightwards", "up": "upwards", "straight": "frontal",
    "sunglasses": "dark glasses", "eyes": "bare eyes", "BMW": "Bayerische Motoren Werke", "Volkswagen": "VW",
    "Hyundai": "Hyundai Motor", "Volvo": "Volvo Cars", "lily": "lilies", "rose": "rose flower", "daisy": "marguerite",
    "hyacinth": "hyacinthus", "red": "crimson", "green": "emerald", "yellow": "golden", "pink": "rosy",
    "white": "snowy", "purple": "violet", "apple": "apples", "banana": "plantain", "grape": "grapes",
}  # fmt: skip
REFUSAL = "I'm sorry, but I cannot tell this from the image."
ASKED = re.compile(r"What is the (.+) of this (.+)\? Answer")


@dataclasses.dataclass(frozen=True)
class Noise:
    """Shares of images, 0 … 1: with a wrong label, a synonym, a whole sentence, a refusal, or another case and
    punctuation."""

    wrong: float = 0.0
    synonym: float = 0.0
    chatty: float = 0.0
    refused: float = 0.0
    cased: float = 0.0

    def answer(self, label: str, aspect: str, subject: str, labels: Sequence[str], draw: np.random.Generator) -> str:
        """What is said of an image with this label."""
        kinds, at = [field.name for field in dataclasses.fields(self)], draw.random()
        limits = np.cumsum([getattr(self, kind) for kind in kinds])
        kind = next((kind for kind, limit in zip(kinds, limits) if at < limit), "")
        others = [other for other in labels if other != label]
        return {
            "wrong": others[int(draw.integers(len(others)))] if others else label,
            "synonym": SYNONYMS.get(label, f"{label} {aspect}"),
            "chatty": f"The {aspect} of this {subject} looks like {label} to me.",
            "refused": REFUSAL,
            "cased": f"**{label.upper()}**!",
        }.get(kind, label)


@dataclasses.dataclass
class SimulatedModel:
    """Answers about images by their pixels.

    labels: SHA-256 of an image as it is sent -> aspect -> true label. requests: how many were answered.
    """

    labels: dict[str, dict[str, str]]
    noise: Noise = Noise()
    seed: int = 0
    requests: int = 0

    def say(self, body: dict) -> str:
        """The answer to the body of a request."""
        text, image = body["messages"][0]["content"]
        aspect, subject = ASKED.match(text["text"]).groups()  # type: ignore[union-attr]  # `words.look.question`
        digest = hashlib.sha256(base64.b64decode(image["image_url"]["url"].partition(",")[2])).hexdigest()
        label = self.labels[digest][aspect]
        known = sorted({labels[aspect] for labels in self.labels.values() if aspect in labels})
        seeds = hashlib.sha256(f"{self.seed} {aspect} {digest}".encode()).digest()
        return self.noise.answer(label, aspect, subject, known, np.random.default_rng([*seeds]))


def digests(images: Sequence[AnImage], labels: Mapping[str, Sequence[str]], size: int = LOOK_SIZE) -> dict:
    """`SimulatedModel.labels` of images with labels: aspect -> label of each."""
    found = {}
    for i, image in enumerate(images):
        with opened_image(image, size) as picture:
            digest = hashlib.sha256(encoded(picture, size)).hexdigest()
        found[digest] = {aspect: str(values[i]) for aspect, values in labels.items()}
    return found


@contextlib.contextmanager
def serving(model: SimulatedModel) -> Iterator[str]:
    """The address of a server that answers as the model does, on this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model.requests += 1
            message = {"role": "assistant", "content": model.say(body)}
            reply = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Says nothing: a client may go away."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
