"""Speaker-independent splits: no speaker of the test clips is heard or seen in training.

Random splits of acted corpora score far higher than unseen speakers do, because a network learns to know the actors.
Every split is made by `make_split`, which refuses a speaker on two sides unless asked for by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moodreel.corpora import UNKNOWN_SPEAKER, Sample, natural_key
from moodreel.corpora.balance import balance
from moodreel.errors import CorpusError

N_DRAWS = 256
"""How many random choices of held-out speakers `speaker_split` weighs against each other."""


@dataclass(frozen=True)
class Split:
    """Clips parted for training, for choosing a network, and for the figure that is quoted.

    Attributes:
        name: how the split was made, as it stands in reports.
        train: clips to train on; never empty.
        valid: clips for early stopping and choices; may be empty.
        test: clips never looked at before the end; may be empty.
        shared_speakers: speakers that stand on more than one side; empty unless asked for.
        warnings: what a reader of the figures must know, one line each.
    """

    name: str
    train: tuple[Sample, ...]
    valid: tuple[Sample, ...]
    test: tuple[Sample, ...]
    shared_speakers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def speaker_independent(self) -> bool:
        """Whether every speaker is known and stands on one side only."""
        known = all(s.speaker != UNKNOWN_SPEAKER for side in (self.train, self.valid, self.test) for s in side)
        return known and not self.shared_speakers


def make_split(
    name: str,
    train: Iterable[Sample],
    valid: Iterable[Sample] = (),
    test: Iterable[Sample] = (),
    *,
    allow_shared_speakers: bool = False,
) -> Split:
    """Put a split together and check it.

    Args:
        name: how it was made.
        train: clips to train on.
        valid: clips to choose by.
        test: clips to quote figures on.
        allow_shared_speakers: accept speakers on several sides; the split then says so.

    Returns:
        The split, with warnings about classes that a side lacks, unknown speakers and shared speakers.

    Raises:
        CorpusError: no training clip, a clip on two sides, a speaker on two sides without leave, or a class that is
            tested and never trained.
    """
    sides = {"train": tuple(train), "valid": tuple(valid), "test": tuple(test)}
    if not sides["train"]:
        raise CorpusError(f"{name}: no clip to train on")
    _check_clips(name, sides)
    shared = _find_shared_speakers(sides)
    if shared and not allow_shared_speakers:
        message = (
            f"{name}: speakers on more than one side: {_shorten(shared)}; figures would tell of known speakers only"
        )
        raise CorpusError(f"{message}; split by speaker, or pass --allow-shared-speakers")
    warnings = _warn_speakers(sides, shared) + _warn_classes(name, sides)
    return Split(name, **sides, shared_speakers=shared, warnings=warnings)


def _check_clips(name: str, sides: dict[str, tuple[Sample, ...]]) -> None:
    counts = Counter((sample.corpus, sample.clip_id) for side in sides.values() for sample in side)
    repeated = [clip_id for (_, clip_id), count in counts.items() if count > 1]
    if repeated:
        raise CorpusError(f"{name}: clips that stand twice in the split: {_shorten(repeated)}")


def _find_shared_speakers(sides: dict[str, tuple[Sample, ...]]) -> tuple[str, ...]:
    counts = Counter(speaker for side in sides.values() for speaker in {_speaker_key(s) for s in side})
    shared = {speaker for (_, speaker), count in counts.items() if count > 1 and speaker != UNKNOWN_SPEAKER}
    return tuple(sorted(shared, key=natural_key))


def _speaker_key(sample: Sample) -> tuple[str, str]:
    """Speaker `01` of one corpus is not speaker `01` of another."""
    return sample.corpus, sample.speaker


def _warn_speakers(sides: dict[str, tuple[Sample, ...]], shared: tuple[str, ...]) -> tuple[str, ...]:
    warnings = []
    if shared:
        warnings.append(f"not speaker-independent: {len(shared)} speakers on more than one side ({_shorten(shared)})")
    n_unknown = sum(sample.speaker == UNKNOWN_SPEAKER for side in sides.values() for sample in side)
    if n_unknown:
        warnings.append(f"speakers of {n_unknown} clips unknown: speaker independence cannot be checked")
    return tuple(warnings)


def _warn_classes(name: str, sides: dict[str, tuple[Sample, ...]]) -> tuple[str, ...]:
    present = {side: {sample.label for sample in samples} for side, samples in sides.items()}
    untrained = sorted((present["valid"] | present["test"]) - present["train"])
    if untrained:
        message = f"{name}: no training clip of {', '.join(untrained)}, which the other sides hold"
        raise CorpusError(
            f"{message}; a class needs two speakers or more: add speakers, or leave the class out "
            f"({' '.join(f'--ignore {label}' for label in untrained)})"
        )
    missing = {side: sorted(present["train"] - present[side]) for side in ("valid", "test") if sides[side]}
    return tuple(f"no {side} clip of {', '.join(labels)}" for side, labels in missing.items() if labels)


def _shorten(names: Sequence[str], n_shown: int = 5) -> str:
    more = f" and {len(names) - n_shown} more" if len(names) > n_shown else ""
    return ", ".join(names[:n_shown]) + more


def speaker_folds(samples: Sequence[Sample], n_folds: int) -> tuple[Split, ...]:
    """Part clips into folds of unseen speakers that hold about as many clips, of each class too.

    Speakers are sorted, numbers counted as numbers, and taken in consecutive groups of as equal size as can be: of 24
    actors in 6 folds, fold 1 tests actors 01 to 04. Where other groups are nearer to equal parts of every class, as
    among speakers of unequal numbers of clips, speakers change places. Nothing is random.

    Args:
        samples: the clips, every speaker known.
        n_folds: how many folds, 2 or more and no more than there are speakers.

    Returns:
        One split per fold; `test` holds its group of speakers, `train` all others, `valid` nothing (see
        `speaker_split`).

    Raises:
        CorpusError: unknown speakers, too few speakers or folds, or a class that only one fold's speakers show.
    """
    _check_known(samples)
    speakers = sorted({_speaker_key(sample) for sample in samples}, key=lambda key: (key[0], natural_key(key[1])))
    if not 2 <= n_folds <= len(speakers):
        raise CorpusError(
            f"{n_folds} folds of {len(speakers)} speakers: need from 2 folds to one fold per speaker; "
            f"{_offer_fewer(len(speakers))}"
        )
    fold_of = balance(_count_groups(samples, speakers, [sample.label for sample in samples]), n_folds)
    groups = [{speakers[row] for row in np.flatnonzero(fold_of == fold)} for fold in range(n_folds)]
    return tuple(_hold_out(samples, group, f"fold {k} of {n_folds}, by speaker") for k, group in enumerate(groups, 1))


def _offer_fewer(n_speakers: int) -> str:
    others = "add clips of other speakers, or split by clip with --allow-shared-speakers"
    if n_speakers < 2:
        return f"tell speakers apart with --speakers or --speakers-csv, {others}"
    return f"ask for fewer (train: --set folds={n_speakers}, calibrate: --folds {n_speakers}), {others}"


def _hold_out(samples: Sequence[Sample], speakers: set[tuple[str, str]], name: str) -> Split:
    test = [sample for sample in samples if _speaker_key(sample) in speakers]
    train = [sample for sample in samples if _speaker_key(sample) not in speakers]
    return make_split(name, train, test=test)


def _check_known(samples: Sequence[Sample]) -> None:
    if not samples:
        raise CorpusError("no clips to split")
    unknown = [sample.clip_id for sample in samples if sample.speaker == UNKNOWN_SPEAKER]
    if unknown:
        message = f"speakers of {len(unknown)} clips unknown ({_shorten(unknown, 2)})"
        raise CorpusError(
            f"{message}; name them with --speakers or --speakers-csv, or split by clip with --allow-shared-speakers"
        )


def speaker_split(samples: Sequence[Sample], valid_share: float = 0.2, seed: int = 0) -> Split:
    """Set some speakers aside for validation.

    Of many seeded random choices of speakers, the one is taken whose clips come nearest to `valid_share` of every
    class, and of either gender where the corpus tells it, while every class stays in training.

    Args:
        samples: the clips, every speaker known, at least two speakers.
        valid_share: part of the speakers to set aside, between 0 and 1; at least one and not all are.
        seed: the same seed and speakers give the same choice, whatever the order of the clips.

    Returns:
        A split with `train` and `valid`, `test` empty.

    Raises:
        CorpusError: unknown speakers, one speaker only, a share out of range, or no choice that leaves every class in
            training.
    """
    _check_known(samples)
    speakers = sorted({_speaker_key(sample) for sample in samples}, key=lambda key: (key[0], natural_key(key[1])))
    if len(speakers) < 2 or not 0 < valid_share < 1:
        raise CorpusError(
            f"cannot set aside {valid_share:g} of {len(speakers)} speakers: need 2 and a share within 0-1; "
            "learn from all with --set valid_share=0, or name more speakers with --speakers or --speakers-csv"
        )
    n_valid = min(max(round(valid_share * len(speakers)), 1), len(speakers) - 1)
    groups = ([sample.label for sample in samples], [sample.gender or "" for sample in samples])
    counts = [_count_groups(samples, speakers, names) for names in groups]
    held_out = _draw_speakers(counts[0], counts[1], n_valid, valid_share, seed)
    valid_speakers = {speakers[index] for index in held_out}
    train = [sample for sample in samples if _speaker_key(sample) not in valid_speakers]
    valid = [sample for sample in samples if _speaker_key(sample) in valid_speakers]
    return make_split(f"{n_valid} of {len(speakers)} speakers set aside, seed {seed}", train, valid)


def _count_groups(
    samples: Sequence[Sample], speakers: Sequence[tuple[str, str]], groups: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Count clips by speaker and by group, such as the label; shape (n_speakers, n_groups)."""
    rows = {speaker: row for row, speaker in enumerate(speakers)}
    columns = {group: column for column, group in enumerate(sorted(set(groups)))}
    counts = np.zeros((len(rows), len(columns)), dtype=np.int64)
    for sample, group in zip(samples, groups, strict=True):
        counts[rows[_speaker_key(sample)], columns[group]] += 1
    return counts


