"""A corpus's own classes become emotions as the user says; nothing is guessed, and hints are right."""

import pytest

from moodreel.errors import CorpusError
from moodreel.labels import explain_unknown, read_class_map


def test_a_map_takes_any_name_of_an_emotion_in_any_case():
    assert read_class_map(["Joyful=Happiness", "bored=neutral"], ["Contempt"]) == {
        "joyful": "happy",
        "bored": "neutral",
        "contempt": "ignore",
    }


@pytest.mark.parametrize(
    ("mapped", "ignored", "message"),
    [
        (["joyful"], [], "expected CLASS=EMOTION"),
        (["joyful="], [], "expected CLASS=EMOTION"),
        (["=happy"], [], "expected CLASS=EMOTION"),
        (["joyful=glad"], [], "--map joyful=glad: unknown emotion 'glad'.*surprise, or ignore"),
        (["a=happy", "a=sad"], [], "'a' is happy already"),
        (["a=happy"], ["A"], "'a' is happy already"),
        ([], ["a=b"], "--ignore a=b"),
        ([], [" "], "--ignore"),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused(mapped, ignored, message):
    with pytest.raises(CorpusError, match=message):
        read_class_map(mapped, ignored)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("scared", "--map scared=fear"),
        ("joyful", "--map joyful=happy"),
        ("contempt", "--ignore contempt"),
        ("hapy", "did you mean 'happy'?; say what it is: --map hapy=happy"),
        ("bad", "--map bad=EMOTION or --ignore bad"),
        ("very odd", "--map 'very odd=EMOTION' or --ignore 'very odd'"),
        ("bored", "--map bored=neutral ('bored': none of the seven, neutral is the nearest)"),
    ],
)
def test_hints_name_what_the_word_means_and_not_what_it_looks_like(name, hint):
    """`scared` was once answered by "did you mean 'sad'?"."""
    said = explain_unknown([name])
    assert hint in said and "\n" not in said
    assert name == "hapy" or "did you mean" not in said


def test_all_unknown_classes_are_told_in_one_line():
    said = explain_unknown(["joyful", "bored", "contempt"])
    assert said.startswith("unknown class 'joyful', 'bored', 'contempt', expected one of angry, disgust")
    assert "--map joyful=happy --map bored=neutral --ignore contempt" in said
