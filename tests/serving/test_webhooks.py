"""Web hooks: told once all is done, signed, tried again, to nobody who was not allowed."""

import asyncio
import base64

import pytest

from conftest import chirp
from media_files import write_sound
from moodreel.errors import MoodreelError
from moodreel.serving.protocol.problems import ProblemError
from moodreel.serving.server import webhooks, worker_process
from moodreel.serving.server.metrics import Metrics
from moodreel.serving.server.webhooks import Event, WebhookRules, Webhooks, read_rules, sign
from running_server import ASYNC, client_of, upload
from webhook_receiver import SECRET, read_verifier


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(webhooks, "RETRIES_S", (0.0, 0.0))


def test_a_job_is_told_and_its_signature_holds(client, receiver, sound):
    form = {"data": {"webhook": f"{receiver.url}done"}, "headers": ASYNC}
    place = client.post("/v1/predictions", files=upload(sound), **form).headers["location"]
    headers, body, told = receiver.next()
    assert told["type"] == "prediction.done" and told["data"]["clip"] == "a.wav"
    assert told["data"]["prediction"] is None, "what a clip shows is told to who asks with the token"
    assert place.endswith(told["data"]["id"]) and headers["webhook-id"] == told["data"]["id"]
    verify = read_verifier()
    assert verify(SECRET, headers, body)
    assert not verify(SECRET, headers, body + b" ")
    assert not verify(base64.b64encode(b"another secret of so many bytes").decode(), headers, body)
    headers.replace_header("webhook-timestamp", str(int(headers["webhook-timestamp"]) - 1000))
    assert not verify(SECRET, headers, body), "an old message is taken again"


