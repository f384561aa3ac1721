"""Asking a model about images over HTTP: a real server on the loopback address that also answers wrongly."""

import base64
import io
import json
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.needed import needed

needed("httpx", reason="needs the extra llm: pip install '.[llm]'")

import multimap_jax as mm  # noqa: E402
from multimap_jax.words import look  # noqa: E402
from multimap_jax.words.look import Look  # noqa: E402
from tests.chat_server import drip, reply, serving_at_once, silent  # noqa: E402

KEY = "sk-Very-Secret-0123456789"
SUIT = mm.Aspect("suit", "card")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("MULTIMAP_LOOK_KEY", raising=False)
    with serving_at_once(monkeypatch) as server:
        yield server


def pictures(count=3, side=32):
    return [np.full((side, side, 3), 5 * i, np.uint8) for i in range(count)]


def ask(server, *plan, images=None, aspect=SUIT, **more):
    server.plan[:] = plan
    more = {"say": lambda _: None} | more
    return mm.look(pictures() if images is None else images, aspect, server.address, "small", **more)


def fails(server, *plan, kind=ValueError, **more):
    """The sentence with which it fails; it is short and harmless."""
    with pytest.raises(kind) as caught:
        ask(server, *plan, **more)
    sentence = str(caught.value)
    assert sentence.isprintable() and len(sentence) < 900
    return sentence


def sent(server, index=0):
    """(the question, the bytes of the image) of a request."""
    text, image = json.loads(server.requests[index][2])["messages"][0]["content"]
    kind, _, data = image["image_url"]["url"].partition(";base64,")
    assert kind == "data:image/jpeg" and (text["type"], image["type"]) == ("text", "image_url")
    return text["text"], base64.b64decode(data)


def test_one_request_for_each_image_and_an_answer_for_each(server):
    said, seen = [], []

    def say(text):
        said.append(text)
        seen.append(len(server.requests))

    answers = ask(server, reply("Hearts."), say=say)
    assert answers.texts == ("Hearts.",) * 3 and not len(answers.missing)
    assert len(server.requests) == 3 and {path for path, *_ in server.requests} == {"/v1/chat/completions"}
    body = json.loads(server.requests[0][2])
    assert set(body) == {"model", "temperature", "messages"} and body["temperature"] == 0
    assert sent(server)[0] == "What is the suit of this card? Answer in at most three words."
    assert answers.origin["question"] == sent(server)[0] and answers.origin["host"] == server.address
    # Where images go, and how many, is said before the first one is sent.
    assert seen[0] == 0 and f"{server.address}/chat/completions" in said[0] and "3 images" in said[0]
    assert not [name for name, _ in server.requests[0][1] if name.lower() == "authorization"]


def test_the_request_is_that_of_openais_own_client(server):
    recorded = json.loads((Path(__file__).parent / "openai_exchange.json").read_text())
    answers = ask(server, reply(recorded["answer"]), images=pictures(1), aspect=mm.Aspect("color", "fruit"))
    body = json.loads(server.requests[0][2]) | {"model": recorded["body"]["model"]}
    image = body["messages"][0]["content"][1]["image_url"]
    image["url"] = image["url"].partition("base64,")[0] + "base64,…"
    assert body == recorded["body"] and answers.texts == (recorded["answer"],)


def test_words_are_choices(server):
    ask(server, reply("clubs"), aspect=mm.Aspect("suit", "card", ("clubs", "hearts")))
    assert sent(server)[0] == "What is the suit of this card? Answer with one of these only: clubs, hearts."


def test_nothing_but_pixels_leaves(server, tmp_path):
    place, words = "51.4778", "a private comment"
    picture = Image.effect_noise((900, 600), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x010F], exif[0x9286] = "Camera of mine", place
    exif.get_ifd(0x8825)[1] = place
    path = tmp_path / "Alice in hospital.jpg"
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{place}</x:xmpmeta>".encode()
    picture.save(path, exif=exif, comment=words.encode(), xmp=xmp, icc_profile=b"icc " + words.encode())
    content = path.read_bytes()
    assert b"Exif" in content and words.encode() in content and place.encode() in content
    ask(server, reply("hearts"), images=[path], size=512)
    sent_image = sent(server)[1]
    assert Image.open(io.BytesIO(sent_image)).size == (512, 341)
    for secret in (b"Exif", b"Camera", place.encode(), words.encode(), b"xmpmeta", b"ICC_PROFILE"):
        assert secret not in sent_image
    assert b"Alice" not in server.requests[0][2] and str(tmp_path).encode() not in server.requests[0][2]


