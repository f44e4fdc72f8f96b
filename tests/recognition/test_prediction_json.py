"""Predictions survive JSON: what was written is read again as it was, and what is no prediction is refused."""

import copy
import json
import pickle
from importlib import resources

import jsonschema
import pytest
from hypothesis import given, settings, strategies as st

from moodreel import Prediction, PredictionError, Recognizer
from moodreel.labels import EMOTIONS
from moodreel.recognition.prediction import FACE_STATES, VOICE_STATES, Adaptation, Box, Modality, Person, Window

SCHEMA = json.loads(resources.files("moodreel").joinpath("prediction.schema.json").read_text())

SHARES = st.floats(0, 1)
TIMES_S = st.floats(0, 1e5)
LABELS = st.sampled_from(EMOTIONS)
NUMBERS = st.integers(1, 9)
PROBABILITIES = st.lists(st.floats(0.001, 1), min_size=7, max_size=7).map(
    lambda values: tuple(value / sum(values) for value in values)
)
SOUNDS = ("speech", "laughter", "music")
SOUNDS_HEARD = st.lists(st.floats(0.001, 1), min_size=len(SOUNDS), max_size=len(SOUNDS)).map(
    lambda values: {name: value / sum(values) for name, value in zip(SOUNDS, values, strict=True)}
)


@st.composite
def timelines(draw, **fixed) -> tuple[Window, ...]:
    """Windows that may overlap, neither beginning nor ending before those before them."""
    drawn = {
        "label": st.none() | LABELS,
        "probabilities": PROBABILITIES,
        "face": st.none() | PROBABILITIES,
        "voice": st.none() | PROBABILITIES,
        "person": st.none() | NUMBERS,
        "weights": st.tuples(SHARES, SHARES),
        "abstained": st.booleans(),
        "sounds": st.none() | SOUNDS_HEARD,
    }
    count = draw(st.integers(0, 4))
    edges_s = sorted(draw(st.lists(TIMES_S, min_size=2 * count, max_size=2 * count)))
    return tuple(
        Window(start_s, end_s, **{name: fixed.get(name, draw(one)) for name, one in drawn.items()})
        for start_s, end_s in zip(edges_s[:count], edges_s[count:], strict=True)
    )


@st.composite
def people(draw) -> Person:
    number = draw(NUMBERS)
    edges = st.tuples(*[st.floats(-100, 10_000)] * 4)
    boxes = draw(st.lists(st.builds(Box, TIMES_S, edges), max_size=3))
    own = draw(timelines(person=number, weights=(1.0, 0.0), sounds=None))
    boxes.sort(key=lambda box: box.time_s)
    label, probabilities = draw(LABELS), draw(PROBABILITIES)
    return Person(number, draw(SHARES), label, probabilities, own, tuple(boxes), draw(st.booleans()))


def modalities(states) -> st.SearchStrategy[Modality]:
    return st.builds(Modality, st.sampled_from(states), st.none() | PROBABILITIES, SHARES)


COUNTS = st.integers(0, 1000)
PREDICTIONS = st.builds(
    Prediction,
    clip=st.text(max_size=20),
    duration_s=TIMES_S,
    model=st.text(max_size=10),
    label=st.none() | LABELS,
    probabilities=PROBABILITIES,
    abstained=st.booleans(),
    person=st.none() | NUMBERS,
    face=modalities(FACE_STATES),
    voice=modalities(VOICE_STATES),
    people=st.lists(people(), max_size=3, unique_by=lambda one: one.id).map(tuple),
    timeline=timelines(),
    warnings=st.lists(st.text(max_size=20), max_size=2).map(tuple),
    adaptation=st.none()
    | st.builds(Adaptation, st.sampled_from(("clip", "folder", "stream", "baseline")), COUNTS, COUNTS, SHARES),
    scope=st.sampled_from(("person", "crowd")),
    abstain_below=SHARES,
)


@given(PREDICTIONS)
@settings(max_examples=150)
def test_what_was_written_is_read_again_as_it_was(prediction):
    written = prediction.to_json()
    read = Prediction.from_json(written)
    assert read == prediction.rounded(), "a field is lost or changed on the way through JSON"
    assert read.to_json() == written, "the same prediction is written otherwise the second time"
    assert Prediction.from_dict(prediction.to_dict()) == read == Prediction.from_json(written.encode())


