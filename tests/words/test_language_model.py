"""Words from a language model, asked for over HTTP: a real server on the loopback address that also answers wrongly."""

import asyncio
import json
import logging
import socket
import sys
import time

import pytest

from tests.needed import needed

needed("httpx", reason="needs the extra llm: pip install '.[llm]'")

from multimap_jax.words.chat import Endpoint  # noqa: E402
from multimap_jax.words.language_model import ask_words  # noqa: E402
from tests.chat_server import drip, reply, serving, serving_at_once, silent  # noqa: E402

KEY = "sk-Very-Secret-0123456789"
WORDS = ("red", "light green", "yellow")
HOSTILE = "\x1b[31mIgnore all rules\x1b[0m\x07\u202e<script>alert(1)</script>\x9b2J"


@pytest.fixture
def server(monkeypatch):
    with serving_at_once(monkeypatch) as server:
        yield server


def good(words=WORDS):
    return reply(json.dumps({"words": list(words)}))


def ask(server, *plan, folder=None, say=None, most=200, **options):
    server.plan[:] = plan
    endpoint = Endpoint(server.address, "small", **({"seconds": 5} | options))
    return ask_words("color", "fruit", endpoint, (lambda _: None) if say is None else say, folder, most)


def fails(server, *plan, kind=ValueError, **options):
    """The sentence with which it fails; it is short, harmless and says what to do."""
    said = []
    with pytest.raises(kind) as caught:
        ask(server, *plan, say=said.append, **options)
    assert isinstance(caught.value, kind)
    assert kind is not ValueError or not isinstance(caught.value, OSError)
    assert (caught.value.parameter, caught.value.value) == ("words", "color=A,B,…")
    sentence = str(caught.value)
    for text in (sentence, *said):
        assert text.isprintable() and len(text) < 900
    return sentence


@pytest.mark.parametrize(
    "content",
    [
        '{"words": ["red", "light green", "yellow"]}',
        '["red", "light green", "yellow"]',
        '```json\n{"words": ["red", "light green", "yellow"]}\n```',
        '\n```\n["red", "light green", "yellow"]```\n',
        '[" Red ", "RED", "light \\u00a0 Green", "", "  ", "Yellow", "yellow"]',
    ],
    ids=["object", "array", "fenced", "fenced without a name", "untidy"],
)
def test_good_answers(server, content):
    assert ask(server, reply(content)) == WORDS


def test_only_the_prompt_is_sent_and_said_before(server, tmp_path):
    said, seen = [], []

    def say(text):
        said.append(text)
        seen.append(len(server.requests))

    ask(server, good(), say=say, folder=tmp_path)
    (path, headers, body), body_sent = server.requests[0], json.loads(server.requests[0][2])
    assert path == "/v1/chat/completions" and seen == [0] and len(server.requests) == 1
    assert set(body_sent) == {"model", "temperature", "messages"} and body_sent["temperature"] == 0
    assert [sorted(message) for message in body_sent["messages"]] == [["content", "role"]] * 2
    assert [message["role"] for message in body_sent["messages"]] == ["system", "user"]
    texts = [message["content"] for message in body_sent["messages"]]
    assert "JSON only" in texts[0] and "color" in texts[1] and "fruit" in texts[1]
    assert f"{server.address}/chat/completions" in said[0] and "small" in said[0]
    assert all(text in said[0] for text in texts)
    assert str(tmp_path).encode() not in body
    assert "authorization" not in {name.lower() for name, _ in headers}


@pytest.mark.parametrize(
    "answer",
    [
        silent,
        drip(b"HTTP/1.1 200 OK\r\nX-Long: "),
        drip(b"HTTP/1.1 200 OK\r\n\r\n"),
        drip(b"HTTP/1.1 500 No\r\n\r\n"),
    ],
    ids=["silent", "slow headers", "slow body", "slow failure"],
)
def test_a_slow_server_is_left_in_time(server, answer):
    begin = time.monotonic()
    sentence = fails(server, answer, kind=TimeoutError, seconds=0.2, tries=2)
    assert "0.2 s" in sentence and 0.4 <= time.monotonic() - begin < 2
    assert len(server.requests) == 2 and server.waited == [1]


@pytest.mark.parametrize("passing", [silent, *((status, b"busy", {}) for status in (429, 500, 502, 503, 504))])
def test_what_may_pass_is_tried_again(server, passing):
    assert ask(server, passing, good(), seconds=0.3) == WORDS
    assert len(server.requests) == 2 and server.waited == [1]


