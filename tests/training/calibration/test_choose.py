"""A calibration is measured on speakers left out, and taken only where it is better there."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from moodreel.corpora import Sample
from moodreel.labels import EMOTIONS
from moodreel.recognition.fusion import ClipLogits, Fusion, log_softmax
from moodreel.recognition.joint_network import JointCalibration
from moodreel.training.calibration.choose import AskedClip, choose_calibration, refit

PRESENT = Fusion(1.0, 1.0, 1.0, 1.0, (0.0, 20.0), (1.0, 1.0), 0.3)


def make_clips(scales, n_each=60, seed=0, joint=False):
    """Clips of as many speakers, whose networks say what is true times the speaker's scale."""
    rng = np.random.default_rng(seed)
    clips = []
    for speaker, scale in enumerate(scales):
        for number in range(n_each):
            face, voice = rng.normal(0, 1.5, (2, 7))
            p = np.exp(log_softmax(face + voice))
            label = EMOTIONS[int((p.cumsum() > rng.random()).argmax())]
            name = f"s{speaker}-{number}"
            sample = Sample(f"{name}.mp4", label, f"s{speaker}", name, None, "made")
            both = ClipLogits(joint=scale * (face + voice)) if joint else None
            clips.append(AskedClip(sample, both or ClipLogits(scale * face, scale * voice, snr_db=15.0)))
    return clips


def choose(clips, present=PRESENT):
    fold_of = {clip.sample.clip_id: int(clip.sample.speaker[1:]) for clip in clips}
    return choose_calibration(clips, fold_of, "folds", present)


def test_networks_that_are_too_sure_are_softened_and_the_gain_is_on_left_out_speakers():
    choice = choose(make_clips([3.0] * 4))
    answer = choice.changes[-1]
    assert choice.taken and choice.values == choice.chosen
    assert [change.kind for change in choice.changes] == ["face", "voice", "answer"]
    assert answer.after.nll.value < answer.before.nll.value - 0.1 and answer.gain.low > 0
    assert answer.after.ece < answer.before.ece
    assert (choice.n_clips, choice.n_speakers) == (240, 4)


def test_what_fits_some_speakers_alone_is_not_taken():
    """Two speakers of whom one needs softer answers, the other sharper: what one chooses is wrong for the other."""
    choice = choose(make_clips([4.0, 0.3], n_each=100))
    assert choice.changes[-1].gain.value < 0
    assert not choice.taken and choice.values == PRESENT


def test_a_clip_has_no_part_in_what_it_is_answered_with():
    """Were its own speaker among those chosen on, the too sure one of three would be softened for itself."""
    clips = make_clips([1.0, 1.0, 8.0], n_each=200)
    others = refit([clip for clip in clips if clip.sample.speaker != "s2"], PRESENT)
    own = [clip for clip in clips if clip.sample.speaker == "s2"]
    alone = choose_calibration(clips, {c.sample.clip_id: int(c.sample.speaker[1:]) for c in clips}, "", PRESENT)
    expected = [-np.log(others.answer(c.logits)[EMOTIONS.index(c.sample.label)]) for c in own]
    everyone = refit(clips, PRESENT)
    softened = [-np.log(everyone.answer(c.logits)[EMOTIONS.index(c.sample.label)]) for c in own]
    assert np.mean(softened) < np.mean(expected) - 0.2
    assert alone.changes[-1].after.nll.value > np.mean(expected) / 3


def test_few_clips_move_little():
    many, few = (refit(make_clips([3.0] * 4, n_each=n), PRESENT) for n in (250, 5))
    assert abs(few.face_temperature - 1) < abs(many.face_temperature - 1)


def test_temperature_and_abstention_of_a_joint_network():
    present = JointCalibration()
    choice = choose(make_clips([3.0] * 4, n_each=150, joint=True), present)
    assert choice.taken and [change.kind for change in choice.changes] == ["answer"]
    assert choice.chosen.temperature == pytest.approx(3.0, rel=0.15)
    assert 0.2 < choice.chosen.abstain_below < 0.6
    assert refit([], present) == present
