"""No speaker stands on two sides, unless asked for by name; then the split says so."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from moodreel.corpora import UNKNOWN_SPEAKER, Sample
from moodreel.corpora.splits import Split, clip_folds, make_split, official_split, speaker_folds, speaker_split
from moodreel.errors import CorpusError
from moodreel.labels import EMOTIONS


def clip(speaker: str, label: str = "angry", take: int = 0, corpus: str = "toy", split: str | None = None) -> Sample:
    name = f"{speaker}-{label}-{take}"
    return Sample(Path(f"{name}.mp4"), label, speaker, name, split, corpus)


def actors(n: int, labels: tuple[str, ...] = EMOTIONS, n_takes: int = 2) -> list[Sample]:
    return [clip(f"{a:02}", label, take) for a in range(1, n + 1) for label in labels for take in range(n_takes)]


def speakers(side: tuple[Sample, ...]) -> set[str]:
    return {sample.speaker for sample in side}


def everything(split: Split) -> list[Sample]:
    return [*split.train, *split.valid, *split.test]


class TestSpeakerFolds:
    def test_twenty_four_actors_in_six_folds_as_in_the_field(self):
        folds = speaker_folds(actors(24), 6)
        assert [sorted(speakers(fold.test)) for fold in folds][:2] == [
            ["01", "02", "03", "04"],
            ["05", "06", "07", "08"],
        ]
        assert all(fold.speaker_independent and not fold.warnings for fold in folds)

    def test_numbers_count_as_numbers(self):
        samples = [clip(name) for name in ("actor10", "actor2", "actor1", "actor9")]
        assert [sorted(speakers(fold.test)) for fold in speaker_folds(samples, 2)] == [
            ["actor1", "actor2"],
            ["actor10", "actor9"],
        ]

    @settings(max_examples=40)
    @given(n_speakers=st.integers(2, 30), n_folds=st.integers(2, 30), seed=st.integers(0, 99))
    def test_every_clip_is_tested_once_by_strangers(self, n_speakers, n_folds, seed):
        samples = actors(n_speakers, n_takes=1)
        random.Random(seed).shuffle(samples)
        if n_folds > n_speakers:
            with pytest.raises(CorpusError, match="folds"):
                speaker_folds(samples, n_folds)
            return
        folds = speaker_folds(samples, n_folds)
        assert sorted(s.clip_id for fold in folds for s in fold.test) == sorted(s.clip_id for s in samples)
        assert all(not speakers(fold.train) & speakers(fold.test) for fold in folds)
        sizes = [len(speakers(fold.test)) for fold in folds]
        assert max(sizes) - min(sizes) <= 1

    def test_a_number_means_another_person_in_another_corpus(self):
        samples = [clip(name, corpus=corpus) for corpus in ("a", "b") for name in ("01", "02")]
        folds = speaker_folds(samples, 4)
        assert [(fold.test[0].corpus, fold.test[0].speaker) for fold in folds][:3] == [
            ("a", "01"),
            ("a", "02"),
            ("b", "01"),
        ]
        assert all(fold.speaker_independent for fold in folds)

    def test_unknown_speakers_are_refused(self):
        with pytest.raises(CorpusError, match=r"speakers of 1 clips unknown.*--speakers or --speakers-csv"):
            speaker_folds([*actors(4), clip(UNKNOWN_SPEAKER)], 2)

    def test_a_class_of_one_speaker_is_refused(self):
        with pytest.raises(CorpusError, match=r"no training clip of fear.*two speakers"):
            speaker_folds([*actors(4, ("angry",)), clip("01", "fear")], 2)

    def test_a_fold_without_a_class_is_warned_of(self):
        samples = [*actors(6, ("angry",)), clip("01", "fear"), clip("03", "fear")]
        folds = speaker_folds(samples, 3)
        assert [fold.warnings for fold in folds] == [(), (), ("no test clip of fear",)]

    @pytest.mark.parametrize("n_folds", [0, 1, 5, -3])
    def test_numbers_of_folds_out_of_range(self, n_folds):
        with pytest.raises(CorpusError, match="folds of 4 speakers"):
            speaker_folds(actors(4), n_folds)

    def test_no_clips(self):
        with pytest.raises(CorpusError, match="no clips"):
            speaker_folds([], 2)


class TestSpeakerSplit:
    def test_the_order_of_the_clips_does_not_matter(self):
        samples = actors(10)
        shuffled = random.Random(1).sample(samples, len(samples))
        assert speakers(speaker_split(samples, seed=3).valid) == speakers(speaker_split(shuffled, seed=3).valid)

    def test_seeds_differ(self):
        assert len({frozenset(speakers(speaker_split(actors(20), seed=seed).valid)) for seed in range(5)}) > 1

    @settings(max_examples=25)
    @given(n_speakers=st.integers(2, 25), share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
    def test_speakers_stand_on_one_side(self, n_speakers, share, seed):
        samples = actors(n_speakers, n_takes=1)
        split = speaker_split(samples, share, seed)
        assert split.train
        assert split.valid
        assert not speakers(split.train) & speakers(split.valid)
        assert len(everything(split)) == len(samples)

    def test_a_rare_class_stays_on_both_sides_where_it_can(self):
        samples = [*actors(20, ("angry", "happy")), clip("04", "fear"), clip("11", "fear")]
        for seed in range(5):
            split = speaker_split(samples, 0.2, seed)
            assert "fear" in {s.label for s in split.train}
            assert "fear" in {s.label for s in split.valid}

    def test_both_genders_are_set_aside(self):
        genders = {f"{a:02}": "female" if a % 2 else "male" for a in range(1, 17)}
        samples = [replace(s, gender=genders[s.speaker]) for s in actors(16)]
        for seed in range(5):
            found = sorted(genders[name] for name in speakers(speaker_split(samples, 0.25, seed).valid))
            assert found == ["female", "female", "male", "male"]

    def test_a_class_of_one_speaker_stays_in_training(self):
        split = speaker_split([*actors(8, ("angry",)), clip("05", "fear")], 0.5)
        assert "05" in speakers(split.train)
        assert split.warnings == ("no valid clip of fear",)

    def test_classes_that_no_choice_can_train(self):
        samples = [clip("01", "angry"), clip("02", "fear")]
        with pytest.raises(CorpusError, match="no training clip of"):
            speaker_split(samples)

    @pytest.mark.parametrize(("n_speakers", "share"), [(1, 0.2), (5, 0.0), (5, 1.0), (5, float("nan"))])
    def test_out_of_range(self, n_speakers, share):
        with pytest.raises(CorpusError, match="cannot set aside"):
            speaker_split(actors(n_speakers), share)


class TestMakeSplit:
    def test_a_speaker_on_both_sides_is_refused_by_name(self):
        with pytest.raises(CorpusError, match=r"more than one side: 01;.*--allow-shared-speakers"):
            make_split("mine", [clip("01", take=1), clip("02")], test=[clip("01", take=2)])

    def test_asked_for_the_split_says_so(self):
        split = make_split(
            "mine", [clip("01", take=1), clip("02")], test=[clip("01", take=2)], allow_shared_speakers=True
        )
        assert split.shared_speakers == ("01",)
        assert not split.speaker_independent
        assert split.warnings[0].startswith("not speaker-independent: 1 speakers")

    def test_validation_counts_as_a_side(self):
        with pytest.raises(CorpusError, match="more than one side"):
            make_split("mine", [clip("02")], valid=[clip("01", take=1)], test=[clip("01", take=2)])

    def test_a_clip_on_two_sides_is_refused_even_when_speakers_may_be_shared(self):
        with pytest.raises(CorpusError, match="stand twice"):
            make_split("mine", [clip("01")], test=[clip("01")], allow_shared_speakers=True)

    def test_nothing_to_train_on(self):
        with pytest.raises(CorpusError, match="no clip to train on"):
            make_split("mine", [], test=[clip("01")])


class TestOfficialSplit:
    def test_taken_as_given(self):
        samples = [clip("a", split="train"), clip("b", split="valid"), clip("c", split="test")]
        split = official_split(samples)
        assert [speakers(side) for side in (split.train, split.valid, split.test)] == [{"a"}, {"b"}, {"c"}]
        assert split.speaker_independent

    def test_unknown_speakers_are_warned_of(self):
        samples = [clip(UNKNOWN_SPEAKER, take=1, split="train"), clip(UNKNOWN_SPEAKER, take=2, split="test")]
        split = official_split(samples)
        assert not split.speaker_independent
        assert "speakers of 2 clips unknown" in split.warnings[0]

    def test_a_film_on_two_sides_is_refused(self):
        samples = [clip("Alien", take=1, split="train"), clip("Alien", take=2, split="valid")]
        with pytest.raises(CorpusError, match="Alien"):
            official_split(samples)
        assert official_split(samples, allow_shared_speakers=True).shared_speakers == ("Alien",)

    def test_clips_without_a_side(self):
        with pytest.raises(CorpusError, match=r"1 of \d+ clips have no split.*--fold"):
            official_split([clip("a", split="train"), clip("b")])


class TestClipFolds:
    def test_refused_unless_asked_for(self):
        with pytest.raises(CorpusError, match="--allow-shared-speakers"):
            clip_folds(actors(3), 3)
        with pytest.raises(CorpusError, match="unknown"):
            clip_folds([replace(s, speaker=UNKNOWN_SPEAKER) for s in actors(3)], 3)

    def test_classes_are_spread_evenly_and_the_split_says_what_it_is(self):
        folds = clip_folds(actors(5), 5, seed=1, allow_shared_speakers=True)
        assert sorted(s.clip_id for fold in folds for s in fold.test) == sorted(s.clip_id for s in actors(5))
        for fold in folds:
            assert {sum(s.label == label for s in fold.test) for label in EMOTIONS} == {2}
            assert fold.shared_speakers
            assert "by clip" in fold.name

    def test_seeded(self):
        first, second, other = (clip_folds(actors(5), 2, s, allow_shared_speakers=True)[0].test for s in (1, 1, 2))
        assert first == second != other
