"""Several people: no one of them is taken for the clip, and each moment speaks for who is seen then."""

import json
from importlib import resources

import jsonschema
import numpy as np
import pytest

from conftest import chirp
from media_files import write_clip
from moodreel import Recognizer
from moodreel.face.people import TrackedPerson
from moodreel.recognition.evidence import find_scope


@pytest.fixture(scope="module")
def crowd(tiny_bundle, tmp_path_factory, portrait_frames):
    """Eight seconds of three places: a face in the left for 4, in the middle at both ends, in the right from 5 on."""
    faces = [np.asarray(frame) for frame in portrait_frames]
    grey = np.full((240, 320, 3), 128, np.uint8)

    def draw(index):
        shown = (index < 40, index < 30 or index >= 60, index >= 50)
        return np.concatenate([faces[index % 40] if one else grey for one in shown], axis=1)

    path = write_clip(tmp_path_factory.mktemp("crowd") / "c.mp4", 8, size=(960, 240), frames=draw, sound=chirp)
    return Recognizer.load(tiny_bundle).predict(path)


def test_a_clip_of_several_people_is_a_crowd(crowd):
    assert crowd.scope == "crowd" and len(crowd.people) > 2
    schema = json.loads(resources.files("moodreel").joinpath("prediction.schema.json").read_text())
    jsonschema.validate(json.loads(crowd.to_json()), schema)


def test_at_each_moment_the_answer_is_of_somebody_seen_then(crowd):
    """The chart was the voice's alone wherever the one person spoken for was absent."""
    people = {person.id: person for person in crowd.people}
    assert len({segment.person for segment in crowd.segments}) > 1
    for window in crowd.timeline:
        assert window.face is not None and people[window.person].is_seen(window.start_s, window.end_s)


def test_lanes_hold_what_the_boxes_show(crowd):
    for person in crowd.people:
        lane = crowd.lanes[person.id]
        assert lane[0].start_s >= person.boxes[0].time_s
        assert all(any(one.start_s <= box.time_s <= one.end_s for box in person.boxes) for one in lane)


def tracked(number, share):
    return TrackedPerson(number, (number,), share, np.zeros(1), np.zeros((1, 4)), 1.0)


@pytest.mark.parametrize(
    ("shares", "scope"),
    [
        ((), "person"),
        ((0.1,), "person"),
        ((0.5, 0.5), "person"),
        ((0.6, 0.2, 0.2), "person"),
        ((0.4, 0.4, 0.1), "crowd"),
    ],
)
def test_one_person_carries_a_clip_with_half_of_all_face_time(shares, scope):
    people = [tracked(number, share) for number, share in enumerate(shares, start=1)]
    assert find_scope(people, 1 if people else None) == scope