@pytest.fixture(scope="module")
def document(tiny_bundle, face_clip):
    """A prediction as the program writes it."""
    return Recognizer.load(tiny_bundle, threads=1).predict(face_clip).to_dict()


def test_a_real_answer_is_read_again_with_people_segments_and_warnings(document):
    jsonschema.validate(document, SCHEMA)
    read = Prediction.from_dict(document)
    assert read.to_dict() == document
    assert read.people[0].boxes and read.timeline[0].person == 1 and read.segments[0].weights == (0.5, 0.5)
    assert pickle.loads(pickle.dumps(read)) == read


def test_numbers_beyond_those_written_are_rounded_once_and_for_all():
    prediction = make(1 / 3)
    assert prediction.rounded() != prediction and prediction.rounded().rounded() == prediction.rounded()


def make(share: float) -> Prediction:
    rest = (1 - share) / 6
    row = (share, *[rest] * 6)
    nothing = Modality("no_face", None, 0.0), Modality("silent", None, 0.0)
    return Prediction("a", 1.0, "m", "angry", row, False, None, *nothing, (), (Window(0.0, 1.0, "angry", row),), ())


EVEN = dict.fromkeys(EMOTIONS, 0.1) | {"sad": 0.4}
WINDOW = {"start_s": 0.0, "end_s": 2.0, "label": "sad", "probabilities": EVEN, "face": EVEN, "voice": None}
VERSION_1 = {
    "schema_version": 1,
    "clip": "old.mp4",
    "duration_s": 2.0,
    "model": "default 2026.11.20",
    "label": "sad",
    "probabilities": EVEN,
    "abstained": False,
    "person": 1,
    "modalities": {
        "face": {"state": "ok", "probabilities": EVEN, "weight": 1.0},
        "voice": {"state": "silent", "probabilities": None, "weight": 0.0},
    },
    "people": [
        {
            "id": 1,
            "share_on_screen": 0.9,
            "label": "sad",
            "probabilities": EVEN,
            "windows": [WINDOW],
            "boxes": [{"time_s": 0.0, "box_px": [1.0, 2.0, 3.0, 4.5]}],
        }
    ],
    "timeline": [WINDOW],
    "warnings": ["ends after 2.0 s of 4.0 s: truncated or damaged file"],
}


def test_version_1_is_read_as_far_as_its_fields_go():
    read = Prediction.from_json(json.dumps(VERSION_1))
    assert (read.clip, read.label, read.person, read.face.weight) == ("old.mp4", "sad", 1, 1.0)
    assert read.people[0].boxes == (Box(0.0, (1.0, 2.0, 3.0, 4.5)),) and read.warnings == tuple(VERSION_1["warnings"])
    assert read.timeline[0].face == read.probabilities and read.timeline[0].person is None
    assert (read.scope, read.abstain_below, read.adaptation) == ("person", 0.0, None)
    jsonschema.validate(read.to_dict(), SCHEMA)


def test_segments_of_version_2_from_before_windows_said_so_are_judged_by_the_threshold(document):
    old = copy.deepcopy(document)
    for window in (*old["timeline"], *old["people"][0]["windows"]):
        del window["abstained"]
    assert Prediction.from_dict(old).to_dict() == document


def test_version_2_which_knew_no_speakers_is_read(document):
    old = copy.deepcopy(document) | {"schema_version": 2}
    for key in ("turns", "speakers", "why"):
        del old[key]
    for segment in old["segments"]:
        del segment["voice_of"], segment["overlap"]
    for person in old["people"]:
        for part in (person, *person["windows"], *person["segments"]):
            for key in ("speaking_s", "speaking", "fused"):
                part.pop(key, None)
        del person["voice"]
    read = Prediction.from_dict(old)
    assert read.to_dict() == document and read.speakers == "not_told" and read.people[0].speaking_s is None


