"""What `moodreel calibrate` learns of people, and that it is measured on people left out."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from moodreel.corpora import Sample
from moodreel.labels import EMOTIONS
from moodreel.recognition.adaptation import NO_ADAPTER, read_adapter
from moodreel.recognition.fusion import ClipLogits, Fusion
from moodreel.training.calibration.calibrate import describe_adapter
from moodreel.training.calibration.choose import AskedClip
from moodreel.training.calibration.offsets import learn_adapter, measure_adapter

FUSION = Fusion(1.0, 1.0, 1.0, 1.0, (0.0,), (1.0,), 0.0)


def ask(n_people, spread, n_emotions=6, seed=0):
    """Three clips of each emotion by people whose faces and voices are shifted each in its own way."""
    rng, clips = np.random.default_rng(seed), []
    for person in range(n_people):
        face_offset, voice_offset = spread * rng.normal(size=(2, 7))
        for emotion in EMOTIONS[:n_emotions]:
            for number in range(3):
                name = f"p{person}-{emotion}-{number}"
                own = 2.0 * np.eye(7)[EMOTIONS.index(emotion)]
                face, voice = (own + offset + 0.3 * rng.normal(size=7) for offset in (face_offset, voice_offset))
                sample = Sample(Path(name), emotion, f"p{person}", name, None, "made")
                clips.append(AskedClip(sample, ClipLogits(face=face, voice=voice, snr_db=30.0)))
    return clips


def test_people_who_look_otherwise_are_worth_adapting_to():
    clips = ask(12, spread=1.5)
    adapted = measure_adapter(clips, FUSION)
    assert (adapted.n_clips, adapted.n_people) == (12 * 6 * 3, 12)
    assert adapted.uar_after.value > adapted.uar_before.value + 0.1
    assert adapted.nll_after < adapted.nll_before - 0.2
    section = describe_adapter(learn_adapter(clips, FUSION), adapted, "made")
    assert "made: 12 people" in section["learnt_on"]
    found = read_adapter(section)
    assert np.trace(found.face.person) > np.trace(found.face.within)


def test_people_who_look_alike_are_left_as_they_are():
    adapted = measure_adapter(ask(12, spread=0.0), FUSION)
    assert adapted.nll_after == pytest.approx(adapted.nll_before, abs=0.02)


def test_too_few_people_or_emotions_teach_nothing():
    assert measure_adapter(ask(1, spread=1.0), FUSION) is None
    assert measure_adapter(ask(5, spread=1.0, n_emotions=3), FUSION) is None
    assert learn_adapter(ask(5, spread=1.0, n_emotions=3), FUSION) == NO_ADAPTER
    assert describe_adapter(NO_ADAPTER, None, "made") is None