def test_the_signature_is_that_of_the_standard():
    """The example of the specification of Standard Webhooks."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_batch_is_told_once_when_all_is_done(client, receiver, sound):
    clips = [("file", ("a.wav", sound.read_bytes())), ("file", ("text.mp4", b"no clip"))]
    place = client.post("/v1/batches", files=clips, data={"webhook": f"{receiver.url}done"}).headers["location"]
    _, _, told = receiver.next()
    assert told["type"] == "batch.done" and place.endswith(told["data"]["id"])
    assert [job["state"] for job in told["data"]["jobs"]] == ["done", "failed"]
    assert told["data"]["jobs"][1]["problem"]["type"].endswith("bad-media")
    client.delete(f"/v1/predictions/{told['data']['jobs'][0]['id']}")
    assert receiver.told.empty()


def test_a_receiver_that_fails_is_tried_again(client, receiver, sound):
    receiver.statuses[:] = [503, 429]
    client.post("/v1/predictions", files=upload(sound), data={"webhook": f"{receiver.url}done"})
    calls = [receiver.next() for _ in range(3)]
    assert len({headers["webhook-id"] for headers, _, _ in calls}) == 1, "it cannot tell that it is one message"


@pytest.mark.parametrize("status", [302, 404])
def test_a_receiver_that_refuses_is_not(client, receiver, sound, status, caplog):
    receiver.statuses[:] = [status]
    client.post("/v1/predictions", files=upload(sound), data={"webhook": f"{receiver.url}done"})
    receiver.next()
    client.portal.call(settle, client)
    assert receiver.told.empty(), "a redirect was followed, or a refusal not heard"
    assert f"given up: status {status}" in caplog.text and receiver.url not in caplog.text


async def settle(client):
    await asyncio.gather(*client.app.state.service.webhooks._tasks)


def test_what_was_not_told_before_a_stop_is_told_after_it(tiny_bundle, receiver, rules, tmp_path, monkeypatch):
    monkeypatch.setattr(webhooks, "RETRIES_S", (3600.0,))
    sound = write_sound(tmp_path / "a.wav", 1, sound=chirp)
    settings = {"state": tmp_path / "state", "webhooks": rules}
    receiver.statuses[:] = [500]
    with client_of(tiny_bundle, settings=settings) as client:
        client.post("/v1/predictions", files=upload(sound), data={"webhook": f"{receiver.url}done"})
        first = receiver.next()[2]
    for _ in range(2):
        with client_of(tiny_bundle, settings=settings) as client:
            client.portal.call(settle, client)
    assert receiver.next()[2]["data"] == first["data"]
    assert receiver.told.empty(), "it was told again though it had arrived"


def test_a_web_hook_that_is_not_allowed_is_refused(client, sound):
    allowed = client.app.state.service.webhooks._rules.allowed[0]
    forms = [{"data": {"webhook": one}} for one in ("https://example.org/", "x" * 3000, "", [allowed, allowed])]
    for form in [*forms, {"files": [("webhook", ("x", b"https://example.org/"))]}]:
        clips = [("file", ("a.wav", sound.read_bytes())), *form.get("files", [])]
        response = client.post("/v1/predictions", files=clips, data=form.get("data"))
        assert response.status_code == 422 and response.json()["type"].endswith("bad-webhook"), form
    assert client.get("/healthz").json()["places_taken"] == 0
    assert list(client.app.state.service.folder.iterdir()) == []


RULES = WebhookRules(("https://example.org/moods/", "https://[2001:db8::1]:8443/a", "http://127.0.0.1:9000/"), b"x")
ALLOWED = [
    "https://example.org/moods/", "https://example.org/moods", "https://EXAMPLE.org:443/moods/a/b?c=d",
    "https://[2001:db8::1]:8443/a/b", "http://127.0.0.1:9000/x",
]  # fmt: skip
REFUSED = [
    "", "https://example.org/", "https://example.org/moodsy", "https://example.org/moods/../x", "http://example.org/moods/",
    "https://example.org/moods/%2e%2e/x", "https://example.org/moods/%252e%252e/x", "https://example.org:444/moods/",
    "https://example.org/moods/..%2fx", "https://example.org/moods/..\\x", "https://example.org@evil.example/moods/",
    "https://user@example.org/moods/", "https://example.org.evil.example/moods/", "https://evil.example/moods/",
    "https://example.org/moods/#x", "https://example.org/moods/ HTTP/1.1\r\nX: y", "https://example.org/moods/é",
    "ftp://example.org/moods/", "//example.org/moods/", "moods", "https://[::1", "https://example.org:99999/moods/",
    "https://[2001:db8::2]:8443/a", "http://127.0.0.1:9001/x", "http://169.254.169.254/", "file:///etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("url", ALLOWED)
def test_what_begins_as_allowed_may_be_called(url):
    Webhooks(RULES, Metrics()).check(url)


@pytest.mark.parametrize("url", REFUSED)
def test_nothing_else_may_be_called(url):
    with pytest.raises(ProblemError):
        Webhooks(RULES, Metrics()).check(url)
    with pytest.raises(ProblemError):
        Webhooks(WebhookRules(), Metrics()).check(url)


ODD_ANSWERS = [b"", b"HTTP/1.1\r\n", b"SSH-2.0-x y\r\n", b"HTTP/1.1 many\r\n", b"x" * 100_000]


@pytest.mark.parametrize("answer", ODD_ANSWERS, ids=range(len(ODD_ANSWERS)))
def test_odd_answers_are_no_answer(answer):
    told = []

    async def run():
        async def serve(reader, writer):
            await reader.read(100)
            writer.write(answer)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            hooks = Webhooks(WebhookRules((url,), b"x"), Metrics())
            hooks.tell(url, Event("prediction.done", {"id": "1"}), lambda: told.append(True))
            await asyncio.gather(*hooks._tasks)
        hooks.tell(url, Event("prediction.done", {"id": "1"}), lambda: told.append(True))
        await asyncio.gather(*hooks._tasks)  # nobody listens any more

    asyncio.run(run())
    assert told == [True, True], "who waits for the end of it waits for ever"


def test_a_receiver_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(webhooks, "_ATTEMPT_S", 0.05)

    async def run():
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            metrics = Metrics()
            hooks = Webhooks(WebhookRules((url,), b"x"), metrics)
            hooks.tell(url, Event("prediction.done", {"id": "1"}), lambda: None)
            await asyncio.gather(*hooks._tasks)
            return metrics.format()

    assert b'moodreel_webhooks_total{outcome="given up"} 1.0' in asyncio.run(run())


@pytest.mark.parametrize("secret", ["", "short", "YWJj", "not base 64 at all, but long", "é" * 40])
def test_a_weak_secret_is_refused_at_the_start(monkeypatch, secret):
    monkeypatch.setenv(webhooks.SECRET_VARIABLE, secret)
    with pytest.raises(MoodreelError, match="openssl rand -base64 32"):
        read_rules(["https://example.org/"])
    assert read_rules([]) == WebhookRules()


def test_a_sound_secret_is_taken_and_kept_from_workers(monkeypatch):
    for text in (SECRET, f"whsec_{SECRET}"):
        monkeypatch.setenv(webhooks.SECRET_VARIABLE, text)
        assert read_rules(["https://example.org/"]).secret == base64.b64decode(SECRET)
    assert webhooks.SECRET_VARIABLE not in worker_process._environment()
    assert SECRET not in repr(read_rules(["https://example.org/"]))


@pytest.mark.parametrize(
    "url", ["http://example.org/", "https://", "example.org", "https://example.org/?a=b", "https://[x"]
)
def test_a_rule_that_allows_nothing_is_refused_at_the_start(monkeypatch, url):
    monkeypatch.setenv(webhooks.SECRET_VARIABLE, SECRET)
    with pytest.raises(MoodreelError, match="expected the beginning of an address"):
        read_rules([url])
