"""Addresses: what is a path of this machine, what is refused, and that nothing of them tells a secret."""

import base64
import csv
import http.server
import inspect
import json
import os
import socket
import threading
from pathlib import Path

import pytest
from PIL import Image

from multimap_jax.cli import main as cli
from multimap_jax.scenes import write_scenes
from multimap_jax.sources.remote import images_at
from multimap_jax.sources.tables import read_tables
from multimap_jax.storage.filenames import is_plain_name, name_of_path, without_secrets
from multimap_jax.storage.local import BoundedFile, LocalStorage
from multimap_jax.storage.objects import OBJECT_BYTES, ObjectStorage, missing_package
from multimap_jax.storage.paths import open_file, parse_path
from multimap_jax.storage.transfer import read_object

WITHOUT = {
    "http://bob:hunter2@host:8/x.jpg?sig=S": "http://…@host:8/x.jpg?…",
    "http://bob:pa/ss@host/x": "http://…@host/x",
    "http://bob:p@a/b@host/x#token": "http://…@host/x#…",
    "http://bob:1/2@host/x": "http://…@host/x",
    "https://token@host/x": "https://…@host/x",
    "http://host:80/a?mail=a@b": "http://host:80/a?…",
    "http://host/a b?sig=a b c": "http://host/a b?…",
    "s3://key:secret@bucket/x": "s3://…@bucket/x",
    "s3://bucket/x?versionId=3": "s3://bucket/x?…",
    "s3://bucket/shard-??.tar": "s3://bucket/shard-??.tar",
    "s3://bucket/a # b.png": "s3://bucket/a # b.png",
    "hf://datasets/user/repo@main/x.parquet": "hf://datasets/user/repo@main/x.parquet",
    "404 for 'http://u:p@host/x?k=1', again": "404 for 'http://…@host/x?… again",
    "url='http://host/x?s=a'b#c'": "url='http://host/x?…",
    "(http://it's:pa\"ss@host/x)": "(http://…@host/x)",
    "a/b@c?d#e": "a/b@c?d#e",
}


@pytest.mark.parametrize("text", WITHOUT)
def test_secrets_of_addresses_go(text):
    assert without_secrets(text) == WITHOUT[text]


def test_secrets_are_looked_for_once_along_a_text():
    assert (
        without_secrets("a" * 10**6 + " ://") == "a" * 10**6 + " ://"
    )  # with the square of its length it would not end
    assert without_secrets("9http://u:p@h") == "9http://…@h"


@pytest.mark.parametrize("password", ["it's", 'qu"ote', "<b>", "a b", "p@ss", "pa/ss"])
def test_an_address_that_was_typed_is_known_to_its_end(password, tmp_path, capsys):
    address = f"http://user:{password}@127.0.0.1:9/x.json?sig=tok3n"
    assert cli.main(["multimap", "edit", f"--run={address}", f"--edits={address}", f"--out={tmp_path}"]) == 2
    said = "".join(capsys.readouterr())
    assert password not in said.replace("multimap", "") and "tok3n" not in said


def test_hosts_by_number_are_addresses():
    pytest.importorskip("aiohttp", reason="needs an HTTP driver: pip install aiohttp")
    assert f"{parse_path('http://[::1]:80/x?y')}" == "http://[::1]:80/x?…"


def test_an_image_is_called_without_the_secrets_of_its_address():
    assert name_of_path("http://u:p@host/x.jpg?sig=1") == "http://…@host/x.jpg?…"


NAMES = {
    "red": True,
    "日本": True,
    "👩\u200d👧": True,
    "می\u200cخواهم": True,
    "(x)": True,
    "<b>": True,
    "": False,
    " ": False,
    "\u200b": False,
    "re\u200bd": False,
    "a\u202eb": False,
    "a\u2066b": False,
    "\u3164": False,
    "\u0301": False,
    "a\nb": False,
    "a\u2028b": False,
    "\x1b[2J": False,
    "\udcff": False,
    "\U000e0041a": False,
    None: False,
    3: False,
}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_that_cannot_be_read_are_no_names(name):
    assert is_plain_name(name) == NAMES[name]


def test_addresses_of_this_machine_are_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_path("file:///a/b") == parse_path("local:///a/b") == parse_path("file://localhost/a/b") == Path("/a/b")
    assert parse_path("FILE:///a/b") == Path("/a/b")
    assert parse_path("~/out") == tmp_path / "out" and parse_path("a/~/b") == Path("a/~/b")
    assert parse_path("~nobody-at-all/x") == Path("~nobody-at-all/x")


