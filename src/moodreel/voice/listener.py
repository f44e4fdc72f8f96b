"""The voice over time: blocks of sound in, the voice network's answer for each utterance and window out.

Sound is taken in chunks of at most 8 s that overlap by 2 s, so that any length of sound needs the memory of one chunk.
The network runs once per chunk; its tokens are pooled for every window of the timeline and for the chunk's own part
("utterance"), over speech alone. Loud sound that is plainly no speech gets no answer from the network, which would name
an emotion for a hum; nor does what the bundle's sound network, if it has one, takes for laughter, music and the like.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moodreel.inference import output_width, run_network
from moodreel.labels import N_EMOTIONS
from moodreel.media.sounds import Sound
from moodreel.timeline import HOP_S, TAIL_S, WINDOW_S
from moodreel.voice.sounds import SoundNetwork
from moodreel.voice.speech import CHUNK_S, RATE_HZ, Pooling, Speech, extract_speech, pool_windows, trim_silence
from moodreel.voice.speech_signs import Signs, holds_speech, measure_signs

if TYPE_CHECKING:
    import onnxruntime

ADVANCE_S = 6.0
"""Seconds between the starts of two chunks: chunk length less one window."""
MIN_CHUNK_S = 0.1
"""Sound shorter than this holds no syllable."""
LEAST_HEARD_S = 0.2
"""Windows with less sound than this are too short for the sound network to refuse them."""

MOST_KEPT_CHUNKS = 16
"""So many chunks of a clip are kept for training as the network was given them, 4 MB."""

assert ADVANCE_S + WINDOW_S <= CHUNK_S and ADVANCE_S % HOP_S == 0, "every window must lie inside one chunk"

Span = tuple[float, float]
_INNER_WINDOWS_S = [(index * HOP_S, index * HOP_S + WINDOW_S) for index in range(int(ADVANCE_S / HOP_S))]


@dataclass(frozen=True, eq=False)
class Heard:
    """What the voice network was given of a stretch.

    Attributes:
        mel: log-mel spectrum of its chunk, float32, shape (80, n_frames).
        pooling: weights of the chunk's tokens, float32, shape (n_frames / 2,).
    """

    mel: npt.NDArray[np.float32]
    pooling: npt.NDArray[np.float32]


@dataclass(frozen=True)
class VoiceWindow:
    """What the voice network says of a stretch of sound.

    Attributes:
        start_s: start in seconds from the clip's beginning.
        end_s: end in seconds.
        speech_s: seconds of speech that the answer rests on, above 0.
        logits: float32, shape (7,), uncalibrated, in the order of `EMOTIONS`.
        snr_db: speech-to-background ratio in dB that the network estimates.
        statistics: float32, shape (d,), what other networks build on; d is 0 unless they were asked for.
        speech: how likely it is speech that sounds there, above 0, at most 1.
        heard: what the network was given, if that was asked for; `None` behind the first chunks of a long clip.
    """

    start_s: float
    end_s: float
    speech_s: float
    logits: npt.NDArray[np.float32]
    snr_db: float
    statistics: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    speech: float = 1.0
    heard: Heard | None = None

    @property
    def weight(self) -> float:
        """What the window counts for beside others: its seconds of speech, as far as they are speech."""
        return self.speech_s * self.speech


@dataclass(frozen=True)
class SoundWindow:
    """What sounds in a window of the timeline.

    Attributes:
        start_s: start in seconds from the clip's beginning.
        sounds: probability by name of the sound, summing to 1.
    """

    start_s: float
    sounds: Mapping[str, float]


@dataclass(frozen=True)
class Voice:
    """The voice of a whole clip.

    Attributes:
        heard_s: seconds of sound, silence included.
        is_silent: whether nothing was loud enough to be speech.
        utterances: consecutive parts of the sound that hold speech; they do not overlap.
        windows: the windows of the timeline that hold speech, in order.
        sounds: those in which anything sounds; none where the bundle has no sound network.
    """

    heard_s: float
    is_silent: bool
    utterances: tuple[VoiceWindow, ...]
    windows: tuple[VoiceWindow, ...]
    sounds: tuple[SoundWindow, ...] = ()


@dataclass
class VoiceListener:
    """Takes a clip's sound block by block.

    Attributes:
        session: the opened voice network: `mel`, `pooling` -> `logits`, `snr_db`, `statistics`.
        network: the opened sound network; `None` where the bundle has none.
        describes: whether the statistics are kept too, and what the network was given, as training wants them.
    """

    session: onnxruntime.InferenceSession
    network: SoundNetwork | None = None
    describes: bool = False
    _buffer: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32), init=False)
    _chunk_start_s: float = field(default=0.0, init=False)
    _started: bool = field(default=False, init=False)
    _is_silent: bool = field(default=True, init=False)
    _n_kept_chunks: int = field(default=0, init=False)
    _utterances: list[VoiceWindow] = field(default_factory=list, init=False)
    _windows: list[VoiceWindow] = field(default_factory=list, init=False)
    _sounds: list[SoundWindow] = field(default_factory=list, init=False)

    def listen(self, sound: Sound) -> None:
        """Take the next block.

        Args:
            sound: mono at 16 kHz, following the block before without a gap; before the first block it was silent.
        """
        if not self._started:
            self._started = True
            n_missing = round(max(sound.start_s, 0.0) * RATE_HZ)
            while n_missing > 0:
                self._append(np.zeros(min(n_missing, RATE_HZ), np.float32))
                n_missing -= RATE_HZ
        self._append(sound.samples)

    def _append(self, samples: npt.NDArray[np.float32]) -> None:
        self._buffer = np.concatenate([self._buffer, samples])
        while len(self._buffer) > CHUNK_S * RATE_HZ:
            self._read_chunk(self._buffer[: int(CHUNK_S * RATE_HZ)], _INNER_WINDOWS_S, own_s=ADVANCE_S)
            self._buffer = self._buffer[int(ADVANCE_S * RATE_HZ) :]
            self._chunk_start_s += ADVANCE_S

    def finish(self) -> Voice:
        """Read what is left and return the whole voice."""
        left_s = len(self._buffer) / RATE_HZ
        if left_s >= MIN_CHUNK_S:
            self._read_chunk(self._buffer, place_windows(left_s), own_s=left_s)
        return Voice(
            heard_s=self._chunk_start_s + left_s,
            is_silent=self._is_silent,
            utterances=tuple(self._utterances),
            windows=tuple(self._windows),
            sounds=tuple(self._sounds),
        )

    def _read_chunk(self, samples: npt.NDArray[np.float32], windows_s: Sequence[Span], own_s: float) -> None:
        speech = extract_speech(samples)
        if not speech.active.any():
            return
        self._is_silent = False
        times = [(0.0, own_s), *windows_s]
        whole, *signs = measure_signs(speech, times)
        may_speak = holds_speech(whole, signs)
        if not may_speak and self.network is None:
            return
        utterance, *windows = self._run(speech, times)
        if may_speak:
            spoken = [one for one, sign in zip(windows, signs, strict=True) if self._is_spoken(one, sign)]
            self._windows.extend(spoken)
            self._utterances.extend(self._find_utterances(utterance, windows, spoken))

    def _is_spoken(self, window: VoiceWindow, signs: Signs) -> bool:
        if self.network is not None and window.speech_s >= LEAST_HEARD_S and window.speech < self.network.speech_above:
            return False
        return window.speech_s > 0 and not signs.refuse

    def _find_utterances(
        self, whole: VoiceWindow, windows: Sequence[VoiceWindow], spoken: Sequence[VoiceWindow]
    ) -> list[VoiceWindow]:
        """Return a chunk's own part; where something else sounds in it too, those of its windows that hold speech."""
        if self.network is None or len(spoken) == sum(window.speech_s > 0 for window in windows):
            return [whole] if whole.speech_s > 0 else []
        apart: list[VoiceWindow] = []
        for window in spoken:
            if window.end_s <= whole.end_s and (not apart or window.start_s >= apart[-1].end_s):
                apart.append(window)
        return apart

    def _run(self, speech: Speech, times: Sequence[Span]) -> list[VoiceWindow]:
        pooling = pool_windows(speech.active, times)
        mel, weights = trim_silence(speech, pooling)
        likely = np.ones(len(times), np.float32)
        statistics = np.zeros((len(times), 0), np.float32)
        if self.network is None and not self.describes:
            logits, snr_db = read_voice(self.session, mel[0], weights)
        else:
            logits, snr_db, statistics = describe_voice(self.session, mel[0], weights)
        if self.network is not None:
            sounds = self.network.read(statistics)
            likely = self.network.speech(sounds)
            self._note_sounds(times, pooling, sounds)
        keeps = self.describes and self._n_kept_chunks < MOST_KEPT_CHUNKS
        self._n_kept_chunks += keeps
        return [
            VoiceWindow(
                start_s=self._chunk_start_s + start_s,
                end_s=self._chunk_start_s + end_s,
                speech_s=float(pooling.speech_share[row]) * (end_s - start_s),
                logits=logits[row],
                snr_db=float(snr_db[row]),
                statistics=statistics[row] if self.describes else np.zeros(0, np.float32),
                speech=float(likely[row]),
                heard=Heard(mel[0], weights[row]) if keeps else None,
            )
            for row, (start_s, end_s) in enumerate(times)
        ]

    def _note_sounds(self, times: Sequence[Span], pooling: Pooling, sounds: npt.NDArray[np.float32]) -> None:
        """Keep what sounds in the windows; the first row is the whole chunk's."""
        names = self.network.classes if self.network else ()
        for (start_s, _), share, row in list(zip(times, pooling.speech_share, sounds, strict=True))[1:]:
            if share > 0:
                named = {name: float(value) for name, value in zip(names, row, strict=True)}
                self._sounds.append(SoundWindow(self._chunk_start_s + start_s, named))


