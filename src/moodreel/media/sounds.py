"""Sound as it leaves the decoder, as blocks of mono samples without gaps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import av
import numpy as np
from numpy.typing import NDArray

from moodreel.errors import MediaError
from moodreel.media.clock import Clock
from moodreel.media.container import DecodeError
from moodreel.media.streams import Kind
from moodreel.text import printable

Channel = Literal["mix", "left", "right"]
"""What of a sound with several channels is heard: all added, or one alone, as of a call with a speaker on each."""

SOUND_RATES_HZ = range(1000, 768_001)
"""Rates of sound that can be; others are damage."""

_SHORTEST_PAUSE_S = 0.1


@dataclass(frozen=True)
class Sound:
    """A block of sound; each block follows its predecessor without a gap (pauses of the file are filled with zeros).

    Attributes:
        start_s: seconds from the clip's start to the first sample; the first block of a clip may start late.
        samples: mono float32 at the rate asked for, values -1 to 1, at most one second.
    """

    start_s: float
    samples: NDArray[np.float32]


class SoundSampler:
    """Resamples what the sound decoder yields to gapless mono blocks.

    Attributes:
        kind: what this is, in messages.
        count: samples yielded or held so far.
        damaged: decoded frames that could not be resampled.
        end_s: end of the last sample, in seconds.
        gap_s: longest pause filled with zeros so far, in seconds.
    """

    kind: Kind = "sound"

    @property
    def jumps(self) -> int:
        """How often time stamps jumped."""
        return self._clock.jumps

    @property
    def time_s(self) -> float:
        """Up to when sound is there, in seconds from the clip's start."""
        return self.end_s

    def __init__(self, rate_hz: int, begin_s: float = 0.0, origin_s: float = 0.0, channel: Channel = "mix") -> None:
        """Prepare.

        Args:
            rate_hz: samples a second to yield.
            begin_s: when the first sample is due, in seconds from the clip's start.
            origin_s: when the track begins; decoding may begin later.
            channel: what to hear of a sound with several channels.
        """
        self._channel = channel
        self.count = 0
        self.damaged = 0
        self.end_s = begin_s
        self.gap_s = 0.0
        self._rate_hz = rate_hz
        self._started = False
        self._start_s = 0.0
        self._clock = Clock(begin_s)
        self._is_cut = begin_s > origin_s
        self._origin_s = origin_s
        self._resampler: av.AudioResampler | None = None
        self._resamples: tuple[str, str, int] | None = None
        self._held: list[NDArray[np.float32]] = []
        self._n_held = 0

    def read(self, decoded: av.AudioFrame, stamp_s: float | None, elsewhere_s: float) -> Iterator[Sound]:
        """Yield the blocks that one decoded frame completes.

        Args:
            decoded: the decoder's frame.
            stamp_s: its time in the file, in seconds from the clip's start.
            elsewhere_s: time the picture has reached, in seconds.
        """
        if decoded.sample_rate not in SOUND_RATES_HZ or not decoded.samples:
            self.damaged += 1
            return
        time_s = self._clock.place(stamp_s, decoded.samples / decoded.sample_rate, elsewhere_s)
        if self._is_cut and not self._started:
            decoded, time_s = self._align(decoded, time_s)
        if not self._started:
            self._started, self._start_s, self.end_s = True, time_s, time_s
        yield from self._fill_until(time_s)
        for samples in self._resample(decoded):
            yield from self._add(samples)

    def _align(self, decoded: av.AudioFrame, time_s: float) -> tuple[av.AudioFrame, float]:
        """Let resampling begin at a sample at which it would also yield one had it begun with the track."""
        rate_hz, n_samples = decoded.sample_rate, decoded.samples
        index = round((time_s - self._origin_s) * rate_hz)
        whole = round(index / n_samples) * n_samples
        if 1 < abs(whole - index) <= rate_hz * float(decoded.time_base or 0) + 1:  # stamps of whole milliseconds
            index = whole
        n_left_out = -index % (rate_hz // math.gcd(rate_hz, self._rate_hz))
        time_s = self._origin_s + index / rate_hz
        if not 0 < n_left_out < n_samples:
            return decoded, time_s
        n_channels = 1 if decoded.format.is_planar else decoded.layout.nb_channels
        kept = np.ascontiguousarray(decoded.to_ndarray()[:, n_left_out * n_channels :])
        rest = av.AudioFrame.from_ndarray(cast(Any, kept), decoded.format.name, decoded.layout.name)
        rest.sample_rate = rate_hz
        return rest, time_s + n_left_out / rate_hz

    def flush(self) -> Iterator[Sound]:
        """Yield what is left at the end of the file."""
        for samples in self._drain():
            yield from self._add(samples)
        if self._n_held:
            yield self._take(self._n_held)

    def _fill_until(self, time_s: float) -> Iterator[Sound]:
        pause_s = time_s - self.end_s
        self.gap_s = max(self.gap_s, pause_s)
        n_missing = round(pause_s * self._rate_hz) if pause_s > _SHORTEST_PAUSE_S else 0
        while n_missing > 0:
            n_block = min(n_missing, self._rate_hz)
            yield from self._add(np.zeros(n_block, np.float32))
            n_missing -= n_block

    def _resample(self, decoded: av.AudioFrame) -> list[NDArray[np.float32]]:
        try:
            decoded = self._pick(decoded)
        except DecodeError:  # a kind of sample that cannot be taken apart
            self.damaged += 1
            return []
        resamples = (decoded.format.name, decoded.layout.name, decoded.sample_rate)
        before = self._drain() if resamples != self._resamples else []
        if self._resampler is None:
            self._resamples = resamples
            # Without this, channels added up in floating point come out louder than full scale.
            self._resampler = av.AudioResampler("flt", "mono", self._rate_hz, options={"rematrix_maxval": "1.0"})
        decoded.pts = None  # the clock has read it; the resampler must not act on it
        try:
            return before + [_clean(frame) for frame in self._resampler.resample(decoded)]
        except DecodeError:
            self.damaged += 1
            self._resampler = None
            return before

    def _pick(self, decoded: av.AudioFrame) -> av.AudioFrame:
        """Return the channel to be heard alone; all where it is the mix, or there is but one."""
        n_channels = decoded.layout.nb_channels
        if self._channel == "mix" or n_channels < 2:
            return decoded
        index = 0 if self._channel == "left" else 1
        samples = decoded.to_ndarray()
        one = samples[index : index + 1] if decoded.format.is_planar else samples[:, index::n_channels]
        picked = av.AudioFrame.from_ndarray(cast(Any, np.ascontiguousarray(one)), decoded.format.name, "mono")
        picked.sample_rate = decoded.sample_rate
        return picked

    def _drain(self) -> list[NDArray[np.float32]]:
        resampler, self._resampler = self._resampler, None
        try:
            return [] if resampler is None else [_clean(frame) for frame in resampler.resample(None) if frame]
        except DecodeError:
            return []

    def _add(self, samples: NDArray[np.float32]) -> Iterator[Sound]:
        self._held.append(samples)
        self._n_held += len(samples)
        self.count += len(samples)
        self.end_s = self._start_s + self.count / self._rate_hz
        while self._n_held >= self._rate_hz:
            yield self._take(self._rate_hz)

    def _take(self, size: int) -> Sound:
        joined = np.concatenate(self._held)
        start_s = self._start_s + (self.count - self._n_held) / self._rate_hz
        self._held, self._n_held = [joined[size:]], len(joined) - size
        return Sound(start_s, joined[:size])


def check_channel(name: str, channel: str) -> None:
    """Refuse a channel that is none.

    Raises:
        MediaError: names the clip and what was expected.
    """
    if channel not in get_args(Channel):
        hint = "; 'split' is two clips, one 'left' and one 'right'" if channel == "split" else ""
        raise MediaError(f"{name}: no channel {printable(channel)!r}, expected mix, left or right{hint}")


def cut_sound(sound: Sound, rate_hz: int, start_s: float, end_s: float) -> Sound:
    """Return what of a block lies within a stretch of the clip; without a sample where nothing does.

    Args:
        sound: the block.
        rate_hz: its samples a second.
        start_s: where the stretch begins, in seconds from the clip's start.
        end_s: where it ends; may be infinite.
    """
    n_samples = len(sound.samples)
    first, last = (round(min(max((time_s - sound.start_s) * rate_hz, 0), n_samples)) for time_s in (start_s, end_s))
    return Sound(sound.start_s + first / rate_hz, sound.samples[first:last])


def make_silence(rate_hz: int, start_s: float, end_s: float) -> Iterator[Sound]:
    """Yield blocks of zeros, each at most a second."""
    n_samples = round((end_s - start_s) * rate_hz)
    for first in range(0, n_samples, rate_hz):
        yield Sound(start_s + first / rate_hz, np.zeros(min(rate_hz, n_samples - first), np.float32))


def _clean(frame: av.AudioFrame) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = frame.to_ndarray().reshape(-1).astype(np.float32)
    samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(samples, np.float32(-1), np.float32(1))
