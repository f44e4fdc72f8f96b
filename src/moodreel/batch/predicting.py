"""Many clips predicted by one recognizer, in several processes, each with its own answer or error."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from moodreel.batch.clips import CRASHED, map_clips
from moodreel.errors import BundleError, MediaError, MoodreelError
from moodreel.media.defence import name_clip
from moodreel.media.parts import Part, read_part
from moodreel.recognition.evidence import Evidence
from moodreel.recognition.prediction import Prediction
from moodreel.recognition.prediction_parts import MOST_PRESENT
from moodreel.recognition.recognizer import Recognizer
from moodreel.text import printable


@dataclass(frozen=True)
class Outcome:
    """What came of one clip: a prediction or an error.

    Attributes:
        clip: the clip as it was named.
        prediction: the answer; `None` where there is an error.
        error: why there is none.
    """

    clip: str
    prediction: Prediction | None = None
    error: MoodreelError | None = None


@dataclass(frozen=True)
class Observed:
    """What one clip shows, or why that cannot be told.

    Attributes:
        part: the clip.
        error: why there is no evidence.
    """

    part: Part
    evidence: Evidence | None = None
    error: MoodreelError | None = None

    def unwrap(self) -> Evidence:
        """Return the evidence.

        Raises:
            MoodreelError: there is none.
        """
        if self.error is not None:
            raise self.error
        assert self.evidence is not None
        return self.evidence


def predict_many(
    recognizer: Recognizer, clips: Iterable[str | os.PathLike[str]], jobs: int = 2, *, adapt: bool = True
) -> Iterator[Outcome]:
    """Predict many clips, and pass on each answer as soon as it and all before it are there.

    Where `jobs` is not 1, the calling program's main module must be importable without harm, as for any
    `multiprocessing` (`if __name__ == "__main__":`).

    Args:
        recognizer: what predicts; each process opens its bundle once.
        clips: files, or parts of files such as `film.mp4#t=10,14`; taken as processes come to them.
        jobs: processes.
        adapt: as for `Recognizer.predict`.

    Yields:
        The outcomes, in the order of the clips; a clip that cannot be read costs itself alone, one that ends its
        process too.

    Raises:
        BundleError: the recognizer's bundle is gone, or another one stands in its place.
    """
    names = (os.fspath(clip) for clip in clips)
    with closing(map_clips(partial(_predict, recognizer, adapt), names, jobs, _give_up)) as outcomes:
        yield from outcomes


def observe_many(
    recognizer: Recognizer, parts: Iterable[Part], jobs: int, speaks_for: str = MOST_PRESENT
) -> Iterator[Observed]:
    """Tell what many clips show, before that is adapted, in their order.

    Args:
        recognizer: what reads them; each process opens its bundle once.
        parts: the clips.
        jobs: processes.
        speaks_for: as for `Recognizer.predict`.

    Raises:
        BundleError: the recognizer's bundle is gone, or another one stands in its place.
    """
    with closing(map_clips(partial(_observe, recognizer, speaks_for), parts, jobs, _give_up_part)) as outcomes:
        yield from outcomes


def _predict(recognizer: Recognizer, adapt: bool, clip: str) -> Outcome:
    try:
        part = read_part(clip)
        evidence = _observe(recognizer, MOST_PRESENT, part).unwrap()
        return Outcome(clip, recognizer.conclude(evidence, [evidence] if adapt else ()))
    except BundleError:
        raise
    except MoodreelError as error:
        return Outcome(clip, error=error)


def _observe(recognizer: Recognizer, speaks_for: str, part: Part) -> Observed:
    try:
        with name_clip(str(part)):
            evidence = recognizer.observe(
                Path(part.path),
                start_s=part.start_s,
                end_s=part.end_s,
                channels=part.channel,
                speaks_for=speaks_for,
            )
    except BundleError:
        raise
    except MoodreelError as error:
        return Observed(part, error=error)
    return Observed(part, evidence)


def _give_up(clip: str) -> Outcome:
    return Outcome(clip, error=MediaError(f"{printable(clip)}: {CRASHED}"))


def _give_up_part(part: Part) -> Observed:
    return Observed(part, error=MediaError(f"{printable(str(part))}: {CRASHED}"))
