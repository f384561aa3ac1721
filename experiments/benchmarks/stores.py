"""Seconds of `multimap embed` on images in a bucket, as the server's answers to GET come at once and later.

    python -m experiments.benchmarks.stores --out=experiments/results/benchmark_storage_cpu.json

Prints one JSON line. An S3-speaking server (moto, of the extra `storage`) on the loopback address holds drawn JPEG
files of 640 × 480; the whole command embeds them into a local folder, a fresh one each time, with each of the delays in
turn, --repeats times; `seconds` are medians, with the lowest and highest. About 2 minutes on two CPU cores.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from absl import app, flags

from experiments.benchmarks.images import write_photos
from experiments.benchmarks.measuring import measure, print_result
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def define_flags() -> None:
    flags.DEFINE_integer("images", 1000, "files to embed", lower_bound=1)
    flags.DEFINE_list("delays", ["0", "0.05"], "seconds before the answer to each GET; the first is compared with")
    flags.DEFINE_integer("repeats", 3, "runs with each delay", lower_bound=1)
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


class Late:
    """A WSGI application whose answers to GET come `seconds` later; counts them."""

    def __init__(self, application):
        self.application, self.seconds, self.asked = application, 0.0, 0

    def __call__(self, environ, start):
        if environ["REQUEST_METHOD"] == "GET":
            self.asked += 1
            time.sleep(self.seconds)
        return self.application(environ, start)


@contextlib.contextmanager
def serving():
    """(the server's application, environment of processes that use it)."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log_request(self, *_):
            pass

    late = Late(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, late, threaded=True, request_handler=Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield late, os.environ | KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()


def embed(env: dict, base: Path) -> None:
    with tempfile.TemporaryDirectory(dir=base) as out:
        flags = ["--images=s3://bucket/photos", f"--out={out}/out", f"--clip={FLAGS.clip}", "--noprogress"]
        command = [sys.executable, "-m", "multimap_jax", "embed", *flags]
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)


def main(_):
    delays = [float(each) for each in FLAGS.delays]
    seconds, asked = {each: [] for each in delays}, {}
    with tempfile.TemporaryDirectory() as base, serving() as (late, env):
        folder = Path(base) / "photos"
        folder.mkdir()
        write_photos(folder, FLAGS.images)
        store = "s3fs.S3FileSystem()"
        script = f'import s3fs; {store}.mkdir("bucket"); {store}.put("{folder}", "bucket/", recursive=True)'
        subprocess.run([sys.executable, "-c", script], env=env, check=True)
        for _ in range(FLAGS.repeats):
            for late.seconds in delays:
                late.asked = 0
                seconds[late.seconds] += measure(lambda: embed(env, Path(base)), 1)
                asked[late.seconds] = late.asked
    first = statistics.median(seconds[delays[0]])
    rows = [
        {
            "delay": delay,
            "seconds": round(statistics.median(each), 2),
            "spread": [round(min(each), 2), round(max(each), 2)],
            "times": round(statistics.median(each) / first, 3),
            "gets": asked[delay],
        }
        for delay, each in seconds.items()
    ]
    found = {"machine": machine(), "clip": FLAGS.clip, "images": FLAGS.images, "repeats": FLAGS.repeats}
    print_result(found | {"rows": rows}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
