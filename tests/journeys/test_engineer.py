"""An engineer has recorded calls, a speaker on each channel, and builds a service that answers for them.

He tries one call at the command line, then starts the server with a token and a web hook, sends batches, kills it and
starts it again, follows a live call, and shows colleagues the page.
"""

import json
from contextlib import contextmanager

import httpx2
import numpy as np
import pytest

pytest.importorskip("selenium")

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from websockets.sync.client import connect

from browser import Page, chromium, emulate
from commands import moodreel
from media_files import syllables, write_sound
from moodreel import Recognizer
from running_server import ASYNC, running_server, upload, wait_until
from tiny_bundle import OFFSETS, write_tiny_bundle
from webhook_receiver import SECRET, read_verifier, receiving

TOKEN = "a token for colleagues"


def two_speakers(time_s):
    """Who calls speaks for three seconds on the left, then who answers on the right, as sound of shape (2, n)."""
    return np.stack([syllables(150)(time_s) * (time_s < 3), syllables(230)(time_s) * (time_s >= 3)])


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """A call of two channels in 8 kHz mu-law, one of a single channel, and one that keeps a worker busy."""
    folder = tmp_path_factory.mktemp("calls")
    telephone = {"audio_codec": "pcm_mulaw", "audio_rate": 8000}
    write_sound(folder / "both.wav", 6, layout="stereo", sound=two_speakers, **telephone)
    write_sound(folder / "mono.wav", 2, sound=syllables(150), **telephone)
    write_sound(folder / "long.wav", 200, sound=syllables(150), **telephone)
    (folder / "noise.wav").write_bytes(bytes(range(256)) * 8)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    adaptation = {"face": OFFSETS, "voice": OFFSETS}
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "adapting", adaptation=adaptation)


def test_each_channel_of_a_call_is_a_speaker_with_a_lane(bundle, calls, tmp_path):
    lanes = ("--plot", tmp_path / "lanes")
    done = moodreel("predict", calls / "both.wav", "--channels", "split", "-m", bundle, "-f", "json", *lanes)
    assert done.status == 0, done.err
    left, right = json.loads(done.out)
    assert (left["clip"][-13:], right["clip"][-14:]) == ("#channel=left", "#channel=right")
    assert sorted(path.name for path in (tmp_path / "lanes").iterdir()) == ["both-left.png", "both-right.png"]

    def heard(answer):
        return {one["start_s"] for one in answer["segments"] if one["voice"] is not None}

    assert 0.0 in heard(left) and 0.0 not in heard(right), "who answers is heard before saying a word"
    assert max(heard(right)) > max(heard(left)), "who called is heard to the end"


def test_a_telephone_of_one_channel_is_answered_too(bundle, calls):
    answer = Recognizer.load(bundle, threads=1).predict(calls / "mono.wav")
    assert answer.voice.state == "ok" and answer.label == "surprise" and not answer.warnings
    assert answer.duration_s == pytest.approx(2, abs=0.1)


@pytest.fixture(scope="module")
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def start(bundle, receiver, tmp_path_factory):
    """What starts the service, always with the same folder; yields its address, a client and its process."""
    state = tmp_path_factory.mktemp("state")
    options = ["--workers", "1", "--state", str(state), "--webhook-allow", receiver.url]
    options += ["--access-log", str(state / "access.jsonl")]
    secrets = {"MOODREEL_TOKEN": TOKEN, "MOODREEL_WEBHOOK_SECRET": SECRET}

    @contextmanager
    def started():
        with running_server(bundle, *options, **secrets) as (address, process):
            headers = {"Authorization": f"Bearer {TOKEN}"}
            with httpx2.Client(base_url=address, headers=headers, timeout=120) as client:
                yield address, client, process

    started.log = state / "access.jsonl"
    return started


@pytest.fixture(scope="module")
def places(start, calls, receiver):
    """The service is killed with a call answered, one being read and a batch waiting; returns where the three are."""
    with start() as (_, client, process):
        given = client.post("/v1/predictions", files=upload(calls / "mono.wav")).headers["content-location"]
        begun = client.post("/v1/predictions", files=upload(calls / "long.wav"), headers=ASYNC).headers["location"]
        clips = [("file", (name, (calls / name).read_bytes())) for name in ("both.wav", "noise.wav")]
        waits = client.post("/v1/batches", files=clips, data={"webhook": f"{receiver.url}done"}).headers["location"]
        assert client.get(waits).json()["state"] == "queued"
        process.kill()
        process.wait()
    return given, begun, waits