def test_an_address_that_a_browser_wrote_is_a_path_of_this_machine(tmp_path):
    for name in ("My Photos", "Fotos é", "100%25", "a%20b", "a b"):
        (tmp_path / name).mkdir()
    for written, name in {
        "My%20Photos": "My Photos",
        "Fotos%20%C3%A9": "Fotos é",
        "100%25": "100%25",
        "a%20b": "a%20b",
        "not%20there": "not%20there",
        "zero%00": "zero%00",
    }.items():
        assert parse_path(f"file://{tmp_path}/{written}") == tmp_path / name


@pytest.mark.parametrize(
    "text",
    [
        "reference://x",
        "generic://file:///dev/zero",
        "simplecache::file:///dev/zero",
        "zip://a.png::/tmp/x.zip",
        "dir://x::file:///etc",
        "filecache::http://host/x",
        "git:///repo:main@x",
    ],
)
def test_addresses_that_lead_to_others_are_refused(text):
    with pytest.raises(ValueError, match="refers to another address"):
        parse_path(text)


@pytest.mark.parametrize("text", ["nonsense://x", "s4://bucket/x", "webdav://host/x", "://x", "http://[::1/x"])
def test_addresses_that_nobody_understands_are_a_sentence(text):
    with pytest.raises(ValueError, match="cannot be read|not installed|refers to another"):
        parse_path(text)


def test_a_server_that_does_not_answer_is_a_sentence():
    with pytest.raises(OSError, match="cannot be reached"):
        parse_path("ftp://user:secret@127.0.0.1:9/x")


@pytest.mark.parametrize(
    "scheme, said, packages",
    [
        ("https", 'HTTPFileSystem requires "requests" and "aiohttp" to be installed', "requests aiohttp"),
        ("sftp", 'SFTPFileSystem requires "paramiko" to be installed', "paramiko"),
        ("s3", "Install s3fs to access S3", "s3fs"),
        ("gs", "Please install gcsfs to access Google Storage", "gcsfs"),
    ],
)
def test_the_advice_names_what_is_missing(scheme, said, packages):
    assert missing_package(ImportError(said), scheme) == packages


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket"])
def test_only_regular_files_are_opened(tmp_path, kind):
    path = tmp_path / "x.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    for address in (str(path), f"file://{path}", f"local://{path}"):
        for read in (open_file, BoundedFile):
            with pytest.raises(ValueError, match="is not a regular file"):
                read(parse_path(address))


class Server(http.server.BaseHTTPRequestHandler):
    """Sends one picture; for a path with "endless" bytes without an end, whatever was asked."""

    picture, asked = b"", []

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.asked.append((self.path, self.headers.get("Authorization")))
        if "elsewhere" in self.path:
            self.send_response(302)
            self.send_header("Location", "/another.png")
            self.end_headers()
            return
        if "echo" in self.path:
            self.send_response(500, f"no {self.path.partition('?')[2]}")
            self.end_headers()
            return
        endless = "endless" in self.path
        self.send_response(206 if self.headers.get("Range") and endless else 200)
        if not endless:
            self.send_header("Content-Length", str(len(self.picture)))
        elif self.command == "HEAD":
            self.send_header("Content-Length", str(10**10))
        self.end_headers()
        try:
            while self.command == "GET":
                self.wfile.write(bytes(2**16) if endless else self.picture)
                if not endless:
                    break
        except OSError:
            pass

    do_HEAD = do_GET


@pytest.fixture
def server(tmp_path):
    """HOST:PORT of a web server on this machine."""
    pytest.importorskip("aiohttp", reason="needs an HTTP driver: pip install aiohttp")
    Image.new("RGB", (16, 16), "red").save(tmp_path / "served.png")
    Server.picture, Server.asked = (tmp_path / "served.png").read_bytes(), []
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