def _draw_speakers(
    classes: npt.NDArray[np.int64], genders: npt.NDArray[np.int64], n_valid: int, share: float, seed: int
) -> npt.NDArray[np.int64]:
    """Choose rows; what counts is first classes left to train, then classes set aside, then the shares."""
    draws = np.argsort(np.random.default_rng(seed).random((N_DRAWS, len(classes))), axis=1)[:, :n_valid]
    held_out, total = classes[draws].sum(axis=1), classes.sum(axis=0)
    untrained = (held_out == total).sum(axis=1)
    absent = (held_out == 0).sum(axis=1)
    misfit = _misfit(classes, draws, share) + _misfit(genders, draws, share)
    best: npt.NDArray[np.int64] = draws[np.lexsort((misfit, absent, untrained))[0]]
    return best


def _misfit(counts: npt.NDArray[np.int64], draws: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.float64]:
    """Measure how far each draw is from the wanted share of every column, shape (n_draws,)."""
    total = counts.sum(axis=0)
    distance: npt.NDArray[np.float64] = np.abs(counts[draws].sum(axis=1) - share * total).sum(axis=1) / total.sum()
    return distance.round(9)


def official_split(samples: Sequence[Sample], *, allow_shared_speakers: bool = False) -> Split:
    """Take the split that the corpus itself gives.

    Args:
        samples: the clips, `Sample.split` set.
        allow_shared_speakers: accept speakers or films on several sides; the split then says so.

    Returns:
        The split as given; unknown speakers are no error here, and a warning says that they could not be checked.

    Raises:
        CorpusError: a clip without a side, no training clip, or a speaker on two sides without leave.
    """
    without = [sample.clip_id for sample in samples if sample.split is None]
    if without or not samples:
        # Were they learned from, or the split passed over, the corpus's own test clips would be trained on unnoticed.
        raise CorpusError(
            f"{len(without)} of {len(samples)} clips have no split ({_shorten(without, 2)}): fill it in for all "
            "(train, valid, test), take those clips out, or ask for folds of speakers with --fold"
        )
    sides = {side: [s for s in samples if s.split == side] for side in ("train", "valid", "test")}
    return make_split("the corpus's own split", **sides, allow_shared_speakers=allow_shared_speakers)


