"""Prediction: JSON against its schema, CSV and WebVTT."""

import csv
import dataclasses
import io
import json
from dataclasses import replace
from importlib import resources
from itertools import pairwise

import jsonschema
import pytest
from hypothesis import given, strategies as st

from moodreel.labels import EMOTIONS
from moodreel.output.formats import find_format, mark_bytes
from moodreel.output.formats.csv import format_csv
from moodreel.output.formats.table import format_table
from moodreel.output.formats.vtt import format_vtt
from moodreel.recognition.prediction import (
    FACE_STATES,
    UNIFORM,
    VOICE_STATES,
    Box,
    Modality,
    Person,
    Prediction,
    Window,
)
from moodreel.recognition.segments import cut_segments, join_segments, share_time

SCHEMA = json.loads(resources.files("moodreel").joinpath("prediction.schema.json").read_text())
HAPPY = (0.05, 0.05, 0.05, 0.6, 0.15, 0.05, 0.05)
SAD = (0.05, 0.05, 0.05, 0.05, 0.15, 0.6, 0.05)


def make_prediction(**changes) -> Prediction:
    windows = (
        Window(0.0, 2.0, "happy", HAPPY, face=HAPPY, voice=None, person=1, weights=(1.0, 0.0)),
        Window(1.0, 3.0, "happy", HAPPY, face=None, voice=HAPPY, weights=(0.0, 1.0)),
        Window(2.0, 3.5, "sad", SAD, face=SAD, voice=SAD, person=1, weights=(0.5, 0.5)),
    )
    person = Person(1, 0.9, "happy", HAPPY, windows, (Box(0.0, (1.0, 2.0, 30.0, 40.0)),))
    prediction = Prediction(
        clip="a clip.mp4",
        duration_s=3.5,
        model="default 1",
        label="happy",
        probabilities=HAPPY,
        abstained=False,
        person=1,
        face=Modality("ok", HAPPY, 0.7),
        voice=Modality("ok", SAD, 0.3),
        people=(person,),
        timeline=windows,
        warnings=("a warning",),
    )
    return dataclasses.replace(prediction, **changes)


def test_json_follows_the_published_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(make_prediction().to_json()), SCHEMA)


def test_json_without_anything_usable_follows_the_schema():
    nothing = make_prediction(
        label=None,
        probabilities=UNIFORM,
        abstained=True,
        person=None,
        face=Modality("no_face", None, 0.0),
        voice=Modality("silent", None, 0.0),
        people=(),
        timeline=(Window(0.0, 1.0, None, UNIFORM),),
    )
    jsonschema.validate(json.loads(nothing.to_json()), SCHEMA)


def test_schema_knows_every_state_and_the_label_order():
    states = {
        name: one["properties"]["state"]["enum"]
        for name, one in SCHEMA["properties"]["modalities"]["properties"].items()
    }
    assert states == {"face": list(FACE_STATES), "voice": list(VOICE_STATES)}
    assert list(make_prediction().to_dict()["probabilities"]) == list(EMOTIONS)


@given(st.text(max_size=40))
def test_any_file_name_survives_json_csv_and_vtt(name):
    prediction = make_prediction(clip=name)
    assert json.loads(prediction.to_json())["clip"] == name
    rows = list(csv.reader(io.StringIO(format_csv([prediction]), newline="")))
    assert len(rows) == 4 and rows[1][0] in (name, f"'{name}")
    assert format_vtt(prediction).count(" --> ") == 2, "a name must not smuggle cues in"
    assert format_table(prediction)