class TestWeb:
    def test_an_object_without_an_end_is_left(self, server):
        path = parse_path(f"http://{server}/endless.png")
        for part in ({}, {"begin": 10, "end": 1000}):
            with pytest.raises(ValueError, match="expected at most"):
                read_object(path, 2**20, **part)
        with pytest.raises(ValueError, match="bytes, expected at most 1,048,576"):
            open_file(path, 2**20)
        assert OBJECT_BYTES <= 2**30

    def test_parts_of_files_are_not_taken_for_the_whole(self, server):
        with pytest.raises(ValueError, match="cannot send parts"):
            read_object(parse_path(f"http://{server}/a.tar"), 2**20, begin=10, end=20)

    def test_the_password_of_an_image_goes_to_its_address_alone(self, server):
        (image,) = images_at([parse_path(f"http://bob:hunter2@{server}/folder/a.png?sig=S")])
        assert image.read() == Server.picture
        basic = "Basic " + base64.b64encode(b"bob:hunter2").decode()
        assert set(Server.asked) == {("/folder/a.png?sig=S", basic)}
        assert "hunter2" not in f"{image} {image!r}" and "sig=S" not in f"{image}"

    def test_parts_of_a_large_object_have_a_bound(self, server):
        with open_file(parse_path(f"http://{server}/endless.parquet")) as file:
            file.seek(-8, os.SEEK_END)
            with pytest.raises(ValueError, match="expected at most"):
                file.read(8)

    def test_a_password_is_not_taken_elsewhere(self, server):
        (image,) = images_at([parse_path(f"http://bob:hunter2@{server}/elsewhere.png")])
        with pytest.raises(ValueError, match="redirects to another address"):
            image.read()
        assert [path for path, _ in Server.asked] == ["/elsewhere.png"]
        (image,) = images_at([parse_path(f"http://{server}/elsewhere.png")])
        assert image.read() == Server.picture

    def test_a_server_that_says_a_secret_again(self, server):
        (image,) = images_at([parse_path(f"http://bob:hunter2@{server}/echo.png?token=T0KEN&s=a'QUOTED")])
        with pytest.raises(OSError) as caught:
            image.read()
        assert not [word for word in ("hunter2", "T0KEN", "QUOTED") if word in str(caught.value)]

    def test_what_a_run_writes_and_says_holds_no_secret(self, server, tmp_path, capsys):
        write_scenes(tmp_path / "fruit", "fruit", seed=0, count=8)
        secret = ["hunter2", "SECRETSIG", "TOKEN", "pa/ss"]
        rows = [[str(path)] for path in sorted((tmp_path / "fruit").glob("*.png"))]
        rows += [
            [f"http://bob:hunter2@{server}/a.png?sig=SECRETSIG"],
            [f"http://bob:hunter2@{server}/a.png?sig=SECRETSIG2"],
            [f"http://bob:pa/ss@{server}/gone.png#TOKEN"],
        ]
        with (tmp_path / "list.csv").open("w", newline="") as file:
            beside = "http://bob:hunter2@host/x?sig=SECRETSIG"
            csv.writer(file).writerows([["image", "url"], *([*row, beside] for row in rows)])
        flags = ["--subject=fruit", "--aspect=color", "--words=color=red,green", f"--out={tmp_path / 'out'}"]
        assert cli.main(["multimap", f"--images={tmp_path / 'list.csv'}", *flags]) == 0
        said = "".join(capsys.readouterr())
        for path in [path for path in (tmp_path / "out").rglob("*") if path.is_file()]:
            content = path.read_bytes()
            assert not [word for word in secret if word.encode() in content], path
        assert not [word for word in secret if word in said]
        names = [row["image"] for row in csv.DictReader((tmp_path / "out" / "labels.csv").read_text().splitlines())]
        assert len(set(names)) == len(names) == len(rows) - 1
        skipped = json.loads((tmp_path / "out" / "run.json").read_text())["skipped"]
        assert len(skipped) == 1

    def test_errors_for_a_python_user_hold_no_secret(self, server, tmp_path):
        (tmp_path / "l.csv").write_text("image\nhttp://bob:hunter2@127.0.0.1:9/a.png?sig=SECRETSIG\n")
        source = read_tables(tmp_path / "l.csv", [tmp_path / "l.csv"])
        (image,) = source.images.values()
        with pytest.raises(OSError) as caught:
            image.read()
        assert "hunter2" not in repr(caught.value) and "SECRETSIG" not in repr(caught.value)


@pytest.mark.skipif(
    not os.path.exists("/proc/self/environ"), reason="files of the system that say they are empty are Linux's"
)
def test_files_that_say_they_are_empty_are_empty():
    with open_file(Path("/proc/self/environ")) as file:
        assert file.read() == b"" == file.read(100) and not list(file)


def test_both_kinds_of_storage_offer_the_same():
    def methods(kind):
        found = {name: method for name, method in vars(kind).items() if name[0] != "_" and callable(method)}
        return {name: list(inspect.signature(method).parameters) for name, method in found.items()}

    assert methods(LocalStorage) == methods(ObjectStorage) and len(methods(LocalStorage)) > 15
