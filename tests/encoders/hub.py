"""A server on this machine that answers as the hub does."""

import contextlib
import hashlib
import http.server
import json
import threading
from pathlib import Path

COMMITS = {"main": "a" * 40, "older": "b" * 40}
# Of repositories that are not there: status, and the code that the hub sends with it.
REFUSALS = {
    "gone/model": (404, "RepoNotFound"),
    "closed/model": (403, "GatedRepo"),
    "broken/model": (500, ""),
}


def answers(folders: dict[str, Path], asked: list[str]):
    """A handler for repositories {"ID@commit": folder} that notes the files that it was asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def send(self, content: bytes, status=200, **headers):
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def refuse(self, status: int, code: str):
            self.send(b"{}", status, **({"X_Error_Code": code} if code else {}))

        def do_GET(self):
            path = self.path.partition("?")[0].removeprefix("/api/models").strip("/").split("/")
            name, kind, revision, rest = "/".join(path[:2]), path[2], path[3], "/".join(path[4:])
            if name in REFUSALS:
                return self.refuse(*REFUSALS[name])
            commit = COMMITS.get(revision, revision)
            folder = folders.get(f"{name}@{commit}")
            if folder is None:
                return self.refuse(404, "RevisionNotFound")
            files = sorted(file for file in folder.iterdir() if file.is_file())
            if kind == "revision":
                content = {"id": name, "sha": commit, "siblings": [{"rfilename": file.name} for file in files]}
                return self.send(json.dumps(content).encode(), Content_Type="application/json")
            if kind == "tree":
                tree = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": f.name} for f in files]
                return self.send(json.dumps(tree).encode(), Content_Type="application/json")
            if self.command == "GET":
                asked.append(rest)
            content = (folder / rest).read_bytes()
            etag = hashlib.sha256(content).hexdigest()
            if rest == "cut.safetensors":
                content = content[:10]
            return self.send(content, ETag=f'"{etag}"', X_Repo_Commit=commit)

        do_HEAD = do_GET

    return Handler


@contextlib.contextmanager
def hub(folders: dict[str, Path]):
    """(address, names of the files that were fetched) while the server runs."""
    asked: list[str] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answers(folders, asked))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
