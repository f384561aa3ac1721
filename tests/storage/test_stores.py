"""A real S3-speaking server on the loopback address: the whole command reads from a bucket and writes into one."""

import contextlib
import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
import warnings
from unittest import mock

import pytest

from tests.needed import needed

needed("moto", reason="needs the extra storage: pip install '.[storage]'")
needed("s3fs", reason="needs the extra storage: pip install '.[storage]'")

from multimap_jax.cli import main as cli  # noqa: E402
from multimap_jax.scenes import write_scenes  # noqa: E402
from multimap_jax.storage.locks import SIGN_SECONDS, SILENT_SECONDS  # noqa: E402

pytestmark = pytest.mark.slow

FLAGS = ["--subject=fruit", "--aspect=color", "--aspect=species", "--words=color=red,green,yellow"]
FLAGS += ["--words=species=apple,banana,grape"]
COUNT = 40
KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}


@pytest.fixture(scope="module")
def server():
    """(environment of processes that use the server, its address)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{address}/moto-api/", timeout=5).close()
            break
        except OSError:
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.1)
    keys = {name.upper(): value for name, value in KEYS.items()} | {"AWS_DEFAULT_REGION": "us-east-1"}
    yield os.environ | keys | {"AWS_ENDPOINT_URL": address, "JAX_PLATFORMS": "cpu"}
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "fruit"
    write_scenes(folder, "fruit", seed=5, count=COUNT)
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "old.cr2").write_bytes(b"raw")
    (folder / "deep # er").mkdir()
    min(folder.glob("fruit*.png")).rename(folder / "deep # er" / "fruit é?.png")
    return folder


@pytest.fixture(scope="module")
def bucket(server, fruit, tmp_path_factory):
    """A bucket that holds the images as a folder, as tars, as a parquet file and as a list."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    base, names = tmp_path_factory.mktemp("packed"), sorted(each for each in fruit.rglob("*.png"))
    names = [each.relative_to(fruit).as_posix() for each in names]
    for part in range(2):
        with tarfile.open(base / f"{part:02}.tar", "w") as tar:
            for name in names[part::2]:
                tar.add(fruit / name, name)
    rows = [{"bytes": (fruit / name).read_bytes(), "path": name} for name in names]
    pq.write_table(pa.table({"image": rows}), base / "all.parquet", row_group_size=7)
    with (base / "list.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path"], *([f"fruit/{name}"] for name in names)])
    script = f"""
import s3fs
store = s3fs.S3FileSystem()
store.mkdir("bucket")
store.put({str(fruit)!r} + "/", "bucket/fruit/", recursive=True)
store.put({str(base)!r} + "/", "bucket/", recursive=True)
"""
    subprocess.run([sys.executable, "-c", script], env=server, check=True, timeout=120)
    return server