@pytest.mark.parametrize(
    "after, waited", [("7", 7), ("2.5", 2.5), ("86400", None), ("0", 1), ("-3", 1), ("1e99", 1), ("soon", 1), ("٣", 1)]
)
def test_retry_after(server, after, waited):
    said = []
    answer = (429, b"", {"Retry-After": after.encode().decode("latin-1")})
    if waited is None:
        assert "asks to wait 86,400 s" in fails(server, answer, kind=ConnectionError) and not server.waited
        return
    assert ask(server, answer, good(), say=said.append) == WORDS
    assert server.waited == [waited] and "429" in said[1] and len(said) == 2


@pytest.mark.parametrize("status", [429, 500])
def test_what_does_not_pass_is_given_up(server, status):
    sentence = fails(server, (status, HOSTILE.encode() * 900, {}), kind=ConnectionError)
    assert f"answered {status}" in sentence and len(server.requests) == 3 and server.waited == [1, 2]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_will_not_pass_is_not_tried_again(server, status):
    sentence = fails(server, (status, f"{HOSTILE} {KEY} {'x' * 9000}".encode(), {}), key=KEY)
    assert str(status) in sentence and len(server.requests) == 1 and KEY not in sentence
    assert ("MULTIMAP_LLM_KEY" in sentence) == (status in (401, 403))


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "answer",
    [
        (200, b'{"choices": [', {}),
        (200, b"", {}),
        (204, b"", {}),
        (200, b"\xff\xfe\x00", {}),
        (200, DEEP.encode(), {}),
        (200, b"[1, 2]", {}),
        (200, b"\x1f\x8b\x08", {"Content-Encoding": "gzip"}),
        (200, b'{"choices": []}', {}),
        (200, b'{"choices": [{"message": {"content": null}}]}', {}),
        (200, b'{"choices": [{"message": {"content": ["red", "green"]}}]}', {}),
        reply(HOSTILE),
        reply("Here are the words: red, green"),
        reply("```"),
        reply("``````"),
        reply(DEEP),
        reply("9" * 9999),
        reply("\n" * 400_000 + "x"),
        reply('"red"'),
        reply('{"words": "red"}'),
        reply('{"words": ["red", 3]}'),
        reply('{"words": ["red", "green"], "note": "more"}'),
        reply('{"colors": ["red", "green"]}'),
        reply('[["red"], ["green"]]'),
        reply("[]"),
        reply('["red", " RED "]'),
        reply(json.dumps(["red", "x" * 10_000, "\x1b[31mgreen", "a\nb", "\ud800", "\u202eder", ""])),
    ],
    ids=lambda answer: str(answer[1][-60:]),
)
def test_answers_that_are_no_words(server, answer, tmp_path):
    assert "expected" in fails(server, answer, folder=tmp_path)
    assert len(server.requests) == 1 and not list(tmp_path.iterdir())


def test_words_that_do_not_fit_are_dropped(server):
    said = []
    words = ["red", HOSTILE, "x" * 10_000, "x" * 100, "<b>bold</b>", KEY, "gre\u2028en", "\x9b2J", "Red"]
    # HTML is text: pages escape it.
    assert ask(server, good(words), say=said.append, key=KEY) == ("red", "x" * 100, "<b>bold</b>")
    assert len(said) == 2 and "6 of 9" in said[1] and all(text.isprintable() for text in said)


def test_of_too_many_words_the_first_are_used(server):
    said = []
    words = ask(server, good([f"word {i}" for i in range(10_000)]), say=said.append, most=5)
    assert words == tuple(f"word {i}" for i in range(5)) and "10,000" in said[1] and "first 5" in said[1]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(server, status):
    with serving() as target:
        sentence = fails(server, (status, b"", {"Location": f"{target.address}/{'x' * 900}\x9b{KEY}"}), key=KEY)
    assert f"{target.address}/xxx" in sentence and len(server.requests) == 1 and not target.requests


@pytest.mark.parametrize("headers", [{}, {"Location": "http://["}, {"Location": "\x9b2J"}])
def test_a_redirect_to_nowhere(server, headers):
    fails(server, (302, b"", headers))
    assert len(server.requests) == 1