def place_windows(length_s: float) -> list[Span]:
    """Return start and end in seconds of the windows of a last or only chunk.

    The picture may go on after the sound: what is spoken in the last second starts a window of its own.
    """
    n_windows = max(1, math.ceil((length_s - TAIL_S) / HOP_S))
    return [(index * HOP_S, min(index * HOP_S + WINDOW_S, length_s)) for index in range(n_windows)]


def read_statistics(session: onnxruntime.InferenceSession, speech: Speech, pooling: Pooling) -> npt.NDArray[np.float32]:
    """Run the voice network for what it pools over each window, shape (n_windows, n_statistics).

    Raises:
        BundleError: it gives no statistics.
    """
    mel, weights = trim_silence(speech, pooling)
    shapes = {"statistics": (len(weights), output_width(session, "statistics"))}
    return run_network(session, {"mel": mel, "pooling": weights}, shapes)[0]


def read_voice(
    session: onnxruntime.InferenceSession, mel: npt.NDArray[np.float32], pooling: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Run the voice network.

    Args:
        session: the opened network.
        mel: log-mel spectrum of one chunk, shape (80, n_frames).
        pooling: weights of its tokens for each window, shape (n_windows, n_frames / 2).

    Returns:
        Logits, shape (n_windows, 7), and speech-to-background ratios in dB, shape (n_windows,).

    Raises:
        BundleError: it is no voice network.
    """
    shapes = {"logits": (len(pooling), N_EMOTIONS), "snr_db": (len(pooling),)}
    logits, snr_db = run_network(session, {"mel": mel[None], "pooling": pooling}, shapes)
    return logits, snr_db


def describe_voice(
    session: onnxruntime.InferenceSession, mel: npt.NDArray[np.float32], pooling: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Run the voice network as `read_voice` does, and return each window's statistics too, shape (n_windows, d)."""
    n_windows = len(pooling)
    width = output_width(session, "statistics")
    shapes = {"logits": (n_windows, N_EMOTIONS), "snr_db": (n_windows,), "statistics": (n_windows, width)}
    logits, snr_db, statistics = run_network(session, {"mel": mel[None], "pooling": pooling}, shapes)
    return logits, snr_db, statistics
