"""The parts of `on_accelerator` in the order of their worth, each run in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator

from experiments.accelerator import device, rates, whole
from experiments.accelerator.common import FULL, NO_TIME, QUICK, measured
from experiments.benchmarks.measuring import in_words

# Part -> (its pieces, seconds below which it is not begun, the share of the time left that it may take).
PARTS = {
    "device": (device.device, 10, 0.3),
    "parity": (device.parity, 30, 0.3),
    "steps": (rates.steps, 30, 0.5),
    "blocks": (rates.blocks, 30, 0.6),
    "million": (whole.million, 60, 0.75),
    "images": (whole.images, 30, 0.6),
    "torch": (rates.torch, 30, 0.7),
    "towers": (whole.towers, 30, 1.0),
}


def run_part(name: str, quick: bool, found: dict, end: float) -> Iterator[dict]:
    """The rows of a part as they come. Whatever goes wrong is a row with an "error". At the time `end` (seconds since
    1970) the program ends; a part is stopped when its share of what is left until then is over."""
    _, least, share = PARTS[name]
    left = end - time.time()
    if left <= (0 if quick else least):
        yield {"error": NO_TIME}
        return
    end -= (1 - share) * left
    context = multiprocessing.get_context("spawn")
    results, sender = context.Pipe(duplex=False)
    process = context.Process(target=send_rows, args=(sender, name, quick, found, end))
    try:
        process.start()
        sender.close()
        while results.poll(max(0.0, end - time.time())):
            yield results.recv()
        yield {"error": "stopped: time"}
    except EOFError:
        process.join(10)
        if process.exitcode:
            yield {"error": f"the process of this part ended with status {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def send_rows(sender, name: str, quick: bool, found: dict, end: float) -> None:
    try:
        for row in measured(PARTS[name][0](QUICK if quick else FULL, found, end), end):
            sender.send(row)
    except Exception as error:  # a part whose pieces cannot even be listed
        sender.send({"error": in_words(error)})
