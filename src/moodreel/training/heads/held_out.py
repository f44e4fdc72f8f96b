"""The last layers fitted on many corpora, and answers that were held out of them.

A network's answer to what it learned from is too sure. So a face is answered by a map that saw nobody's faces of that
fold of people, a voice by a map that heard nothing of that corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold

from moodreel.bundle import Bundle, read_network
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.metrics import make_outcomes, score, to_plain
from moodreel.recognition.fusion import FloatArray, log_softmax
from moodreel.storage.cache import Cache
from moodreel.training.calibration.choose import AskedClip
from moodreel.training.face.ferplus import Faces
from moodreel.training.heads.corpora import HeadsCorpus, SeenCorpus, put_together
from moodreel.training.heads.faces import LabelledFeatures, LinearHead, correct_head, find_head, fit_head, read_faces
from moodreel.training.heads.gate import GatedCorrection, fit_gate
from moodreel.training.heads.recipe import HeadsRecipe
from moodreel.training.heads.voice_head import fit_voice_head
from moodreel.training.heads.voices import VARIANTS, HeardCorpus
from moodreel.training.progress import phase
from moodreel.training.tuned.heads import Correction

FACE_FOLDS = 5

Clips = Mapping[str, tuple[AskedClip, ...]]
"""Held-out answers by corpus."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """New last layers and the answers that were held out of them.

    Attributes:
        face: what is added to the face's logits.
        voice: what is added to the voice's, and where.
        before: answers of the bundle as it was, by corpus.
        after: answers of maps that did not learn from the person, or the corpus.
        covered: the same with the voice under a background.
        telephone: the same with the voice over a telephone line.
    """

    face: Correction
    voice: GatedCorrection
    before: Clips
    after: Clips
    covered: Clips
    telephone: Clips


def fit_heads(
    bundle: Bundle,
    read: Sequence[HeadsCorpus],
    known: Sequence[str],
    train: Faces,
    valid: Faces,
    recipe: HeadsRecipe,
    cache: Cache,
) -> tuple[Fitted, dict[str, Any]]:
    """Fit both maps, and hold out answers.

    Returns:
        The maps and answers, and figures of the face on FER2013's and FER+'s valid faces.
    """
    graph = read_network(bundle.path, bundle.networks["face"])
    side_px = int(bundle.number("face", "side_px", 96, 16, 512))
    with phase("reading FER2013"):
        base = read_faces(graph, train, side_px, recipe.face, recipe.seed, cache)
        tests = read_faces(graph, valid, side_px, recipe.face, recipe.seed, cache)
    head = find_head(graph, base[0].features.shape[1], side_px)
    seen = [corpus.seen for corpus in read if corpus.seen is not None]
    heard = [corpus.heard for corpus in read if corpus.heard is not None]
    with phase("fitting the face's last layer"):
        face = fit_head([*base, *_label(seen, recipe)], head, recipe.face)
        faces = _hold_out_people(base, seen, head, recipe)
    with phase("fitting the voice's last layer"):
        voice = _fit_voice(heard, known, recipe)
        voices = {one.name: _hold_out_corpus(one, heard, known, recipe) for one in heard}
    asis = ({one.name: one.logits for one in seen}, {one.name: one.logits[:, 0].astype(np.float64) for one in heard})
    as_is, *ways = (
        {corpus.name: put_together(corpus, seen_.get(corpus.name), heard_.get(corpus.name), variant) for corpus in read}
        for seen_, heard_, variant in (
            (*asis, CLEAN),
            *((faces, {name: answers[:, variant] for name, answers in voices.items()}, variant) for variant in _WAYS),
        )
    )
    return Fitted(correct_head(face, head), voice, as_is, *ways), _score_faces(tests, head, face)


CLEAN = VARIANTS.index("clean")
_WAYS = (CLEAN, VARIANTS.index("background"), VARIANTS.index("telephone"))


def _label(seen: Sequence[SeenCorpus], recipe: HeadsRecipe) -> list[LabelledFeatures]:
    return [LabelledFeatures(one.features.astype(np.float32), one.labels, recipe.face.corpus) for one in seen]


def _hold_out_people(
    base: Sequence[LabelledFeatures], seen: Sequence[SeenCorpus], head: LinearHead, recipe: HeadsRecipe
) -> dict[str, FloatArray]:
    """Answer each face by a map that learned from no face of that person."""
    if not seen:
        return {}
    answers = {one.name: np.zeros(one.logits.shape) for one in seen}
    folds = {one.name: _deal_people(one) for one in seen}
    for fold in range(FACE_FOLDS):
        rest = [
            LabelledFeatures(given.features[kept], given.labels[kept], given.weight)
            for one, given in zip(seen, _label(seen, recipe), strict=True)
            if (kept := folds[one.name] != fold).any()
        ]
        found = fit_head([*base, *rest], head, recipe.face)
        for one in seen:
            left_out = folds[one.name] == fold
            answers[one.name][left_out] = correct_head(found, head).apply(one.logits[left_out], one.features[left_out])
    return answers


def _deal_people(one: SeenCorpus) -> FloatArray:
    folds = np.zeros(len(one.samples))
    n_folds = min(FACE_FOLDS, len(np.unique(one.people)))
    if n_folds > 1:
        for number, (_, test) in enumerate(GroupKFold(n_folds).split(one.features, one.labels, one.people)):
            folds[test] = number
    return folds


def _fit_voice(heard: Sequence[HeardCorpus], known: Sequence[str], recipe: HeadsRecipe) -> GatedCorrection:
    return GatedCorrection(fit_voice_head(heard, recipe.voice), fit_gate(heard, known, recipe.voice))


def _hold_out_corpus(
    one: HeardCorpus, heard: Sequence[HeardCorpus], known: Sequence[str], recipe: HeadsRecipe
) -> FloatArray:
    """Answer each recording of a corpus, in every variant, by a map and a gate that heard nothing of it."""
    found = _fit_voice([other for other in heard if other.name != one.name], known, recipe)
    n, n_variants, width = one.statistics.shape
    logits, statistics = one.logits.reshape(-1, N_EMOTIONS), one.statistics.reshape(-1, width)
    answers = found.apply(logits.astype(np.float64), statistics.astype(np.float64))
    return answers.reshape(n, n_variants, N_EMOTIONS)


def _score_faces(tests: Sequence[LabelledFeatures], before: LinearHead, after: LinearHead) -> dict[str, Any]:
    rows = {}
    for name, test in zip(("FER2013", "FER+"), tests, strict=True):
        names, emotions = [str(index) for index in range(len(test.labels))], [EMOTIONS[k] for k in test.labels]
        for when, head in (("before", before), ("after", after)):
            answers = np.exp(log_softmax(test.features @ head.weights + head.bias))
            found = score(make_outcomes(names, names, emotions, answers))
            rows[f"{name}, {when}"] = to_plain({"n": len(names), "uar": found.uar, "war": found.war})
    return rows
