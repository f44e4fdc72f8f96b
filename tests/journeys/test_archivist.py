"""An archivist has a disk: films among covers, subtitles and notes, with odd suffixes or none, and odd names.

He asks about the whole disk at once, reads in one line what was left out, and keeps subtitles, pictures and overlays of
a film that cuts between several people, of whom none is taken for the film.
"""

import json
import re
from itertools import pairwise

import av
import numpy as np
import pytest
from PIL import Image

from commands import moodreel
from conftest import chirp
from media_files import write_clip, write_image, write_sound

LOOKS = ([0, 1, 2], [2, 0, 1], [1, 2, 0])
"""Which channel goes where: skin, hair and clothes of three people out of one portrait."""
SCENE_S = 3


@pytest.fixture(scope="module")
def disk(tmp_path_factory, portrait_frames):
    """A film of three scenes, a person each; a tape and a recording of odd names; and what lies beside them."""
    folder = tmp_path_factory.mktemp("disk")
    faces = [np.asarray(frame) for frame in portrait_frames]

    def draw(index):
        scene, frame = divmod(index, 10 * SCENE_S)
        light = (1.0, 0.75, 0.9)[scene]
        turned = faces[frame % 40] if scene % 2 == 0 else faces[frame % 40][:, ::-1]
        return np.ascontiguousarray((turned[..., LOOKS[scene]] * light).astype(np.uint8))

    write_clip(folder / "reel.mp4", 3 * SCENE_S, size=(320, 240), frames=draw, sound=chirp)
    write_clip(folder / "-dash.flv", 1, sound=chirp, audio_rate=44_100)
    write_clip(folder / "tape", 1, format="matroska", sound=chirp)
    write_sound(folder / "call.wav", 1, sound=chirp).rename(folder / "call.rec")
    write_clip(folder / "dvd.vob", 1, format="vob", rate=25, video_codec="mpeg2video", audio_codec="mp2", sound=chirp)
    for name in ("cover.jpg", "reel-thumb.jpg"):
        write_image(folder / name, np.full((32, 32, 3), 200, np.uint8), codec="mjpeg", pix_fmt="yuvj420p")
    for name in ("reel.srt", "reel.en.srt", "notes.txt"):
        (folder / name).write_text("1\n00:00:01,000 --> 00:00:02,000\nGood evening.\n")
    (folder / "sectors.bin").write_bytes(bytes(range(256)) * 40)
    return folder


@pytest.fixture(scope="module")
def subtitles(disk, tiny_bundle, tmp_path_factory):
    """Subtitles and a picture of each film on the disk, and what the command said."""
    folder = tmp_path_factory.mktemp("kept")
    done = moodreel("predict", ".", "-m", tiny_bundle, "-f", "vtt", "-o", folder, "--plot", folder, cwd=disk)
    assert done.status == 0 and done.out == "", done.err
    return folder, done


def test_all_films_are_found_whatever_they_are_called_and_the_rest_is_told_in_one_line(subtitles):
    folder, done = subtitles
    films = {path.stem for path in folder.rglob("*.vtt")}
    assert films == {"reel", "-dash", "tape", "call", "dvd"}
    (told,) = [line for line in done.err.splitlines() if "skipped" in line]
    assert told == (
        "moodreel: skipped 6 files: 2 .srt, 2 covers or thumbnails (--all reads them), 1 .bin, 1 .txt; "
        "--verbose lists them"
    )


@pytest.fixture(scope="module")
def reel(disk, tiny_bundle, tmp_path_factory):
    """The answer to the film, and its overlay."""
    overlay = tmp_path_factory.mktemp("overlays") / "reel.mkv"
    done = moodreel("predict", "reel.mp4", "-m", tiny_bundle, "-f", "json", "--overlay", overlay, cwd=disk)
    assert done.status == 0, done.err
    return json.loads(done.out), overlay


def test_a_film_of_several_people_is_a_summary_and_each_moment_is_somebodys_seen_then(reel):
    answer, _ = reel
    assert answer["scope"] == "crowd" and len(answer["people"]) == 3, "one of three is taken for the film"
    assert sum(answer["shares"].values()) == pytest.approx(1, abs=0.01), "each instant counts once"
    for scene, person in enumerate(answer["people"]):
        times = [box["time_s"] for box in person["boxes"]]
        assert SCENE_S * scene <= min(times) and max(times) < SCENE_S * (scene + 1), "somebody is seen before a cut"
        assert person["segments"][0]["start_s"] >= SCENE_S * scene - 0.5, "a lane begins before its person is seen"
    middle = {segment["person"] for segment in answer["segments"] if 4 <= segment["start_s"] < 5}
    assert middle == {answer["people"][1]["id"]}


def test_each_person_has_a_lane_in_subtitles_and_picture(subtitles, reel):
    folder, _ = subtitles
    cues = (folder / "reel.vtt").read_text()
    for person in reel[0]["people"]:
        own = re.findall(rf"(\S+) --> (\S+)\n<v person {person['id']}>", cues)
        assert own, f"person {person['id']} has no cue"
        assert all(first[1] <= second[0] for first, second in pairwise(own)), "cues overlap"
    assert "no face" not in cues
    alone, several = (Image.open(folder / name).size[1] for name in ("tape.png", "reel.png"))
    assert several == alone + 3 * 45, "no lane for each of three people"


def test_the_overlay_shows_every_frame_of_the_film(reel):
    with av.open(str(reel[1])) as drawn:
        frames = [frame.to_ndarray(format="rgb24") for frame in drawn.decode(video=0)]
    assert len(frames) == 10 * 3 * SCENE_S


def test_covers_are_read_when_they_are_asked_for(disk, tiny_bundle):
    done = moodreel("predict", ".", "--all", "-m", tiny_bundle, "-f", "jsonl", "--to", "1", cwd=disk)
    answered = {json.loads(line)["clip"] for line in done.out.splitlines()}
    assert {"cover.jpg#t=,1", "reel-thumb.jpg#t=,1"} <= answered, done.err


def test_a_name_that_begins_with_a_dash_stays_what_it_is(disk, tiny_bundle, subtitles):
    wanted = ("-m", tiny_bundle, "--", "-dash.flv")
    assert json.loads(moodreel("predict", "-f", "json", *wanted, cwd=disk).out)["clip"] == "-dash.flv"
    assert moodreel("predict", *wanted, cwd=disk).out.startswith("-dash.flv")
    assert ": -dash.flv\n" in (subtitles[0] / "-dash.vtt").read_text()
    assert '"\'-dash.flv"' in moodreel("predict", "-f", "csv", *wanted, cwd=disk).out, "a spreadsheet would run it"
