"""Forty fuzzed cases of every reader, in a process of little memory; `python -m tests.fuzz` tries for longer."""

import subprocess
import sys

import pytest
from PIL import Image

from multimap_jax.storage import reading as files
from tests import fuzz
from tests.bombs import BOMBS
from tests.test_hostile import png

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are tested on Linux")


@pytest.mark.slow
def test_no_reader_fails_hangs_or_fills_the_memory():
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "all", "--examples=40"], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.count("nothing found") == len(fuzz.NAMES)


# What the fuzzing of an earlier version found, each once: reader and content.
FOUND = {
    "a token of id 4,294,967,295": ("vocabulary", lambda seen: seen.replace(b": 0,", b": 4294967295,", 1)),
    "a longest text that is a list": ("tokenizer", lambda seen: seen.replace(b'_length": 8', b'_length": []')),
    "an array with a header of 1.5 GB": ("rows", lambda seen: b"\x93NUMPY\x03\x00v\x00\x00]\x00{'descr': "),
    "a place in an archive beyond its end": ("proxies", lambda seen: seen[:-6] + b"\xff\xff\xff\xff" + seen[-2:]),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(name):
    files = {"vocabulary": "vocab.json", "tokenizer": "tokenizer_config.json"}
    reader, change = FOUND[name]
    made = {"proxies": fuzz.fit_of_two, "rows": fuzz.npy}
    content = made[reader]() if reader in made else fuzz.file_of(files[reader])
    assert change(content) != content
    try:
        fuzz.readers()[reader][1](change(content))
    except ValueError as error:
        assert "the tokenizer in" in str(error) or "its header is too long" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_what_is_little_and_would_become_much_makes_no_more_than_its_bound(name, monkeypatch):
    monkeypatch.setattr(files, "COLUMN_BYTES", fuzz.BOUND)
    monkeypatch.setattr(files, "JSON_VALUES", fuzz.BOUND // 64)
    reader, make = BOMBS[name]
    fuzz.case(fuzz.readers()[reader][1], make())


MANY = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from multimap_jax.images.decoding import decode
files = sys.argv[1:]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(16) as pool:
    found = list(pool.map(lambda file: decode(file, 0, lambda picture: picture.size), files))
print(sum(isinstance(each, tuple) for each in found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_sixteen_threads_hold_no_more_than_their_room(tmp_path):
    """16 images of 16 megapixels with transparency at once would be some 4 GB."""
    picture = tmp_path / "0.png"
    Image.new("RGBA", (4000, 4000), (9, 99, 9, 128)).save(picture, compress_level=1)
    files = [picture, *(tmp_path / f"{i}.png" for i in range(1, 16))]
    for file in files[1:]:
        file.symlink_to(picture)
    run = subprocess.run([sys.executable, "-c", MANY, *files], capture_output=True, text=True, timeout=300)
    read, kilobytes = map(int, run.stdout.split())
    assert read == 16 and kilobytes < 2**20, run.stdout + run.stderr


LITTLE = """
import resource, sys
from multimap_jax.images.decoding import decode
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
print(decode(sys.argv[1], 0, lambda picture: picture.size))
"""


@pytest.mark.parametrize("size", [(100_000, 1), (1, 300_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_an_image_of_any_shape_takes_little_memory(size, tmp_path):
    (tmp_path / "x.png").write_bytes(png(*size, bytes(2_000_000)))
    command = [sys.executable, "-c", LITTLE, tmp_path / "x.png"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "pixels: " in run.stdout, run.stdout + run.stderr


def test_the_command_of_long_fuzzing_knows_every_reader():
    assert list(fuzz.readers()) == fuzz.NAMES
