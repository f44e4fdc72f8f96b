"""The page in a real browser: a clip in, the timeline out; errors told; live mode; usable by all."""

import csv
import io
import json

import numpy as np
import pytest

pytest.importorskip("selenium")

from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browser import Page, chromium, emulate, requested_urls
from conftest import chirp
from media_files import silence, write_clip, write_sound
from running_server import running_server


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def leaving_clip(tmp_path_factory, portrait_frames):
    """Eight seconds: a face for the first four, then grey; a voice all along. WebM, which every Chromium plays."""
    grey = np.full((240, 320, 3), 128, np.uint8)
    path = tmp_path_factory.mktemp("clips") / "who <b>leaves.webm"
    return write_clip(
        path,
        8,
        size=(320, 240),
        frames=lambda index: portrait_frames[index % 40] if index < 40 else grey,
        video_codec="libvpx",
        audio_codec="libopus",
        audio_rate=48_000,
        sound=chirp,
    )


@pytest.fixture(scope="module")
def gap_clip(tmp_path_factory, portrait_frames):
    """Ten seconds, of which the middle five are grey and silent."""
    grey = np.full((240, 320, 3), 128, np.uint8)
    return write_clip(
        tmp_path_factory.mktemp("clips") / "gap.webm",
        10,
        size=(320, 240),
        frames=lambda index: grey if 25 <= index < 75 else portrait_frames[index % 40],
        video_codec="libvpx",
        audio_codec="libopus",
        audio_rate=48_000,
        sound=lambda time_s: np.where(abs(time_s - 5) < 2.5, 0.0, chirp(time_s)),
    )


@pytest.fixture(scope="module")
def crowd_clip(tmp_path_factory, portrait_frames):
    """Eight seconds of three places: a face in the left for 4, in the middle at both ends, in the right from 5 on."""
    faces = [np.asarray(frame) for frame in portrait_frames]
    grey = np.full((240, 320, 3), 128, np.uint8)

    def draw(index):
        shown = (index < 40, index < 30 or index >= 60, index >= 50)
        return np.concatenate([faces[index % 40] if one else grey for one in shown], axis=1)

    path = tmp_path_factory.mktemp("clips") / "crowd.webm"
    sound = {"audio_codec": "libopus", "audio_rate": 48_000, "sound": chirp}
    return write_clip(path, 8, size=(960, 240), frames=draw, video_codec="libvpx", **sound)


@pytest.fixture
def page(driver, address):
    """The page, freshly opened; whatever the test did, it caused no error and asked nobody else for anything."""
    emulate(driver)
    driver.get_log("browser"), driver.get_log("performance")
    driver.get(address)
    yield Page(driver)
    errors = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors
    for url in requested_urls(driver):
        assert url.startswith((address, address.replace("http", "ws"), "blob:", "data:")), f"{url} was asked for"


@pytest.fixture(scope="module")
def answered(driver, address, leaving_clip):
    """The page with one clip's answer, which several tests look at."""
    emulate(driver)
    driver.get(address)
    page = Page(driver)
    page.upload(leaving_clip)
    page.find("#answer")
    return page


def test_a_clip_becomes_a_timeline(answered, leaving_clip):
    assert answered.find("#answer-title").text.split(",")[0] in ("angry", "disgust", "fear", "surprise")
    assert answered.find("#answer-clip").text.startswith("who <b>leaves.webm"), "a name must stay text"
    assert len(answered.find_all("#timeline .area path")) == 7
    assert len(answered.find_all("#timeline .dot")) == 7, "one per window"
    assert "No face from 0:0" in answered.find("#notes").text
    names = [one.text for one in answered.find_all("#timeline .name")]
    assert "face" in names and "voice" in names and names[-1].startswith("person 1")
    answered.wait(lambda: answered.find_all("#timeline canvas.thumbnail"))
    assert len(answered.find_all("#table tbody tr")) == 7


def test_boxes_follow_playback(answered):
    answered.wait(lambda: answered.find_all("#player svg rect"))
    answered.run("document.querySelector('#player video').currentTime = 6")
    answered.wait(lambda: not answered.find_all("#player svg rect"))
    assert answered.find("#readout").text.startswith("At 0:06.0")


def test_seeking_by_mouse_and_keyboard(answered):
    slider = answered.find("#timeline .slider")
    place = "Math.round(document.querySelector('#player video').currentTime * 10) / 10"
    ActionChains(answered.driver).move_to_element(slider).click().perform()
    answered.wait(lambda: answered.run(place) == 4.0)
    slider.send_keys(Keys.HOME)
    answered.wait(lambda: answered.run(place) == 0)
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    answered.wait(lambda: answered.run(place) == 2.0)
    assert slider.get_attribute("aria-valuenow") == "2.0"
    assert slider.get_attribute("aria-valuetext").startswith("0:02 of 0:08: ")