FORMULAS = ["=HYPERLINK(1) a.wav", "+1", "-1+1.mp4", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1"]


@pytest.mark.parametrize("name", FORMULAS)
def test_no_name_is_a_formula_in_a_spreadsheet(name):
    rows = csv.reader(io.StringIO(format_csv([make_prediction(clip=name)], header=False), newline=""))
    assert {row[0] for row in rows} == {f"'{name}"}


@pytest.mark.parametrize("name", ["", "a=1.mp4", "'a'.mp4", "1-2.mp4"])
def test_other_names_stay_as_they_are_in_csv(name):
    rows = csv.reader(io.StringIO(format_csv([make_prediction(clip=name)], header=False), newline=""))
    assert {row[0] for row in rows} == {name}


def test_vtt_joins_windows_of_one_label_and_never_overlaps():
    text = format_vtt(make_prediction())
    assert text.startswith("WEBVTT\n")
    assert "00:00:00.000 --> 00:00:02.375\nhappy 60%" in text
    assert "00:00:02.375 --> 00:00:03.500\nsad 60%" in text


def test_stretches_leave_gaps_where_nothing_is_known():
    windows = (
        Window(0, 2, "sad", SAD),
        Window(1, 3, None, UNIFORM),
        Window(2, 4, "sad", SAD),
    )
    stretches = join_segments(cut_segments(windows))
    assert [(one.start_s, one.end_s) for one in stretches] == [(0, 1.5), (2.5, 4)]


@given(st.integers(1, 40), st.floats(0.01, 1.0))
def test_every_instant_of_a_clip_lies_in_one_segment(n, rest_s):
    timeline = [Window(i, i + 2, "sad", SAD) for i in range(n - 1)] + [Window(n - 1, n + rest_s, "sad", SAD)]
    segments = cut_segments(timeline)
    assert (segments[0].start_s, segments[-1].end_s) == (0, n + rest_s) and len(segments) == n
    assert all(one.end_s == other.start_s for one, other in pairwise(segments))
    assert all(one.length_s > 0 for one in segments)


def test_the_percentage_of_a_stretch_is_the_mean_by_length_not_the_most():
    low, high = (0.1, 0.1, 0.1, 0.3, 0.2, 0.1, 0.1), (0.05, 0.05, 0.05, 0.7, 0.05, 0.05, 0.05)
    (stretch,) = join_segments((Window(0, 3, "happy", low), Window(3, 4, "happy", high)), abstain_below=0.41)
    assert stretch.probability == pytest.approx((3 * 0.3 + 0.7) / 4) and stretch.abstained


def test_table_vtt_and_json_show_a_stretch_alike():
    """They read 73 %, 58 % and other bounds for one and the same stretch."""
    prediction = make_prediction()
    first = prediction.to_dict()["stretches"]["answer"][0]
    assert (first["start_s"], first["end_s"], first["label"], first["probability"]) == (0, 2.375, "happy", 0.6)
    assert "0.0 -   2.4 s  happy 60%" in format_table(prediction)
    assert "00:00:00.000 --> 00:00:02.375\nhappy 60%" in format_vtt(prediction)


def test_segments_too_weak_to_rely_on_count_for_no_emotion():
    segments = (Window(0, 1, "sad", SAD), Window(1, 3, "happy", HAPPY, abstained=True), Window(3, 4, None, UNIFORM))
    assert dict(zip(EMOTIONS, share_time(segments), strict=True)) == {**dict.fromkeys(EMOTIONS, 0), "sad": 0.25}


def crowd():
    """Four seconds: person 1 in the first, person 2 in the third; nobody in the second and fourth."""
    windows = (
        Window(0.0, 2.0, "happy", HAPPY, face=HAPPY, person=1, weights=(1.0, 0.0)),
        Window(1.0, 3.0, "sad", SAD, face=SAD, voice=SAD, person=2, weights=(0.5, 0.5)),
        Window(2.0, 4.0, "sad", SAD, voice=SAD, weights=(0.0, 1.0), abstained=True),
    )
    first = Person(1, 0.2, "happy", HAPPY, (replace(windows[0]),), (Box(0.4, (0.0, 0.0, 9.0, 9.0)),))
    second = Person(2, 0.2, "sad", SAD, (windows[1], replace(windows[2], face=SAD)), (Box(2.0, (0.0, 0.0, 9.0, 9.0)),))
    people = (first, second, Person(3, 0.1, "sad", SAD, (), ()))
    return make_prediction(timeline=windows, duration_s=4.0, people=people, scope="crowd", abstain_below=0.33)


def test_in_a_crowd_the_answer_is_a_summary():
    text = format_table(crowd())
    assert "3 people: happy 38% of the time, sad 25% of the time" in text
    assert "weight" not in text and "speaks for" not in text


def test_a_lane_begins_when_its_person_is_first_seen_and_holds_no_other_segment():
    prediction = crowd()
    lanes = {number: [(one.start_s, one.end_s) for one in lane] for number, lane in prediction.lanes.items()}
    assert lanes == {1: [(0.4, 1.5)], 2: [(2.0, 2.5)], 3: []}
    assert "<v person 2>sad 60%" in format_vtt(prediction) and "<v person 3>" not in format_vtt(prediction)


def test_somebody_absent_while_others_are_on_screen_is_not_seen_rather_than_no_face():
    prediction = make_prediction(people=(*make_prediction().people, Person(2, 0.3, "sad", SAD, (), BOXES)))
    assert [prediction.states(one)[0] for one in prediction.segments] == ["ok", "not_seen", "ok"]
    jsonschema.validate(json.loads(prediction.to_json()), SCHEMA)


BOXES = (Box(2.0, (1.0, 2.0, 3.0, 4.0)),)


def test_csv_has_a_row_per_segment_and_person():
    rows = list(csv.DictReader(io.StringIO(format_csv([crowd()]))))
    found = [(row["person"], row["start_s"], row["end_s"], row["abstained"], row["on_screen"]) for row in rows]
    assert found == [
        ("1", "0.0", "1.5", "false", "true"),
        ("2", "1.5", "2.5", "false", "true"),
        ("", "2.5", "4.0", "true", "false"),
    ]
    assert rows[1]["face_sad"] == rows[1]["voice_sad"] == "0.6" and rows[1]["face_weight"] == "0.5"
    assert rows[2]["face_sad"] == "" and rows[2]["face_state"] == "no_face"


def test_csv_names_the_person_beside_the_one_spoken_for():
    timeline = make_prediction().timeline
    beside = Person(2, 0.3, "sad", SAD, tuple(replace(one, face=SAD, label="sad") for one in timeline), BOXES)
    prediction = make_prediction(people=(*make_prediction().people, beside))
    rows = list(csv.DictReader(io.StringIO(format_csv([prediction]))))
    assert [(row["person"], row["voice_state"]) for row in rows] == [
        ("1", "no_speech"), ("", "ok"), ("2", "not_attributed"), ("1", "ok")
    ]  # fmt: skip


def test_csv_of_clips_has_a_row_for_each_clip_and_each_failure():
    form = find_format("csv-clips")
    assert form.write_failure is not None
    text = form.write(crowd(), True) + form.write_failure("=b.mp4", "b.mp4: is not media", False)
    answered, failed = csv.DictReader(io.StringIO(text))
    assert (answered["status"], answered["scope"], answered["n_people"]) == ("ok", "crowd", "3")
    assert answered["share_happy"] == "0.375" and answered["people"].startswith("1 happy 20%; 2 sad 20%")
    assert (failed["clip"], failed["status"], failed["error"]) == ("'=b.mp4", "failed", "b.mp4: is not media")
    assert failed["label"] == "" and None not in failed.values()


def test_the_mark_for_excel_stands_once_at_the_beginning():
    form = mark_bytes(find_format("csv"))
    assert form.write(crowd(), True).startswith("\ufeff") and "\ufeff" not in form.write(crowd(), False)


def test_an_answer_just_above_the_threshold_only_leans():
    prediction = make_prediction(abstain_below=0.57)
    assert "->  leans to happy" in format_table(prediction) and prediction.to_dict()["leaning"]
    assert "leans" not in format_table(make_prediction(abstain_below=0.54))


def test_a_weak_stretch_is_called_unsure():
    assert "unsure (happy 60%)" in format_vtt(make_prediction(abstain_below=0.61))


def test_table_shows_label_modalities_and_timeline():
    text = format_table(make_prediction())
    assert "->  happy" in text and "weight 70%" in text and "0.0 -   2.4 s  happy 60%" in text


def test_nan_cannot_be_written():
    with pytest.raises(ValueError):
        make_prediction(probabilities=(float("nan"),) * 7).to_json()


def test_vtt_of_a_still_picture_has_no_cues():
    """A cue must end after it starts, and a picture has no time."""
    still = dataclasses.replace(make_prediction(), duration_s=0.0)
    assert format_vtt(still).startswith("WEBVTT") and "-->" not in format_vtt(still)