@pytest.fixture(scope="module")
def service(start, places):
    """The service, started again after it was killed: its address and a client."""
    with start() as (address, client, _):
        yield address, client


def test_jobs_survive_a_restart_and_a_batch_is_told_by_a_signed_web_hook(service, places, receiver):
    client, (given, begun, waits) = service[1], places
    assert client.get(given).json()["prediction"]["label"] == "surprise", "an answer is lost"
    batch = wait_until(lambda batch: batch["state"] == "done", client, waits)
    assert [(job["clip"], job["state"]) for job in batch["jobs"]] == [("both.wav", "done"), ("noise.wav", "failed")]
    assert client.get(begun).json()["state"] == "done", "what was being read is not read again"
    headers, body, told = receiver.next()
    assert read_verifier()(SECRET, headers, body), "who called cannot be told"
    assert told["type"] == "batch.done" and waits.endswith(told["data"]["id"])


def test_text_is_given_to_who_asks_for_it(service, places):
    client, place = service[1], places[0]
    table = client.get(place, headers={"Accept": "text/csv"})
    cues = client.get(place, headers={"Accept": "text/vtt"})
    assert table.headers["content-type"].startswith("text/csv") and table.text.startswith('"clip",')
    assert cues.headers["content-type"].startswith("text/vtt") and cues.text.startswith("WEBVTT")
    assert client.get(f"{place}/timeline.vtt").text == cues.text


def test_a_typo_or_a_missing_token_is_told_as_what_it_is(service):
    client = service[1]
    assert client.get("/v1/prediction").status_code == 404
    refused = httpx2.post(f"{service[0]}/v1/predictions", files={"file": ("a.wav", b"")})
    assert refused.status_code == 401 and refused.json()["type"].startswith("urn:moodreel:problem:")


def test_the_access_log_holds_neither_names_nor_addresses(service, start):
    service[1].get("/healthz")
    lines = [json.loads(line) for line in start.log.read_text().splitlines()]
    assert lines and not any(word in start.log.read_text() for word in ("mono.wav", "both.wav", TOKEN, "127.0.0.1"))


def test_a_live_call_forgets_the_last_speaker_when_told_to(service):
    address = service[0].replace("http", "ws")
    samples = syllables(150)(np.arange(16_000) / 16_000)
    second = b"\0" + (samples * 32767).astype("<i2").tobytes()
    with connect(f"{address}/v1/stream") as socket:
        start = {"type": "start", "sound": {"format": "pcm16", "rate_hz": 16_000}, "token": TOKEN}
        socket.send(json.dumps(start))
        assert json.loads(socket.recv())["type"] == "ready"

        def hear():
            socket.send(second)
            return json.loads(socket.recv())

        windows = [hear() for _ in range(3)]
        assert {window["label"] for window in windows} == {"surprise"}
        socket.send(json.dumps({"type": "reset"}))
        assert json.loads(socket.recv())["type"] == "window", "a reset is answered by the next window"
        assert hear()["adaptation"]["voice_stretches"] <= 1, "the last speaker is not forgotten"


@pytest.fixture(scope="module")
def page(service):
    with chromium() as driver:
        emulate(driver)
        driver.get(service[0])
        yield Page(driver)


def test_a_wrong_token_is_told_and_the_right_one_is_kept(page, calls):
    page.upload(calls / "mono.wav")
    page.find("#token-text").send_keys("a guess", Keys.ENTER)
    assert page.find("#failure-title").text == "That token is wrong"
    assert page.find("#token-text").get_attribute("value") == "", "the wrong token stays in the field"
    page.find("#token-text").send_keys(TOKEN, Keys.ENTER)
    assert page.find("#answer-title").text.startswith("surprise")


DROP = """(() => {
    const files = new DataTransfer();
    for (const name of ["one.wav", "two.wav"]) files.items.add(new File(["no sound"], name));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
})()"""


def test_of_two_files_that_are_dropped_both_are_read(page):
    page.driver.refresh()
    page.find("#drop")
    page.run(DROP)
    assert "one.wav: is not media" in page.find("#failure").text, "the tab has forgotten the token"
    assert page.find("#waiting-text").text == "Waiting: two.wav"
    page.find("#next").click()
    page.wait(lambda: "two.wav: is not media" in page.find("#failure").text)
    assert not page.driver.find_element(By.ID, "waiting").is_displayed()
