"""What a bundle's voice network hears in recordings: as they are, under a background, and through a telephone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnxruntime

from moodreel.corpora import Sample
from moodreel.errors import MediaError
from moodreel.inference import run_network, start_session
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.media.clip import open_clip
from moodreel.media.defence import name_clip
from moodreel.media.stretches import read_stretch
from moodreel.storage.cache import Cache, hash_file, make_key
from moodreel.training.progress import phase
from moodreel.training.voice.augment import call_by_telephone
from moodreel.training.voice.plain_head import BACKGROUNDS
from moodreel.training.voice.scores import mix_background
from moodreel.voice.speech import CHUNK_S, RATE_HZ, extract_speech, pool_windows, trim_silence

logger = logging.getLogger(__name__)

VARIANTS = ("clean", "background", "telephone")
"""Every recording is heard in each of these ways; the first is what answers are measured on."""
_LEAST_S = 0.2
_VERSION = 1

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HeardCorpus:
    """What the voice network says of a corpus's recordings. Those without speech are left out.

    Attributes:
        name: of the corpus.
        samples: the recordings, n of them.
        statistics: float32, shape (n, n_variants, d): what the network's layers give on average over the speech.
        logits: float32, shape (n, n_variants, 7): the network's own answer.
        snr_db: float32, shape (n, n_variants): the ratio of speech to background that it estimates.
    """

    name: str
    samples: tuple[Sample, ...]
    statistics: Float32
    logits: Float32
    snr_db: Float32

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Emotions shown, int64, shape (n,), 0-6."""
        return np.array([EMOTIONS.index(sample.label) for sample in self.samples], np.int64)

    @property
    def speakers(self) -> npt.NDArray[np.str_]:
        """Who speaks, shape (n,)."""
        return np.array([sample.speaker for sample in self.samples])

    def take_variants(self, n: int) -> HeardCorpus:
        """Return the same recordings in the first `n` variants."""
        return replace(self, statistics=self.statistics[:, :n], logits=self.logits[:, :n], snr_db=self.snr_db[:, :n])


def hear_corpus(name: str, graph: bytes, checksum: str, samples: Sequence[Sample], cache: Cache) -> HeardCorpus:
    """Hear a corpus's recordings in every variant, the first 8 s of each; what stands in the cache is not read again.

    Args:
        name: of the corpus.
        graph: the voice network, with `logits`, `snr_db` and `statistics`.
        checksum: sha256 of it.
        samples: the recordings; those that cannot be read or hold no speech are left out and named in the log.
        cache: where answers are kept.
    """
    session = start_session(graph, threads=1)
    width = int(next(one.shape[-1] for one in session.get_outputs() if one.name == "statistics"))
    kept: list[Sample] = []
    found: list[dict[str, npt.NDArray[np.float32]]] = []
    with phase(f"hearing {name}", len(samples)) as show:
        for done, (sample, answers) in enumerate(_hear_all(session, width, checksum, samples, cache), 1):
            if len(answers["logits"]):
                kept.append(sample)
                found.append(answers)
            show(done)
    n = len(VARIANTS)
    shapes = {"statistics": (-1, n, width), "logits": (-1, n, N_EMOTIONS), "snr_db": (-1, n)}
    arrays = {key: np.array([one[key] for one in found], np.float32).reshape(shape) for key, shape in shapes.items()}
    return HeardCorpus(name, tuple(kept), **arrays)


def _hear_all(
    session: onnxruntime.InferenceSession, width: int, checksum: str, samples: Sequence[Sample], cache: Cache
) -> Iterator[tuple[Sample, dict[str, Float32]]]:
    for sample in samples:
        content = (hash_file(sample.path), sample.start_s, sample.end_s)
        key = make_key("voice answers", _VERSION, checksum, VARIANTS, *content)
        answers = cache.read(key)
        if answers is None:
            answers = _hear(session, width, sample, key)
            cache.write(key, answers)
        yield sample, answers


def _hear(session: onnxruntime.InferenceSession, width: int, sample: Sample, key: str) -> dict[str, Float32]:
    """Answers to every variant, or of shape 0 where there is no speech to hear."""
    rng = np.random.default_rng(int(key[:12], 16))
    try:
        with name_clip(sample.path):
            sound = _read_sound(sample)
            rows = [_answer(session, width, _vary(sound, variant, rng)) for variant in VARIANTS]
    except MediaError as error:
        logger.warning("left out %s: %s", sample.clip_id, error)
        rows = [None]
    there = [row for row in rows if row is not None]
    if len(there) < len(rows):  # a voice that the background drowns is left out whole, so that variants stay in step
        there = []
    shapes = {"logits": (N_EMOTIONS,), "snr_db": (), "statistics": (width,)}
    return {
        name: np.array([row[name] for row in there], np.float32).reshape(-1, *shape) for name, shape in shapes.items()
    }


def _read_sound(sample: Sample) -> Float32:
    end_s = float("inf") if sample.end_s is None else sample.end_s
    with open_clip(sample.path) as clip:
        stretch = read_stretch(
            clip, sample.start_s, end_s, longest_side_px=1, frames_rate_hz=0.0, sound_rate_hz=RATE_HZ
        )
    return stretch.sound[: int(CHUNK_S * RATE_HZ)]


def _vary(sound: Float32, variant: str, rng: np.random.Generator) -> Float32:
    if variant == "background" and len(sound):
        return mix_background(sound, BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))], [], rng)
    return call_by_telephone(sound) if variant == "telephone" else sound


def _answer(session: onnxruntime.InferenceSession, width: int, sound: Float32) -> dict[str, Float32] | None:
    """What the network says of a whole sound; `None` where nobody speaks."""
    if len(sound) < _LEAST_S * RATE_HZ:
        return None
    speech = extract_speech(sound)
    if not speech.active.any():
        return None
    mel, weights = trim_silence(speech, pool_windows(speech.active, [(0.0, CHUNK_S)]))
    shapes = {"logits": (1, N_EMOTIONS), "snr_db": (1,), "statistics": (1, width)}
    found = run_network(session, {"mel": mel, "pooling": weights}, shapes)
    return {name: one[0] for name, one in zip(shapes, found, strict=True)}