def run(env, *arguments, status=0):
    """What the command says, in this process."""
    said = io.StringIO()
    with mock.patch.dict(os.environ, env, clear=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            found = cli.main(["multimap", *arguments])
    assert found == status and "Traceback" not in said.getvalue(), said.getvalue()
    return said.getvalue()


def read(env, path):
    import boto3

    bucket, _, key = path.partition("/")
    client = boto3.client("s3", endpoint_url=env["AWS_ENDPOINT_URL"], **KEYS, region_name="us-east-1")
    return client.get_object(Bucket=bucket, Key=key)["Body"].read()


@pytest.fixture(scope="module")
def expected(fruit, tmp_path_factory):
    """labels.csv of the folder on this machine."""
    out = tmp_path_factory.mktemp("here") / "out"
    run(os.environ | {"JAX_PLATFORMS": "cpu"}, f"--images={fruit}", *FLAGS, f"--out={out}")
    return (out / "labels.csv").read_bytes()


def test_from_a_bucket_into_a_bucket(bucket, expected, fruit, tmp_path, monkeypatch):
    said = run(bucket, "--images=s3://bucket/fruit", *FLAGS, "--out=s3://bucket/out")
    assert "broken.png: not an image" in said and "1 .cr2 (first: old.cr2)" in said
    assert read(bucket, "bucket/out/labels.csv") == expected
    assert b'"lost":[]' in read(bucket, "bucket/out/report.html")
    # Again: no image is fetched, for what is there is all there.
    again = run(bucket, "--images=s3://bucket/fruit", *FLAGS, "--out=s3://bucket/out")
    timings = json.loads(read(bucket, "bucket/out/run.json"))["timings"]
    assert timings["embed"] < timings["total"] and "written: s3://bucket/out/labels.csv" in again
    # So are the thumbnails, also if they lie beside the page.
    with monkeypatch.context() as fewer:
        fewer.setattr("multimap_jax.report.write.INLINE", 10)
        fewer.setattr("multimap_jax.report.write.thumbnails", lambda images, *_: [] if not images else 1 / 0)
        said = run(bucket, "--images=s3://bucket/fruit", *FLAGS, "--out=s3://bucket/out")
        folder = re.search(r"thumbnails-[0-9a-f]{12}", said)[0]
        assert read(bucket, f"bucket/out/{folder}/{COUNT - 1}.jpg").startswith(b"\xff\xd8")
        assert run(bucket, "--images=s3://bucket/fruit", *FLAGS, "--out=s3://bucket/out").count(folder) == 1
    # Embeddings and a model that lie there serve as those on a disk do; so do labels and new images.
    run(bucket, "--embeddings=s3://bucket/out", *FLAGS, f"--out={tmp_path / 'ready'}")
    assert (tmp_path / "ready" / "labels.csv").read_bytes() == expected
    run(bucket, "apply", "--run=s3://bucket/out", f"--images={fruit}", "--out=s3://bucket/more")
    assert read(bucket, "bucket/more/labels.csv") == expected
    # So does a run whose groups are edited, and what is taken away of it.
    (tmp_path / "edits.json").write_text('{"edits": [{"aspect": "color", "rename": "red", "to": "rose"}]}')
    edits = [f"--edits={tmp_path / 'edits.json'}", "--out=s3://bucket/edited"]
    run(bucket, "edit", "--run=s3://bucket/out", *edits)
    assert read(bucket, "bucket/edited/labels.csv").count(b",rose") == expected.count(b",red")
    run(bucket, "apply", "--run=s3://bucket/edited", f"--images={fruit}", f"--out={tmp_path / 'applied'}")
    assert (tmp_path / "applied" / "labels.csv").read_bytes() == read(bucket, "bucket/edited/labels.csv")
    run(bucket, "export", "--run=s3://bucket/edited", "--to=s3://bucket/table.parquet")
    run(bucket, "export", "--run=s3://bucket/edited", "--aspect=color", f"--to={tmp_path / 'to'}")
    assert (tmp_path / "to" / "rose").is_dir() and read(bucket, "bucket/table.parquet").startswith(b"PAR1")


@pytest.mark.parametrize("source", ["{00..01}.tar", "*.tar", "all.parquet"])
def test_packed_images_in_a_bucket(bucket, expected, tmp_path, source):
    run(bucket, f"--images=s3://bucket/{source}", *FLAGS, f"--out={tmp_path}")
    own = [line for line in expected.decode().splitlines() if not line.startswith("broken")]
    assert sorted((tmp_path / "labels.csv").read_text().splitlines()) == sorted(own)


def test_a_list_in_a_bucket_names_what_lies_beside_it(bucket, expected, tmp_path):
    run(bucket, "--images=s3://bucket/list.csv", *FLAGS, f"--out={tmp_path}")
    assert (tmp_path / "labels.csv").read_text().replace("fruit/", "") == expected.decode()


def test_workers_share_a_bucket(bucket, expected, tmp_path):
    flags = ["embed", "--images=s3://bucket/fruit", "--out=s3://bucket/parts", "--profile=s3://bucket/traces"]
    for part in (2, 1):
        run(bucket, *flags, f"--part={part}/2")
    script = "import s3fs; print(s3fs.S3FileSystem().find('bucket/traces'))"
    assert b".xplane.pb" in subprocess.run([sys.executable, "-c", script], env=bucket, capture_output=True).stdout
    run(bucket, "--embeddings=s3://bucket/parts", *FLAGS, f"--out={tmp_path}")
    assert (tmp_path / "labels.csv").read_bytes() == expected


def test_killed_it_goes_on_in_the_bucket(bucket, expected):
    flags = ["--images=s3://bucket/fruit", *FLAGS, "--keep_proxies", "--steps=400", "--out=s3://bucket/killed"]
    process = subprocess.Popen([sys.executable, "-m", "multimap_jax", *flags], env=bucket, stdout=subprocess.DEVNULL)
    listing = "import s3fs; print(len(s3fs.S3FileSystem().glob('bucket/killed/embeddings/img_emb/*.npy')))"
    end = time.monotonic() + 120
    while not int(subprocess.run([sys.executable, "-c", listing], env=bucket, capture_output=True).stdout):
        assert time.monotonic() < end and process.poll() is None
    process.kill()
    process.wait()
    run(bucket, *flags)
    assert read(bucket, "bucket/killed/labels.csv") == expected


def test_two_runs_in_one_bucket(bucket, tmp_path):
    """The lock of a live process of this host is held; that of another host as long as it gives signs of life."""
    script = """
import sys, time
from pathlib import Path
from multimap_jax.storage.paths import parse_path
from multimap_jax.storage import locks as lock
from multimap_jax.runs.distributed.process_group import ALONE
out = parse_path("s3://bucket/locked")
lock.SIGN_SECONDS, lock.SILENT_SECONDS = 0.2, 3
with lock.locked(out):
    for host in (lock.host(), "another"):
        lock.host = lambda host=host: host
        try:
            with lock.locked(out):
                print("not refused")
        except ValueError as error:
            print(error)
(out / ".multimap" / "lock-0-of-1").write_text('{"host": "elsewhere", "process": 1, "began": "0"}')
try:
    with lock.locked(out):
        print("not refused")
except ValueError as error:
    print(error)
time.sleep(4.5)
with lock.locked(out):
    print("taken")
print(list(out.iterdir()) if out.exists() else [])
"""
    found = subprocess.run([sys.executable, "-c", script], env=bucket, capture_output=True, text=True, timeout=60)
    lines = found.stdout.splitlines()
    assert len(lines) == 5, found.stderr
    assert all("another run is using s3://bucket/locked (process" in line for line in lines[:3])
    assert lines[3:] == ["taken", "[]"]
    assert SIGN_SECONDS < SILENT_SECONDS / 2


BAD = {
    "no bucket": (["--images=s3://nobucket/a"], "nobucket"),
    "nothing there": (["--images=s3://bucket/nothing"], "there is no folder s3://bucket/nothing"),
    "no such tar": (["--images=s3://bucket/{07..08}.tar"], "and no file matches it"),
    "no embeddings": (["--embeddings=s3://bucket/fruit"], "there are no embeddings in s3://bucket/fruit"),
    "no labels": (["--images=s3://bucket/fruit", "--labels=s3://bucket/no.csv"], "no labels file s3://bucket/no.csv"),
    "no checkpoint": (["--images=s3://bucket/fruit", "--clip=s3://bucket/none"], "s3://bucket/none"),
    "no bucket to write": (
        ["--images=s3://bucket/fruit", "--out=s3://nobucket/out"],
        "cannot write into s3://nobucket",
    ),
    "no driver": (["--images=gs://bucket/a"], "pip install gcsfs"),
    "no such kind": (["--images=zs://bucket/a"], "zs://bucket/a"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_there_is_a_sentence(bucket, tmp_path, case):
    flags, message = BAD[case]
    out = [] if any("--out" in flag for flag in flags) else [f"--out={tmp_path}"]
    said = run(bucket, *flags, *FLAGS, *out, status=2)
    assert message in said and len(said.strip().splitlines()) == 1


def test_no_credentials_is_a_sentence(bucket, tmp_path):
    env = {key: value for key, value in bucket.items() if not key.startswith(("AWS_ACCESS", "AWS_SECRET"))}
    env |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    # In a process of its own, which has not reached the bucket before.
    command = [sys.executable, "-m", "multimap_jax", "--images=s3://bucket/fruit", *FLAGS, f"--out={tmp_path}"]
    found = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert found.returncode == 2 and "Traceback" not in found.stderr
    assert "s3://bucket/fruit cannot be reached" in found.stderr and "credentials" in found.stderr


def test_a_checkpoint_in_a_bucket(bucket, expected, fruit, tmp_path):
    from multimap_jax.encoders.clip.model import EMBEDDED

    script = f"import s3fs; s3fs.S3FileSystem().put({str(EMBEDDED)!r} + '/', 'bucket/clip/', recursive=True)"
    subprocess.run([sys.executable, "-c", script], env=bucket, check=True, timeout=60)
    run(bucket, f"--images={fruit}", *FLAGS, "--clip=s3://bucket/clip", f"--out={tmp_path}")
    assert (tmp_path / "labels.csv").read_bytes() == expected
