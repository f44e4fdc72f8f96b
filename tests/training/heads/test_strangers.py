"""What strangers get is measured with what other corpora teach, and a fusion heeds those who are answered badly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from moodreel.corpora import Sample
from moodreel.labels import EMOTIONS
from moodreel.recognition.fusion import ClipLogits, Fusion
from moodreel.training.calibration.choose import AskedClip
from moodreel.training.heads.judge import choose_fusion
from moodreel.training.heads.strangers import format_strangers, measure_stranger

FUSION = Fusion(1.0, 1.0, 1.0, 1.0, (0.0,), (1.0,), 0.0)
SHOWN = EMOTIONS[:5]


def hear(corpus, n_people=6, clearness=3.0, spread=0.0, seed=0):
    """Five clips of each of five emotions by people whose voices are shifted each in its own way."""
    rng, clips = np.random.default_rng(seed), []
    for person in range(n_people):
        offset = spread * rng.normal(size=7)
        for emotion in SHOWN:
            for number in range(5):
                name = f"{corpus}-{person}-{emotion}-{number}"
                voice = clearness * np.eye(7)[EMOTIONS.index(emotion)] + offset + rng.normal(size=7)
                sample = Sample(Path(name), emotion, f"{corpus}/{person}", name, None, corpus)
                clips.append(AskedClip(sample, ClipLogits(voice=voice, snr_db=30.0)))
    return tuple(clips)


def test_strangers_are_adapted_by_what_other_corpora_teach():
    clips = {name: hear(name, spread=2.0, seed=seed) for seed, name in enumerate(("north", "south"))}
    found = measure_stranger("north", clips, {"north": clips["north"]}, FUSION)
    assert (found.n_clips, found.n_people, found.emotions) == (150, 6, 5)
    assert found.adapted.value > found.uar_shown.value + 0.05 and found.adapted_nll.value < found.nll.value
    assert found.uar_shown.value >= found.uar.value, "fewer emotions to choose from cannot be harder"
    assert found.telephone == found.uar_shown
    assert found.uar.low < found.uar.value < found.uar.high


def test_the_share_of_right_answers_of_some_sixty_percent_is_counted():
    sure = np.log(np.array([0.6, 0.4 / 6, 0.4 / 6, 0.4 / 6, 0.4 / 6, 0.4 / 6, 0.4 / 6]))
    clips = [replace(clip, logits=ClipLogits(voice=sure, snr_db=30.0)) for clip in hear("north")]
    found = measure_stranger("north", {"north": tuple(clips)}, {}, FUSION)
    assert found.n_sure == len(clips) and found.sure.value == pytest.approx(1 / 5), "all are told angry, a fifth are"
    assert found.telephone is None


def test_people_of_one_emotion_are_drawn_from_each_of_theirs():
    clips = {name: hear(name, spread=2.0, seed=seed) for seed, name in enumerate(("north", "south"))}
    found = measure_stranger("north", clips, {}, FUSION)
    assert found.mostly_after.value > found.mostly_before.value - 0.05
    few = tuple(clip for clip in clips["north"] if clip.sample.clip_id.endswith("-0"))
    assert measure_stranger("north", {**clips, "north": few}, {}, FUSION).mostly_before is None
    assert "one emotion in 80 %" in "\n".join(format_strangers({"north": found}))


def test_pictures_are_not_adapted():
    clips = hear("north", spread=2.0)
    pictures = tuple(replace(one, sample=replace(one.sample, path=Path(f"{one.sample.path}.jpg"))) for one in clips)
    found = measure_stranger("north", {"north": pictures, "south": hear("south", seed=1)}, {}, FUSION)
    assert found.adapted is None and found.mostly_after is None and found.uar.value > 1 / 7


def test_a_corpus_that_is_answered_badly_counts_more():
    """One temperature serves all: it must not leave anybody worse off than an answer that knows nothing."""
    easy, hard = hear("easy", clearness=6.0), hear("hard", clearness=0.4, seed=1)
    hard = tuple(replace(c, logits=replace(c.logits, voice=4 * c.logits.voice)) for c in hard)
    alike, tilted = (choose_fusion([easy, hard], [], FUSION, tilt_nats=nats) for nats in (1e3, 0.2))
    assert tilted.voice_temperature > alike.voice_temperature * 1.2

    def cost(fusion):
        answers = np.array([fusion.answer(clip.logits) for clip in hard])
        return -np.log(answers[np.arange(len(hard)), [EMOTIONS.index(c.sample.label) for c in hard]]).mean()

    assert cost(tilted) < cost(alike) and cost(tilted) < np.log(7)


def test_a_voice_that_a_background_drowns_counts_less_beside_a_face():
    rng = np.random.default_rng(3)
    knots = replace(FUSION, voice_trust_db=(0.0, 30.0), voice_trust=(1.0, 1.0))

    def look(clip, drowned):
        shown = EMOTIONS.index(clip.sample.label)
        face = 3 * np.eye(7)[shown] + rng.normal(size=7)
        voice = rng.normal(size=7) if drowned else clip.logits.voice
        return replace(clip, logits=ClipLogits(face=face, voice=voice, snr_db=0.0 if drowned else 30.0))

    clean, covered = ([tuple(look(clip, drowned) for clip in hear("north", 20))] for drowned in (False, True))
    fusion = choose_fusion(clean, covered, knots, tilt_nats=0.5)
    assert fusion.voice_trust[0] < 0.5 and fusion.voice_trust[1] == 1.0