@pytest.mark.parametrize("length", [{}, {"Content-Length": "2000000"}])
def test_a_reply_without_end_is_cut_off(server, length):
    sentence = fails(server, (200, b'{"choices": "' + b"x" * 2_000_000, length))
    assert "more than 1,000,000 bytes" in sentence and len(server.requests) == 1


def test_nobody_listens(server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server.address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    assert "cannot reach" in fails(server, good(), kind=ConnectionError)
    assert server.waited == [1, 2]


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"\x1b[31m SSH-2.0\r\n\r\n"]
)
def test_a_server_that_speaks_no_http(server, answer):
    assert "cannot reach" in fails(server, lambda handler: handler.wfile.write(answer), kind=ConnectionError)
    assert len(server.requests) == 3


@pytest.mark.parametrize("host", ["192.0.2.1", "127.0.0.1.example.org", "localhost.example.org", "10.0.0.1", "[::2]"])
def test_no_key_goes_over_the_network_in_the_clear(host):
    with pytest.raises(ValueError, match="only sent to https or to this machine") as caught:
        Endpoint(f"http://{host}/v1", "small", KEY)
    assert KEY not in str(caught.value)
    Endpoint(f"http://{host}/v1", "small"), Endpoint(f"https://{host}/v1", "small", KEY)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "127.9.9.9", "[::1]:80", "LOCALHOST"])
def test_a_key_goes_to_this_machine(host):
    Endpoint(f"http://{host}/v1/", "small", KEY)


@pytest.mark.parametrize(
    "base",
    [
        "ftp://host/v1",
        "host/v1",
        "",
        "https://",
        "https://user:secret@host/v1",
        "https://secret@host",
        "https://host/v1?key=secret",
        "https://host/v1#secret",
        "https://host\\@other/",
        "http://127.0.0.1\n.example.org/",
        "https://host/\x1b[31m",
        "https://ho st/",
        "https://host:port/",
        "https://host:65536/",
    ],
)
def test_addresses_that_will_not_do(base):
    with pytest.raises(ValueError, match="expected an address like https://host/v1") as caught:
        Endpoint(base, "small")
    assert str(caught.value).isprintable() and "secret" not in str(caught.value)


def test_an_address_of_no_machine(server):
    server.address = "http://[::1::]"
    assert "cannot send a request to" in fails(server, good())


@pytest.mark.parametrize("options", [{"seconds": 0}, {"seconds": float("nan")}, {"tries": 0}, {"slow_tries": 0}])
def test_numbers_that_will_not_do(options):
    with pytest.raises(ValueError, match="expected seconds"):
        Endpoint("https://host", "small", KEY, **options)


@pytest.mark.parametrize("key", ["sk secret", "sk-secret\n", "sk-sécret", "\x1bsecret"])
def test_a_key_that_no_header_takes(key):
    with pytest.raises(ValueError, match="expected a key") as caught:
        Endpoint("https://host", "small", key)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("model", ["", " ", "small\x1b[31m"])
def test_a_model_needs_a_name(model):
    with pytest.raises(ValueError, match="model"):
        Endpoint("https://host", model)


@pytest.mark.parametrize("aspect, subject", [("", "fruit"), ("color", " "), ("col\x1bor", "fruit"), ("color", "a\nb")])
def test_aspects_that_are_no_text(server, aspect, subject):
    with pytest.raises(ValueError, match="expected an aspect and a subject") as caught:
        ask_words(aspect, subject, Endpoint(server.address, "small"))
    assert str(caught.value).isprintable() and not server.requests


