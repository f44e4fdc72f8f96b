"""Prediction: JSON against its schema, CSV and WebVTT."""

import csv
import dataclasses
import io
import json
from importlib import resources

import jsonschema
import pytest
from hypothesis import given, strategies as st

from moodreel.labels import EMOTIONS
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
    join_windows,
)

SCHEMA = json.loads(resources.files("moodreel").joinpath("prediction.schema.json").read_text())
HAPPY = (0.05, 0.05, 0.05, 0.6, 0.15, 0.05, 0.05)
SAD = (0.05, 0.05, 0.05, 0.05, 0.15, 0.6, 0.05)


def make_prediction(**changes) -> Prediction:
    windows = (
        Window(0.0, 2.0, "happy", HAPPY, face=HAPPY, voice=None),
        Window(1.0, 3.0, "happy", HAPPY, face=None, voice=HAPPY),
        Window(2.0, 3.5, "sad", SAD, face=SAD, voice=SAD),
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
    assert "00:00:00.000 --> 00:00:02.000\nhappy 60%" in text
    assert "00:00:02.000 --> 00:00:03.500\nsad 60%" in text


def test_join_windows_leaves_gaps_where_nothing_is_known():
    windows = (
        Window(0, 2, "sad", SAD),
        Window(1, 3, None, UNIFORM),
        Window(2, 4, "sad", SAD),
    )
    assert [(one.start_s, one.end_s) for one in join_windows(windows)] == [(0, 1), (2, 4)]


def test_table_shows_label_modalities_and_timeline():
    text = format_table(make_prediction())
    assert "->  happy" in text and "weight 70%" in text and "0.0 -   2.0 s  happy 60%" in text


def test_nan_cannot_be_written():
    with pytest.raises(ValueError):
        make_prediction(probabilities=(float("nan"),) * 7).to_json()


def test_vtt_of_a_still_picture_has_no_cues():
    """A cue must end after it starts, and a picture has no time."""
    still = dataclasses.replace(make_prediction(), duration_s=0.0)
    assert format_vtt(still).startswith("WEBVTT") and "-->" not in format_vtt(still)
