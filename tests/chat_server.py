"""A server of chat completions on the loopback address that answers as a test says, also wrongly."""

import contextlib
import http.server
import json
import threading

from multimap_jax.words import chat


class Server(http.server.ThreadingHTTPServer):
    """Answers one request after the other as `plan` says, the last answer again and again; keeps what it got."""

    daemon_threads, block_on_close = True, False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan, self.requests, self.closing = [], [], threading.Event()
        self.address = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address):
        """Says nothing: clients go away on purpose here."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers.items(), body))
        answer = self.server.plan.pop(0) if len(self.server.plan) > 1 else self.server.plan[0]
        if callable(answer):
            return answer(self)
        status, body, headers = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving():
    """A running `Server`."""
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def serving_at_once(monkeypatch):
    """A running `Server`; the seconds that a client would wait before another try are in `waited`."""
    with serving() as server:
        server.waited = []

        async def wait(seconds):
            server.waited.append(seconds)

        monkeypatch.setattr(chat, "SLEEP", wait)
        yield server


def reply(content, status=200, **headers):
    message = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return status, json.dumps(message).encode(), {name.replace("_", "-"): value for name, value in headers.items()}


def silent(handler):
    handler.server.closing.wait(5)


def drip(begin):
    def answer(handler):
        handler.wfile.write(begin)
        while not handler.server.closing.wait(0.02):
            handler.wfile.write(b"a")

    return answer