def clip_folds(
    samples: Sequence[Sample], n_folds: int, seed: int = 0, *, allow_shared_speakers: bool = False
) -> tuple[Split, ...]:
    """Part clips into random folds, each class spread evenly, blind to who speaks.

    Args:
        samples: the clips.
        n_folds: how many folds, 2 or more and no more than there are clips.
        seed: of the shuffle; the same seed and clips give the same folds.
        allow_shared_speakers: must be `True` where speakers are unknown or stand in several folds; the splits say so.

    Returns:
        One split per fold: `test` and `train`.

    Raises:
        CorpusError: too few clips, or speakers shared or unknown without leave.
    """
    if not allow_shared_speakers:
        _check_known(samples)
    if not 2 <= n_folds <= len(samples):
        raise CorpusError(f"{n_folds} folds of {len(samples)} clips: need from 2 folds to one fold per clip")
    fold_of = _deal_clips(samples, n_folds, seed)
    return tuple(
        make_split(
            f"fold {k + 1} of {n_folds}, by clip, seed {seed}",
            [s for s in samples if fold_of[(s.corpus, s.clip_id)] != k],
            test=[s for s in samples if fold_of[(s.corpus, s.clip_id)] == k],
            allow_shared_speakers=allow_shared_speakers,
        )
        for k in range(n_folds)
    )


def _deal_clips(samples: Sequence[Sample], n_folds: int, seed: int) -> dict[tuple[str, str], int]:
    """Deal shuffled clips out like cards, class after class."""
    clips = sorted((s.label, s.corpus, s.clip_id) for s in samples)
    order = np.random.default_rng(seed).permutation(len(clips))
    dealt = sorted((clips[i][0], position, i) for position, i in enumerate(order))
    return {clips[i][1:]: card % n_folds for card, (_, _, i) in enumerate(dealt)}
