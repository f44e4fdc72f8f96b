"""A clip of two people: the voice goes to whose it is, and colours nobody else."""

import json
from importlib import resources

import jsonschema
import numpy as np
import pytest

from conftest import chirp
from media_files import write_clip
from moodreel import MoodreelError, Prediction, Recognizer
from moodreel.errors import MediaError
from moodreel.output.formats.csv import format_csv
from moodreel.output.formats.rttm import format_rttm
from moodreel.output.formats.table import format_table
from moodreel.output.formats.vtt import format_vtt
from moodreel.recognition.speaks_for import read_speaks_for
from tiny_bundle import add_tiny_speaker, write_tiny_bundle

SCHEMA = json.loads(resources.files("moodreel").joinpath("prediction.schema.json").read_text())


@pytest.fixture(scope="module")
def speaking_bundle(tmp_path_factory):
    """A bundle to which the person with the lighter lips speaks."""
    return add_tiny_speaker(write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "speaking"))


@pytest.fixture(scope="module")
def duet(tmp_path_factory, portrait_frames):
    """Eight seconds of two faces side by side: the left one is light in the first half, the right in the second."""
    faces = [np.asarray(frame) for frame in portrait_frames]

    def draw(index):
        face = faces[index % 40]
        dark = (face * 0.3).astype(np.uint8)
        return np.concatenate([face, dark] if index < 40 else [dark, face], axis=1)

    path = tmp_path_factory.mktemp("duet") / "two people.mp4"
    return write_clip(path, 8, size=(640, 240), frames=draw, sound=chirp)


@pytest.fixture(scope="module")
def answer(speaking_bundle, duet):
    return Recognizer.load(speaking_bundle, threads=1).predict(duet)


def test_windows_name_whose_the_voice_is(answer):
    assert answer.speakers == "told" and len(answer.people) == 2
    left, right = sorted(answer.people, key=lambda one: one.boxes[0].box_px[0])
    assert answer.timeline[0].voice_of == left.id and answer.timeline[-1].voice_of == right.id
    assert left.speaking_s == pytest.approx(4, abs=0.9) and right.speaking_s == pytest.approx(4, abs=0.9)
    jsonschema.validate(json.loads(answer.to_json()), SCHEMA)
    assert Prediction.from_dict(answer.to_dict()) == answer.rounded()


def test_another_persons_voice_colours_no_face(answer):
    for window in answer.timeline:
        if window.voice_of is not None and window.voice_of != window.person:
            assert window.weights == (1.0, 0.0) and window.probabilities == pytest.approx(window.face)
    assert any(window.voice_of == window.person and window.weights[1] > 0 for window in answer.timeline)


def test_people_have_their_own_voice_and_both_fused(answer):
    left = min(answer.people, key=lambda one: one.boxes[0].box_px[0])
    assert left.voice is not None and left.fused is not None and left.fused != left.probabilities
    first, last = left.windows[0], left.windows[-1]
    assert first.speaking > 0.9 and first.voice is not None and first.fused is not None
    assert last.speaking < 0.1 and last.voice is None and last.fused is None


def test_the_outputs_name_the_speaker(answer):
    lines = format_rttm(answer).splitlines()
    assert len(lines) >= 2 and all(line.startswith("SPEAKER ") and len(line.split()) == 10 for line in lines)
    assert {line.split()[7] for line in lines} == {"person_1", "person_2"}
    assert (", speaking" in format_vtt(answer) and "speaks 4." in format_table(answer)) or "speaks 3." in format_table(
        answer
    )
    assert '"voice_of","speaking"' in format_csv([answer])


def test_the_label_speaks_for_whom_is_asked(speaking_bundle, duet):
    recognizer = Recognizer.load(speaking_bundle, threads=1)
    second = recognizer.predict(duet, speaks_for="2")
    assert (second.person, second.why) == (2, "asked")
    most = recognizer.predict(duet, speaks_for="most-speaking")
    longest = max(most.people, key=lambda one: one.speaking_s)
    assert (most.person, most.why) == (longest.id, "most-speaking")
    assert recognizer.predict(duet, speaks_for="everyone").scope == "crowd"
    with pytest.raises(MediaError, match="person 7 was asked for, but seen were: 1, 2"):
        recognizer.predict(duet, speaks_for="7")


def test_nothing_is_told_where_the_bundle_cannot_or_the_only_mouth_moves(
    tiny_bundle, speaking_bundle, duet, face_clip, monkeypatch
):
    without = Recognizer.load(tiny_bundle, threads=1).predict(duet)
    assert (without.speakers, without.turns) == ("not_told", ())
    assert all(one.speaking_s is None and one.voice is None for one in without.people)
    monkeypatch.setattr("moodreel.face.mouth_motion.MouthMotion.measure", lambda *_: 0.5)
    alone = Recognizer.load(speaking_bundle, threads=1).predict(face_clip)
    assert alone.speakers == "not_told"
    assert alone.probabilities == Recognizer.load(tiny_bundle, threads=1).predict(face_clip).probabilities


def test_one_mouth_that_rests_while_somebody_is_heard_is_asked(speaking_bundle, duet, portrait_frames):
    """A voice over a face that does not speak is nobody's on screen."""
    dark = [(np.asarray(frame) * 0.2).astype(np.uint8) for frame in portrait_frames]
    path = write_clip(duet.parent / "over.mp4", 4, size=(320, 240), frames=lambda index: dark[index % 40], sound=chirp)
    found = Recognizer.load(speaking_bundle, threads=1).predict(path)
    if found.people:  # a dark face is not always found
        assert {turn.who for turn in found.turns} == {"off screen 1"}
        assert found.face.weight == 1.0 and found.timeline[0].voice_of == "off_screen"


def test_a_stream_that_cannot_go_back_is_answered_as_without(speaking_bundle, duet):
    class Pipe:
        def __init__(self, path):
            self.file = path.open("rb")

        def read(self, size):
            return self.file.read(size)

    small = write_clip(duet.parent / "p.mkv", 2, size=(640, 240), sound=chirp)
    found = Recognizer.load(speaking_bundle, threads=1).predict(Pipe(small))
    assert found.speakers == "not_told"


@pytest.mark.parametrize(("text", "read"), [("most-speaking", "most-speaking"), ("Person 2", "2"), ("12", "12")])
def test_whom_to_speak_for_is_read(text, read):
    assert read_speaks_for(text) == read


@pytest.mark.parametrize("text", ["", "0", "-1", "anna", "²", "9" * 50])
def test_nobody_of_such_a_name_is_refused_in_one_line(text):
    with pytest.raises(MoodreelError, match="expected one of most-present, most-speaking, everyone") as caught:
        read_speaks_for(text)
    assert "\n" not in str(caught.value)