def changed(document, path, value):
    """Return a document with one field set, or left out where the value is `...`."""
    made = copy.deepcopy(document)
    held = made
    for key in path[:-1]:
        held = held[key]
    if value is ...:
        del held[path[-1]]
    else:
        held[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (["schema_version"], 4, "schema_version is 4, expected 1 to 3"),
        (["schema_version"], True, "schema_version is True"),
        (["label"], "bored", "label: expected one of angry"),
        (["label"], ["sad"], "label: expected one of angry"),
        (["clip"], ..., "clip: expected a text, it is missing"),
        (["warnings"], [1], "warnings: expected a list of texts"),
        (["abstained"], 0, "abstained: expected true or false, found 0"),
        (["duration_s"], float("nan"), "duration_s: expected a number"),
        (["duration_s"], 10**400, "duration_s: expected a number from 0 to 1e+09, found a huge number"),
        (["person"], 0, "person: expected a whole number from 1 on"),
        (["scope"], "nobody", "scope: expected one of person, crowd"),
        (["probabilities", "angry"], 1.5, "probabilities.angry: expected a number from 0 to 1"),
        (["probabilities", "sad"], ..., "probabilities.sad: expected a number from 0 to 1, it is missing"),
        (["probabilities"], dict.fromkeys(EMOTIONS, 0.5), "probabilities: expected seven values that sum to 1"),
        (["modalities", "face", "state"], "asleep", "modalities.face.state: expected one of ok"),
        (["modalities"], [], "modalities: expected an object, found a list"),
        (["timeline", 1, "end_s"], 0.5, "timeline[1].end_s: expected a number from 1 to"),
        (["timeline", 0, "end_s"], 3.5, "timeline: expected windows in the order of time"),
        (["timeline"], "x" * 100, f"timeline: expected a list, found {'x' * 60}…;"),
        (["segments", 0, "sounds"], {"speech": 0.5}, "segments[0].sounds: expected values that sum to 1"),
        (["segments"], [], "segments: expected as many as the timeline has windows, 2"),
        (["segments", 0, "weights", "face"], "1", "segments[0].weights.face: expected a number"),
        (["people", 0, "boxes", 0, "box_px"], [1, 2, 3], "people[0].boxes[0].box_px: expected 4 numbers"),
        (["people"], [1], "people: expected a list of objects"),
        (["adaptation"], {"to": "mood"}, "adaptation.to: expected one of clip, folder"),
        (["speakers"], "perhaps", "speakers: expected one of told, not_told"),
        (["why"], "because", "why: expected one of most-present"),
        (["segments", 0, "voice_of"], "narrator", "segments[0].voice_of: expected a whole number from 1 on"),
        (["people", 0, "windows", 0, "speaking"], 2, "people[0].windows[0].speaking: expected a number from 0 to 1"),
        (["turns"], [{"start_s": 2, "end_s": 1}], "turns[0].end_s: expected a number from 2"),
    ],
)
def test_a_field_that_cannot_be_is_named(document, path, value, told):
    with pytest.raises(PredictionError) as caught:
        Prediction.from_dict(changed(document, path, value))
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_segments_that_name_different_sounds_are_refused(document):
    """Their mean over the clip, which is worked out anew, would be of nothing."""
    made = changed(document, ["segments", 0, "sounds"], {"speech": 1.0})
    with pytest.raises(PredictionError, match="segments: expected the same sounds in each"):
        Prediction.from_dict(changed(made, ["segments", 1, "sounds"], {"music": 1.0}))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        ("NaN", "NaN is no number of JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", "is a list of predictions, expected one"),
        ("1", "expected a JSON object, found 1"),
        ("{}", "schema_version is null"),
    ],
)
def test_what_is_no_prediction_is_refused_in_one_line(text, told):
    with pytest.raises(PredictionError) as caught:
        Prediction.from_json(text)
    assert told in str(caught.value) and "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=200)
def test_whatever_stands_in_a_field_it_is_read_or_refused(document, data):
    """Nothing but `PredictionError` gets out, and what is read can be written."""
    key = data.draw(st.sampled_from(sorted(document)))
    made = document | {key: data.draw(JSON)}
    try:
        read = Prediction.from_dict(made)
    except PredictionError:
        return
    jsonschema.validate(read.to_dict(), SCHEMA)