def download(page, folder):
    """Take every file that an answer offers."""
    page.allow_downloads(folder)
    links = page.find_all("#downloads a")
    for link in links:
        link.click()
    page.wait(lambda: len([path for path in folder.iterdir() if path.suffix != ".crdownload"]) == len(links))
    return list(folder.iterdir())


def test_downloads(answered, tmp_path):
    files = {path.suffix: path.read_bytes() for path in download(answered, tmp_path)}
    assert set(files) == {".json", ".csv", ".vtt", ".png"}
    assert json.loads(files[".json"])["clip"] == "who <b>leaves.webm"
    assert files[".csv"].startswith(b'"clip","person"') and files[".vtt"].startswith(b"WEBVTT")
    assert files[".png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [1200, 360])
def test_the_answer_is_usable_by_all(answered, scheme, width_px):
    emulate(answered.driver, scheme=scheme, width_px=width_px)
    assert answered.violations() == []
    assert answered.run("document.documentElement.scrollWidth") <= width_px, "the page scrolls sideways"


def test_an_error_is_told(page, tmp_path):
    (tmp_path / "text.mp4").write_text("no clip at all")
    page.upload(tmp_path / "text.mp4")
    assert "text.mp4: is not media" in page.find("#failure").text
    assert page.find("#drop").is_displayed() and page.violations() == []


COVERED = """(second) => [...document.querySelectorAll("#timeline .area path")].some((path) =>
    [...Array(99).keys()].some((y) => path.isPointInFill(new DOMPoint(100 * second, 10 * y + 10))))"""


def test_no_emotion_is_drawn_where_nobody_was_seen_or_heard(page, gap_clip, tmp_path):
    page.upload(gap_clip)
    page.find("#answer")
    covered = [second for second in range(1, 10) if page.run(f"({COVERED})({second})")]
    assert covered == [1, 2, 3, 7, 8, 9], "the middles of windows in which something was"
    page.find("summary").click()
    rows = [row.text for row in page.find_all("#table tbody tr")]
    assert [row for row in rows if "%" not in row] == [
        "3.5 to 4.5 s nobody seen or heard", "4.5 to 5.5 s nobody seen or heard", "5.5 to 6.5 s nobody seen or heard"
    ]  # fmt: skip
    assert page.violations() == []
    (picture,) = [path for path in download(page, tmp_path) if path.suffix == ".png"]
    with Image.open(picture) as image:
        column = [image.getpixel((90 + round(0.5 * 920), y))[:3] for y in range(70, 400)]
    assert set(column) == {(0xF3, 0xF4, 0xF6)}, "the picture has no gap"


def test_a_crowd_is_a_summary_with_a_lane_for_each_person(page, crowd_clip):
    page.upload(crowd_clip)
    page.find("#answer")
    assert "people: " in page.find("#answer-title").text and "of the time" in page.find("#answer-title").text
    assert page.find("#whole-title").text == "How much of the time"
    lanes = page.find_all("#timeline .person")
    assert len(lanes) > 2 and "No face" not in page.find("#notes").text
    starts = {
        lane.get_attribute("data-person"): page.run(FIRST_LEFT.replace("ID", lane.get_attribute("data-person")))
        for lane in lanes
    }
    assert starts["1"] == 0 and max(starts.values()) > 50, "a lane begins when its person is first seen"
    page.run("document.querySelector('#player video').currentTime = 6")
    page.wait(lambda: page.find("#readout").text.startswith("At 0:06.0"))
    assert "(person " in page.find("#readout").text and page.violations() == []


FIRST_LEFT = "parseFloat(document.querySelector('[data-person=\"ID\"] .stretch').style.left)"


def test_a_clip_of_nothing_shows_nothing(page, tmp_path):
    page.upload(write_sound(tmp_path / "silent.wav", 3, sound=silence))
    assert page.find("#answer-title").text == "Nothing to tell an emotion from"
    assert "%" not in page.find("#bars").text and page.find_all("#timeline .area path") == []
    assert page.violations() == []


def test_sound_alone(page, tmp_path):
    page.upload(write_sound(tmp_path / "sound.wav", 2, sound=chirp))
    page.find("#answer")
    assert "The clip has no picture." in page.find("#notes").text
    page.find("#again").click()
    assert page.find("#drop").is_displayed()


def test_live_mode(page, tmp_path):
    page.find("#camera").click()
    page.wait(lambda: "ms behind" in page.find("#live-text").text)
    page.wait(lambda: "No face was seen." in page.find("#live-notes").text)  # the first window may hold sound alone
    assert len(page.find_all("#live-bars li")) == 7
    page.find("#reset").click()
    shown = page.find("#live-text").text
    page.wait(lambda: page.find("#live-text").text != shown)
    assert page.violations() == []
    page.find("#stop").click()
    assert page.find("#drop").is_displayed() and page.violations() == []
    page.allow_downloads(tmp_path)
    for suffix in ("csv", "json"):
        page.find(f"#history-{suffix}").click()
    page.wait(lambda: {path.suffix for path in tmp_path.iterdir()} == {".csv", ".json"})
    files = {path.suffix: path.read_text() for path in tmp_path.iterdir()}
    told = json.loads(files[".json"])
    assert told["model"] == "tiny 1" and len(told["windows"]) >= 2
    rows = list(csv.DictReader(io.StringIO(files[".csv"], newline="")))
    assert [float(row["end_s"]) for row in rows] == [window["end_s"] for window in told["windows"]]
    row = next(row for row in rows if row["face_state"] == "no_face")
    assert row["face_angry"] == "" and float(row["voice_surprise"]) > 0.5 and len(row) == 29
    page.find("#camera").click()
    page.wait(lambda: page.find("#live-text").text == "Listening and watching")
    assert not page.driver.find_element(By.ID, "history").is_displayed(), "another session's windows are mixed in"
    page.find("#stop").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_description_for_people_is_usable_by_all(page, address, scheme):
    page.find("footer a").click()
    emulate(page.driver, scheme=scheme, width_px=360)
    assert page.find("h1").text.endswith("the API")
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.violations() == []
    assert page.run("document.documentElement.scrollWidth") <= 360, "the page scrolls sideways"


def test_a_server_that_dies_is_told(driver, tiny_bundle, tmp_path, long_clip):
    with running_server(tiny_bundle, "--workers", "1", TMPDIR=str(tmp_path)) as (address, process):
        driver.get(address)
        page = Page(driver)
        page.upload(long_clip)
        page.wait(lambda: page.find("#work-text").text == "Reading long.mkv")
        driver.get_log("browser")
        process.kill()
        assert page.find("#failure-title").text == "The server cannot be reached"
        assert page.find("#drop").is_displayed()
        told = [entry["message"] for entry in driver.get_log("browser") if entry["source"] == "javascript"]
        assert told == [], "the page did not see it coming"


def test_a_token_is_asked_for(driver, guarded_address, sound):
    driver.get(guarded_address)
    page = Page(driver)
    page.upload(sound)
    assert "MOODREEL_TOKEN" in page.find("#token").text
    for wrong in ("wrong", "geheim€"):
        page.find("#token-text").send_keys(wrong, Keys.ENTER)
        page.wait(lambda: page.find("#failure-title").text == "That token is wrong")
        assert page.find("#token-text").get_attribute("value") == "" and page.violations() == []
        page.run("document.querySelector('#failure-title').textContent = ''")
    page.find("#token-text").send_keys(" secret ", Keys.ENTER)
    assert page.find("#answer-title").text.startswith("surprise")
    driver.refresh()
    page.upload(sound)
    assert page.find("#answer-title").text.startswith("surprise"), "the tab has forgotten the token"


def test_two_clips_are_both_read(page, tmp_path):
    paths = [write_sound(tmp_path / f"{name}.wav", 1, sound=chirp) for name in ("one", "two", "three")]
    page.driver.find_element(By.ID, "file").send_keys("\n".join(map(str, paths)))
    page.wait(lambda: page.find("#answer-clip").text.startswith("one.wav"))
    assert page.find("#waiting-text").text == "Waiting: two.wav, three.wav" and page.violations() == []
    page.find("#next").click()
    page.wait(lambda: page.find("#answer-clip").text.startswith("two.wav"))
    page.find("#next").click()
    page.wait(lambda: page.find("#answer-clip").text.startswith("three.wav"))
    assert not page.driver.find_element(By.ID, "waiting").is_displayed()


DROP = """(() => {
    const files = new DataTransfer();
    for (const name of ["one.txt", "two.txt"]) files.items.add(new File(["no clip"], name));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
})()"""


def test_two_clips_that_are_dropped_are_both_queued(page):
    page.run(DROP)
    assert "one.txt: is not media" in page.find("#failure").text
    assert page.find("#waiting-text").text == "Waiting: two.txt"
    page.find("#next").click()
    page.wait(lambda: "two.txt: is not media" in page.find("#failure").text)


def test_a_server_that_dies_in_live_mode_is_named(driver, tiny_bundle):
    with running_server(tiny_bundle, "--workers", "1") as (address, process):
        driver.get(address)
        page = Page(driver)
        page.find("#camera").click()
        page.wait(lambda: "ms behind" in page.find("#live-text").text)
        process.kill()
        page.wait(lambda: page.find("#failure-title").text == "The server cannot be reached")
        assert page.find("#drop").is_displayed()