def test_small_images_are_not_enlarged(server):
    ask(server, reply("hearts"), images=pictures(1, 20), size=64)
    assert Image.open(io.BytesIO(sent(server)[1])).size == (20, 20)


@pytest.mark.parametrize(
    "content, text",
    [
        ("<think>Is it red? Yes.</think>\n\nhearts", "hearts"),
        ("  a\n\tb  ", "a b"),
        ("\x1b[31mred\x07\u202e\x9b2J", "[31mred2J"),
        ("<b>red</b>", "<b>red</b>"),
        ("x" * 9999, "x" * 200),
        (f"the key is {KEY}", "the key is [key]"),
    ],
)
def test_answers_are_texts(server, monkeypatch, content, text):
    monkeypatch.setenv("MULTIMAP_LOOK_KEY", KEY)
    assert ask(server, reply(content), images=pictures(1)).texts == (text,)


def test_a_refusal_of_the_interface_is_kept_as_an_answer(server):
    message = {"choices": [{"message": {"content": None, "refusal": "I can't help with that."}}]}
    answers = ask(server, (200, json.dumps(message).encode(), {}), images=pictures(1))
    assert answers.texts == ("I can't help with that.",)


@pytest.mark.parametrize("content", ["", " \n", "<think>endless", "\u200b"])
def test_an_empty_answer_is_none(server, content):
    answers = ask(server, reply(content), reply("hearts"), images=pictures(2), requests=1)
    assert answers.texts == ("", "hearts") and answers.reasons == {0: "the answer is empty"}


