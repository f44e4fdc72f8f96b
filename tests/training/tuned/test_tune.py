"""A bundle tuned to clips: what is learned, on whom it is judged, and when it is taken."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from moodreel.corpora import Sample
from moodreel.labels import EMOTIONS
from moodreel.recognition.fusion import ClipLogits, Fusion
from moodreel.recognition.late_fusion import Description
from moodreel.training.tuned import tune as tuning
from moodreel.training.tuned.clips import TunedClip
from moodreel.training.tuned.tune import answer_as_is, judge, tune

FUSION = Fusion(2.0, 1.5, 1.0, 1.0, (0.0,), (1.0,), 0.3)
CENTRES = np.random.default_rng(9).normal(size=(7, 10))


def make_clips(n_speakers=4, telling=True, modalities=("face", "voice"), seed=0):
    """Clips of networks that know nothing, on features that tell the emotion, or do not."""
    rng, clips = np.random.default_rng(seed), []
    for speaker in range(n_speakers):
        for number in range(4):
            for index, emotion in enumerate(EMOTIONS):
                name = f"s{speaker}-{emotion}-{number}"
                centre = 2 * CENTRES[index] if telling else np.zeros(10)
                seen = {one: centre + rng.normal(size=10) for one in modalities}
                said = {one: rng.normal(size=7) for one in modalities}
                logits = ClipLogits(**said, snr_db=30.0 if "voice" in modalities else None)
                sample = Sample(Path(name), emotion, f"s{speaker}", name, None, "made")
                clips.append(TunedClip(sample, Description(logits, seen.get("face"), seen.get("voice"))))
    return clips


def speakers_of(clips):
    return [clip.sample.speaker for clip in clips]


def share_right(clips, answers):
    return float((np.array(answers).argmax(axis=1) == [clip.label for clip in clips]).mean())


def test_features_that_tell_are_learned_and_help_strangers():
    clips, strangers = make_clips(), make_clips(2, seed=1)
    tuned = tune(clips, speakers_of(clips), FUSION, "heads")
    assert set(tuned.maps) == {"face", "voice"}
    assert share_right(strangers, answer_as_is(strangers, FUSION)) < 0.4
    assert share_right(strangers, [tuned.answer(clip) for clip in strangers]) > 0.9
    judged = judge(clips, speakers_of(clips), FUSION, "heads")
    assert judged.is_better and judged.folds == "4 folds" and judged.nll_gain.low > 0


def test_features_that_tell_nothing_are_no_better_and_that_is_seen():
    clips = make_clips(telling=False)
    judged = judge(clips, speakers_of(clips), FUSION, "heads")
    assert judged.gain.uar.value < 0.1, "left-out speakers must not look better than they are"


def test_the_level_fusion_touches_no_network():
    clips = make_clips()
    tuned = tune(clips, speakers_of(clips), FUSION, "fusion")
    assert tuned.maps == {} and tuned.pulls == {"face": None, "voice": None}
    assert tuned.fusion.voice_bias != FUSION.voice_bias and tuned.fusion.face_temperature != FUSION.face_temperature


def test_a_clip_is_judged_by_what_others_taught(monkeypatch):
    clips, taught = make_clips(), []
    real = tuning.tune

    def note(clips, *rest):
        taught.append({clip.sample.speaker for clip in clips})
        return real(clips, *rest)

    monkeypatch.setattr(tuning, "tune", note)
    judge(clips, speakers_of(clips), FUSION, "fusion")
    assert sorted(map(len, taught)) == [3, 3, 3, 3] and len(set(map(frozenset, taught))) == 4


def test_what_the_calibration_is_chosen_on_is_left_out_of_the_heads():
    """Labels drawn at random: heads fitted on a clip would name its emotion, those of the other folds cannot."""
    clips = make_clips(telling=False)
    tuned = tune(clips, speakers_of(clips), FUSION, "heads")
    answers = [np.exp(FUSION.voice_log_probabilities(one.logits.voice)) for one in tuned.left_out]
    assert share_right(clips, answers) < 0.35


@pytest.mark.parametrize("modality", ["face", "voice"])
def test_one_modality_is_enough(modality):
    clips = make_clips(modalities=(modality,))
    tuned = tune(clips, speakers_of(clips), FUSION, "heads")
    assert set(tuned.corrections) == {modality}
    assert share_right(clips, [tuned.answer(clip) for clip in clips]) > 0.9


def test_one_speaker_is_learned_with_a_pull_that_nobody_chose():
    clips = make_clips(1)
    tuned = tune(clips, speakers_of(clips), FUSION, "heads")
    assert set(tuned.pulls.values()) == {tuning.LONE_PULL}
