"""Records what OpenAI's own client sends to a server of chat completions about one image, and what it makes of the
answer, to compare with `multimap_jax.words.look`.

    python -m venv openai && openai/bin/pip install openai .
    openai/bin/python -m experiments.evaluation.openai_exchange --out=tests/words/openai_exchange.json

Needs the package openai, which multimap_jax does not: run it in an environment of its own.
"""

from __future__ import annotations

import base64
import json
from importlib.metadata import version
from pathlib import Path

from absl import app, flags

from experiments.evaluation.simulated_model import SimulatedModel, digests, serving
from multimap_jax.images.decoding import opened_image
from multimap_jax.prompts.aspect import Aspect
from multimap_jax.scenes import render_scene
from multimap_jax.words.look import encoded, question

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("out", None, "file for the recorded exchange", required=True)


def main(_):
    import openai

    picture, labels = render_scene("fruit", seed=0)[:2]
    with opened_image(picture) as opened:
        content = encoded(opened, 512)
    model, seen = SimulatedModel(digests([picture], {"color": [labels["color"]]})), []
    say = model.say
    model.say = lambda body: (seen.append(body), say(body))[1]
    url = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
    parts = [
        {"type": "text", "text": question(Aspect("color", "fruit"))},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    with serving(model) as address:
        client = openai.OpenAI(base_url=address, api_key="none")
        answer = client.chat.completions.create(
            model="simulated", temperature=0, messages=[{"role": "user", "content": parts}]
        )
    body = json.loads(json.dumps(seen[0]).replace(url, "data:image/jpeg;base64,…"))
    exchange = {"client": f"openai {version('openai')}", "body": body, "answer": answer.choices[0].message.content}
    Path(FLAGS.out).write_text(json.dumps(exchange, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    define_flags()
    app.run(main)
