"""The last line of defence: whatever a clip sets off becomes one line that names it, and the other clips go on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from moodreel.errors import MediaError, MoodreelError
from moodreel.text import printable


@contextmanager
def name_clip(clip: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an exception that nobody expected while a clip is read into a `MediaError`.

    Nothing but the reading of one clip belongs inside: elsewhere such an exception is a mistake of the program.

    Args:
        clip: as the user named it.

    Raises:
        MediaError: names the clip and the kind of the exception, which stays its cause.
    """
    try:
        yield
    except MoodreelError:
        raise
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        kind = f"{type(error).__name__}: {first}" if first else type(error).__name__
        shown = printable(os.fsdecode(clip))
        raise MediaError(
            f"{shown}: cannot be read: {printable(kind)[:300]}; please report it, with the clip if you can"
        ) from error
