"""The voice over time: blocks of sound in, the voice network's answer for each utterance and window out.

Sound is taken in chunks of at most 8 s that overlap by 2 s, so that any length of sound needs the memory of one chunk.
The network runs once per chunk; its tokens are pooled for every window of the timeline and for the chunk's own part
("utterance"), over speech alone. Loud sound that is plainly no speech is not given to the network, which would name an
emotion for a hum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moodreel.inference import output_width, run_network
from moodreel.labels import N_EMOTIONS
from moodreel.media.sounds import Sound
from moodreel.timeline import HOP_S, TAIL_S, WINDOW_S
from moodreel.voice.speech import CHUNK_S, RATE_HZ, Speech, extract_speech, pool_windows, trim_silence
from moodreel.voice.speech_signs import holds_speech, measure_signs

if TYPE_CHECKING:
    import onnxruntime

ADVANCE_S = 6.0
"""Seconds between the starts of two chunks: chunk length less one window."""
MIN_CHUNK_S = 0.1
"""Sound shorter than this holds no syllable."""

assert ADVANCE_S + WINDOW_S <= CHUNK_S and ADVANCE_S % HOP_S == 0, "every window must lie inside one chunk"


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
    """

    start_s: float
    end_s: float
    speech_s: float
    logits: npt.NDArray[np.float32]
    snr_db: float
    statistics: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True)
class Voice:
    """The voice of a whole clip.

    Attributes:
        heard_s: seconds of sound, silence included.
        is_silent: whether nothing was loud enough to be speech.
        utterances: consecutive parts of the sound that hold speech; they do not overlap.
        windows: the windows of the timeline that hold speech, in order.
    """

    heard_s: float
    is_silent: bool
    utterances: tuple[VoiceWindow, ...]
    windows: tuple[VoiceWindow, ...]


@dataclass
class VoiceListener:
    """Takes a clip's sound block by block.

    Attributes:
        session: the opened voice network: `mel`, `pooling` -> `logits`, `snr_db`.
        describes: whether the statistics are kept too, as training wants them.
    """

    session: onnxruntime.InferenceSession
    describes: bool = False
    _buffer: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32), init=False)
    _chunk_start_s: float = field(default=0.0, init=False)
    _started: bool = field(default=False, init=False)
    _is_silent: bool = field(default=True, init=False)
    _utterances: list[VoiceWindow] = field(default_factory=list, init=False)
    _windows: list[VoiceWindow] = field(default_factory=list, init=False)

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
            self._read_chunk(self._buffer[: int(CHUNK_S * RATE_HZ)], n_windows=int(ADVANCE_S / HOP_S), own_s=ADVANCE_S)
            self._buffer = self._buffer[int(ADVANCE_S * RATE_HZ) :]
            self._chunk_start_s += ADVANCE_S

    def finish(self) -> Voice:
        """Read what is left and return the whole voice."""
        left_s = len(self._buffer) / RATE_HZ
        if left_s >= MIN_CHUNK_S:
            # The picture may go on after the sound: what is spoken in the last second starts a window of its own.
            n_windows = max(1, math.ceil((left_s - TAIL_S) / HOP_S))
            self._read_chunk(self._buffer, n_windows=n_windows, own_s=left_s)
        return Voice(
            heard_s=self._chunk_start_s + left_s,
            is_silent=self._is_silent,
            utterances=tuple(self._utterances),
            windows=tuple(self._windows),
        )

    def _read_chunk(self, samples: npt.NDArray[np.float32], n_windows: int, own_s: float) -> None:
        length_s = len(samples) / RATE_HZ
        starts_s = [index * HOP_S for index in range(n_windows)]
        times = [(0.0, own_s), *((start_s, min(start_s + WINDOW_S, length_s)) for start_s in starts_s)]
        speech = extract_speech(samples)
        if not speech.active.any():
            return
        self._is_silent = False
        whole, *signs = measure_signs(speech, times)
        if not holds_speech(whole, signs):
            return
        utterance, *windows = self._run(speech, times)
        self._utterances.extend(one for one in (utterance,) if one.speech_s > 0)
        self._windows.extend(
            one for one, sign in zip(windows, signs, strict=True) if one.speech_s > 0 and not sign.refuse
        )

    def _run(self, speech: Speech, times: list[tuple[float, float]]) -> list[VoiceWindow]:
        pooling = pool_windows(speech.active, times)
        mel, weights = trim_silence(speech, pooling)
        if self.describes:
            logits, snr_db, statistics = describe_voice(self.session, mel[0], weights)
        else:
            logits, snr_db = read_voice(self.session, mel[0], weights)
            statistics = np.zeros((len(times), 0), np.float32)
        return [
            VoiceWindow(
                start_s=self._chunk_start_s + start_s,
                end_s=self._chunk_start_s + end_s,
                speech_s=float(pooling.speech_share[row]) * (end_s - start_s),
                logits=logits[row],
                snr_db=float(snr_db[row]),
                statistics=statistics[row],
            )
            for row, (start_s, end_s) in enumerate(times)
        ]


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
