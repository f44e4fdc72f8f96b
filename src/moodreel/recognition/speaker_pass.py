"""The second pass over a clip: who speaks when, and whether the sound is in step with the lips.

Where hardly anybody on screen seems to speak although faces are seen, the sound may be early or late. Then a part of
the clip is read again with the sound moved. What fits clearly better within 0.4 s is corrected; beyond, the lips are
not relied on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moodreel.face.lips import LIPS_RATE_HZ, FacePath, smooth_path
from moodreel.face.people import TrackedPerson
from moodreel.face.tracking import ANALYSIS_LONG_SIDE_PX
from moodreel.media.clip import Clip
from moodreel.media.read_ahead import read_ahead
from moodreel.recognition.lip_reading import LipScores, LipWatch, SpeakerReader
from moodreel.recognition.speakers import Turns, find_turns
from moodreel.voice.listener import Voice

LAGS_S = (-0.4, -0.2, 0.2, 0.4)
FAR_LAGS_S = (-1.0, -0.7, 0.7, 1.0)
"""Beyond what is corrected: a sound that fits there is only warned of."""

_TRIED_S = 15.0
_LEAST_HEARD_S = 3.0
_MOST_OFF_SCREEN = 0.7
_CLEARLY = 1.5
"""By how much a moved sound's mean log-odds must be higher to be taken for the true one."""

Span = tuple[float, float]


def read_turns(
    clip: Clip, reader: SpeakerReader, people: Sequence[TrackedPerson], voice: Voice
) -> tuple[Turns | None, str]:
    """Read the lips of a clip once more than its faces.

    Args:
        clip: can be streamed again.
        reader: the network.
        people: those whose lips are read.
        voice: what was heard in the first pass.

    Returns:
        Who speaks when; `None` where the lips were not seen while somebody is heard, or do not go with the sound. And a
        warning, empty where there is nothing to warn of.

    Raises:
        MediaError: the clip cannot be streamed again.
    """
    paths = [smooth_path(one.times_s, one.boxes_px) for one in people]
    spoken = join_spans([(one.start_s, one.end_s) for one in voice.windows])
    ids = [one.id for one in people]
    scores = _watch(clip, LipWatch(reader, paths, spoken))
    turns = find_turns(scores, ids)
    if not turns.lips_seen[:, turns.voiced].any():
        return None, ""
    share = turns.share(0.0, np.inf)
    if share.heard_s < _LEAST_HEARD_S or share.off_screen < _MOST_OFF_SCREEN:
        return turns, ""
    lag_s = find_lag(clip, reader, paths, spoken)
    if lag_s in FAR_LAGS_S:
        return None, f"the sound seems to be {abs(lag_s):.1f} s {_side(lag_s)} of the picture: lips are not relied on"
    if not lag_s:
        return turns, ""
    moved = find_turns(_watch(clip, LipWatch(reader, paths, spoken, lag_s)), ids, lag_s=lag_s)
    return (
        moved,
        f"the sound seems to be {abs(lag_s):.1f} s {_side(lag_s)} of the picture; corrected to tell who speaks",
    )


def find_lag(clip: Clip, reader: SpeakerReader, paths: Sequence[FacePath], spoken: Sequence[Span]) -> float:
    """Return how much later than the lips the sound is, in seconds; 0 where nothing fits clearly better.

    Args:
        clip: can be streamed again.
        reader: the network.
        paths: where faces stood.
        spoken: where somebody is heard.
    """
    end_s = spoken[0][0] + _TRIED_S
    fits = {
        lag_s: _fit(_watch(clip, LipWatch(reader, paths, spoken, lag_s), end_s))
        for lag_s in (0.0, *LAGS_S, *FAR_LAGS_S)
    }
    best = max(fits, key=fits.__getitem__)
    return best if fits[best] > max(0.0, fits[0.0] + _CLEARLY) else 0.0


def _fit(scores: LipScores) -> float:
    """Return the mean log-odds of whoever speaks likeliest."""
    seen = scores.log_odds[:, ~np.isnan(scores.log_odds).all(axis=0)]
    return float(np.nanmax(seen, axis=0).mean()) if seen.size else -np.inf


def _watch(clip: Clip, watch: LipWatch, end_s: float | None = None) -> LipScores:
    stream = clip.stream(longest_side_px=ANALYSIS_LONG_SIDE_PX, frames_rate_hz=LIPS_RATE_HZ, end_s=end_s)
    with read_ahead(stream) as items:
        return watch.watch(items)


def _side(lag_s: float) -> str:
    return "behind" if lag_s > 0 else "ahead"


def join_spans(spans: Sequence[Span]) -> list[Span]:
    """Join stretches that overlap or touch; they are in the order of their starts."""
    joined: list[Span] = []
    for start_s, end_s in spans:
        if joined and start_s <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end_s)
        else:
            joined.append((start_s, end_s))
    return joined