def test_an_unreadable_image_is_left_out(server, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    Image.new("RGB", (9, 9)).save(tmp_path / "good.png")
    images = [tmp_path / "broken.png", tmp_path / "good.png"]
    answers = ask(server, reply("hearts"), images=images)
    assert answers.texts == ("", "hearts") and "cannot be read" in answers.reasons[0] and len(server.requests) == 1


def test_most_bounds_the_images(server):
    few = ask(server, reply("hearts"), images=pictures(20), most=5)
    assert len(server.requests) == 5 and len(few.missing) == 15 and "only 5 images" in few.reasons[int(few.missing[0])]
    more = ask(server, reply("hearts"), images=pictures(20), most=8)
    assert set(more.missing) < set(few.missing)


def test_requests_at_once_are_bounded(server):
    lock, now, most = threading.Lock(), [0], [0]

    def slowly(handler):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        status, body, _ = reply("hearts")
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(body)

    ask(server, slowly, images=pictures(24), requests=4)
    assert most[0] == 4


def test_the_time_is_estimated_after_twenty_images(server):
    said = []
    ask(server, reply("hearts"), images=pictures(25), say=said.append)
    assert len(said) == 2 and said[1].startswith("20 images took") and said[1].endswith("for the other 5")


def test_a_server_that_is_busy_for_a_while(server):
    said = []
    busy = (429, b"busy", {"Retry-After": "7"})
    answers = ask(server, busy, busy, (503, b"", {}), reply("hearts"), images=pictures(1), say=said.append)
    assert answers.texts == ("hearts",) and server.waited == [7, 7, 4]
    assert len(said) == 3  # the same line once


def test_retry_after_may_be_a_date(server):
    from email.utils import formatdate

    date = formatdate(time.time() + 60, usegmt=True)
    ask(server, (429, b"", {"Retry-After": date}), reply("hearts"), images=pictures(1))
    assert 50 < server.waited[0] <= 61


GARBAGE = {
    "refused": ((400, b"no such model sees images", {}), ValueError, "no such model sees images"),
    "garbage": ((200, b"\x00\xff", {}), ValueError, "no chat completion"),
    "half": ((200, b'{"choices": [{"mess', {}), ValueError, "no chat completion"),
    "cut off": (
        lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
        OSError,
        "reach",
    ),
    "nothing": (lambda handler: None, OSError, "cannot reach"),
    "endless": ((200, b"x" * 1_100_000, {}), ValueError, "more than 1,000,000 bytes"),
    "busy": ((503, b"loading", {}), OSError, "answered 503"),
    "wrong key": ((401, b"", {}), ValueError, "MULTIMAP_LOOK_KEY, which is not set"),
    "no such path": ((404, b"", {}), ValueError, "answered 404"),
    "redirect": ((302, b"", {"Location": "http://192.0.2.1/"}), ValueError, "does not follow"),
    "long wait": ((429, b"", {"Retry-After": "86400"}), OSError, "asks to wait 86,400 s"),
}


@pytest.mark.parametrize("plan, kind, part", GARBAGE.values(), ids=GARBAGE)
def test_a_server_that_never_answers_is_a_sentence(server, plan, kind, part):
    assert part in fails(server, plan, kind=kind)


@pytest.mark.parametrize("plan, kind, part", GARBAGE.values(), ids=GARBAGE)
def test_what_was_answered_before_is_given_on(server, plan, kind, part):
    server.plan[:] = [reply("hearts")] * 12 + [plan]
    kept = {}
    with pytest.raises(kind, match=part.replace("(", r"\(")):
        look.ask_images(pictures(40), SUIT, Look.at(server.address, "small"), kept.__setitem__, lambda _: None)
    assert sum(answer.text == "hearts" for answer in kept.values()) == 12


def test_single_failures_leave_single_images_out(server):
    plan = [reply("hearts"), (400, b"this one not", {}), reply("clubs")]
    answers = ask(server, *plan, images=pictures(3), requests=1)
    assert answers.texts == ("hearts", "", "clubs") and "this one not" in answers.reasons[1]


@pytest.mark.parametrize("answer", [silent, drip(b"HTTP/1.1 200 OK\r\n\r\n")], ids=["silent", "slow"])
def test_a_slow_server_is_left_in_time(server, answer, monkeypatch):
    monkeypatch.setattr(look, "SECONDS", 0.2)
    begin = time.monotonic()
    assert "0.2 s" in fails(server, answer, kind=TimeoutError)
    assert time.monotonic() - begin < 3


def test_nobody_listens(server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server.address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    assert "cannot reach" in fails(server, reply("hearts"), kind=ConnectionError)


def test_a_certificate_that_nobody_signed(server, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    try:
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("openssl could not make a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.address = server.address.replace("http:", "https:")
    assert "no certificate that this machine trusts" in fails(server, reply("hearts"))
    assert not server.requests and not server.waited


@pytest.mark.parametrize(
    "settings, argument",
    [
        ({"size": 0}, "size"),
        ({"size": 10**6}, "size"),
        ({"requests": 0}, "requests"),
        ({"requests": 10**4}, "requests"),
        ({"most": 0}, "most"),
    ],
)
def test_numbers_that_will_not_do(server, settings, argument):
    assert f"(see {argument}=)" in fails(server, reply("hearts"), **settings)
    assert not server.requests


def test_the_key_goes_to_the_host_alone_and_is_shown_nowhere(server, monkeypatch, capfd):
    monkeypatch.setenv("MULTIMAP_LOOK_KEY", KEY)
    monkeypatch.setenv("MULTIMAP_LLM_KEY", "of-another-host")
    said = []
    answers = ask(server, (429, KEY.encode(), {}), reply(f"hearts {KEY}"), say=said.append)
    for _, headers, body in server.requests:
        assert [value for name, value in headers if name.lower() == "authorization"] == [f"Bearer {KEY}"]
        assert KEY.encode() not in body
    sentence = fails(server, (401, KEY.encode(), {}))
    asked = Look.at(server.address, "small")
    shown = [*said, sentence, repr(asked), str(asked.origin(SUIT)), str(answers), *capfd.readouterr()]
    assert not [text for text in shown if KEY in text]
    with pytest.raises(ValueError, match="only sent to https or to this machine"):
        mm.look(pictures(), SUIT, "http://192.0.2.1/v1", "small")