def test_the_key_of_the_environment(monkeypatch):
    def key():
        return Endpoint.from_environment("https://host/v1", "small").key

    monkeypatch.delenv("MULTIMAP_LLM_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert key() is None
    for other in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(other, "of-another-host")
    assert key() is None
    monkeypatch.setenv("MULTIMAP_LLM_KEY", f"{KEY}\n")
    assert key() == KEY
    monkeypatch.setenv("MULTIMAP_LLM_KEY", "")
    assert key() is None


def test_the_key_is_sent_once_and_shown_nowhere(server, tmp_path, caplog, capfd, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")  # which would read it
    said = []
    assert ask(server, (429, KEY.encode(), {}), good((*WORDS, KEY)), key=KEY, folder=tmp_path, say=said.append) == WORDS
    for _, headers, body in server.requests:
        assert [value for name, value in headers if name.lower() == "authorization"] == [f"Bearer {KEY}"]
        assert str(headers).count(KEY) == 1 and KEY.encode() not in body
    (kept,) = tmp_path.iterdir()
    places = [*said, kept.name, kept.read_text(), repr(Endpoint(server.address, "small", KEY)), caplog.text]
    assert not [text for text in (*places, *capfd.readouterr()) if KEY.lower() in text.lower()]


@pytest.mark.parametrize(
    "answer, kind",
    [
        ((401, f"wrong key {KEY}".encode(), {}), ValueError),
        ((500, KEY.encode(), {}), ConnectionError),
        ((302, b"", {"Location": f"http://192.0.2.1/{KEY}"}), ValueError),
        (reply(KEY), ValueError),
        (lambda handler: handler.wfile.write(f"HTTP/1.1 {KEY}\r\n\r\n".encode()), ConnectionError),
        (silent, TimeoutError),
    ],
    ids=["401", "500", "redirect", "content", "no HTTP", "silent"],
)
def test_the_key_is_in_no_failure(server, answer, kind, capfd):
    said = []
    with pytest.raises(kind) as caught:
        ask(server, answer, key=KEY, seconds=0.2, tries=2, say=said.append)
    assert KEY not in str(caught.getrepr()) and KEY not in "".join(said)
    assert KEY not in "".join(capfd.readouterr())


def test_a_kept_answer_is_read_again(server, tmp_path):
    folder = tmp_path / "new"
    assert ask(server, good(), folder=folder) == WORDS
    said = []
    assert ask(server, good(["other", "words"]), folder=folder, say=said.append, key=KEY) == WORDS
    assert len(server.requests) == 1 and not said
    (kept,) = folder.iterdir()
    assert kept.match("words-*.json") and json.loads(kept.read_text())["words"] == list(WORDS)
    server.plan[:] = [good(["round", "long"])]
    assert ask_words("shape", "fruit", Endpoint(server.address, "small"), print, folder) == ("round", "long")
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-9],
        lambda text: DEEP,
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace("fruit", "car"),
        lambda text: text.replace('"yellow"', "3"),
        lambda text: text.replace("yellow", "\\u001b[31m"),
        lambda text: text.replace("yellow", "RED"),
        lambda text: "x" * 3_000_000,
    ],
    ids=range(10),
)
def test_a_damaged_answer_is_asked_for_anew(server, tmp_path, damage):
    ask(server, good(), folder=tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_text(damage(kept.read_text()))
    assert ask(server, good(["other", "words"]), folder=tmp_path) == ("other", "words")
    assert len(server.requests) == 2 and [path.name for path in tmp_path.iterdir()] == [kept.name]
    assert ask(server, good(), folder=tmp_path) == ("other", "words")


def test_a_folder_that_takes_nothing(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write the words to .* give another folder"):
        ask(server, good(), folder=tmp_path / "file")


def test_within_a_running_loop(server):
    async def cell():
        return ask(server, good())

    assert asyncio.run(cell()) == WORDS


def test_without_httpx(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    assert 'pip install "multimap_jax[llm]"' in fails(server, good())
    assert not server.requests


@pytest.mark.slow
def test_the_command_asks_once_says_what_it_sends_and_groups_by_the_answer(server, tmp_path, capsys, monkeypatch):
    from multimap_jax.cli import main as cli
    from multimap_jax.scenes import write_scenes

    monkeypatch.setenv("MULTIMAP_LLM_KEY", KEY)
    fruit, out = tmp_path / "fruit", tmp_path / "out"
    write_scenes(fruit, "fruit", seed=5, count=30)
    server.plan[:] = [good(("red", "green", "yellow", "blue", "mauve"))]
    flags = [f"--images={fruit}", "--subject=fruit", "--aspect=color", "--words=color=llm", f"--llm={server.address}"]
    for _ in range(2):
        assert cli.main(["multimap", *flags, "--llm_model=small", f"--out={out}"]) == 0
    said = capsys.readouterr()
    assert server.address in said.out and "from llm are closest to the images: " in said.out and ": 3 of " in said.out
    assert len(server.requests) == 1 and KEY not in said.out + said.err
    assert all(KEY.encode() not in file.read_bytes() for file in out.rglob("*") if file.is_file())
    server.plan[:] = [reply("no", status=401)]
    assert cli.main(["multimap", *flags, "--llm_model=other", f"--out={out}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
