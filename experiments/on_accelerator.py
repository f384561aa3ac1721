"""All that is measured on an accelerator, in one go of at most nine minutes.

    python -m experiments.on_accelerator --out=experiments/results/h100
    python -m experiments.on_accelerator --out=/tmp/tried --quick

Prints every row as it is found, `part: {…}`, and at last the path of the JSON, DIR/accelerator.json, which
`python -m experiments.write_results` makes a page of. In the order of their worth:

  device   the machine, and the rate of a plain matrix product in float32, tf32 and bf16
  parity   float32: both towers and the gradient at the slot against the CPU, ViT-B/32
  steps    image-steps a second of the default tower, with shares of that product and of the vendor's figure
  blocks   the same for block sizes 512 … 32,768, and which default follows: the smallest with 97% of the best rate
  million  a million embeddings' proxies by `fit_proxies`, 80 steps, in the most exact precision that fits into the time
  images   images embedded a second, decoding included, and by the tower alone
  torch    PyTorch's released loop and one of a frozen suffix on the same device; needs PyTorch
  towers   steps and images of ViT-B/16 and ViT-L/14

After --minutes it ends, whatever runs: what was not begun has the error "not run: time". What fails has an error that
says why, and the others go on; where JAX sees only a CPU it ends at once. The JSON is written, whole, after every row.
--quick tries the program on a CPU, with tiny towers, in less than two minutes; its figures mean nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

from absl import app, flags

from experiments.accelerator.common import device_of, rows_of
from experiments.accelerator.parts import PARTS, run_part
from experiments.accelerator.rates import recommended_block
from experiments.benchmarks.measuring import dated

FLAGS = flags.FLAGS
NO_ACCELERATOR = (
    "JAX sees no accelerator here: install the extra for it (BUILD.md, set-up), or try the program with --quick"
)


def define_flags() -> None:
    flags.DEFINE_string("out", None, "folder for accelerator.json", required=True)
    flags.DEFINE_float("minutes", 8.5, "after which it ends", lower_bound=0)
    flags.DEFINE_bool("quick", False, "tiny towers and few images, to try the program on a CPU")


def measure_all(out: Path, quick: bool, minutes: float) -> dict:
    """Runs the parts one after the other and writes what is found after every row."""
    begin, path = time.time(), out / "accelerator.json"
    found = {"quick": quick, "minutes": minutes, "machine": "a machine that could not be asked", "parts": {}}
    for name in PARTS:
        started, part = time.time(), found["parts"].setdefault(name, {"rows": []})
        with contextlib.closing(run_part(name, quick, found, begin + 60 * minutes)) as rows:
            for row in rows:
                print(f"{name}: {json.dumps(row, ensure_ascii=False)}", flush=True)
                if row.get("platform") == "cpu" and not quick:
                    raise SystemExit(NO_ACCELERATOR)
                part["rows"].append(row)
                update(found, begin, path)
        part["seconds"] = round(time.time() - started, 1)
        update(found, begin, path)
    return found


def update(found: dict, begin: float, path: Path) -> None:
    """What follows from the rows, and the whole file anew."""
    device = device_of(found)
    found["machine"] = device.get("machine", found["machine"])
    found["block_size"] = recommended_block(rows_of(found, "blocks"), device.get("default_block_size"))
    found["seconds"] = round(time.time() - begin, 1)
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(dated(found), ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(path)


def main(_):
    platforms = os.environ.get("JAX_PLATFORMS")
    if platforms and "cpu" not in platforms.split(","):
        os.environ["JAX_PLATFORMS"] = f"{platforms},cpu"  # parity is with the CPU
    # A process takes no more of the device than it needs, so that one beside it, of PyTorch or another, finds room.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    out = Path(FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    measure_all(out, FLAGS.quick, FLAGS.minutes)
    print(out / "accelerator.json")


if __name__ == "__main__":
    define_flags()
    app.run(main)
