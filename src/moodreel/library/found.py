"""What a search finds: moments, best first, as rows to look at or as tables of Arrow, pandas and Polars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from moodreel.errors import LibraryError
from moodreel.labels import EMOTIONS, N_EMOTIONS

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


@dataclass(frozen=True)
class Moment:
    """A stretch of a file that a search found.

    Attributes:
        file_id: the file in the library's tables.
        file: its path or URL.
        start_s: where the moment begins, in seconds from the file's start.
        end_s: where it ends; as `start_s` in a picture.
        person: 0 for what is seen and heard then, else whose face it is, by number in the file.
        score: how well it fits what was asked for, 0-1.
        probabilities: of the seven emotions, averaged over its windows.
        who: number of the person in the whole library, from 1; 0 where that was not asked for or is not known.
    """

    file_id: str
    file: str
    start_s: float
    end_s: float
    person: int
    score: float
    probabilities: tuple[float, ...]
    who: int = 0

    @property
    def label(self) -> str:
        """The likeliest emotion."""
        return EMOTIONS[int(np.argmax(self.probabilities))]

    @property
    def confidence(self) -> float:
        """Its probability."""
        return max(self.probabilities)


@dataclass(frozen=True, eq=False)
class Found(Sequence[Moment]):
    """Moments, best first.

    Attributes:
        file_ids: of each moment the file in the library's tables.
        files: its path or URL.
        start_s: where it begins, in seconds, shape (n,).
        end_s: where it ends.
        person: whose it is, int32.
        score: how well it fits, 0-1.
        probabilities: shape (n, 7).
        who: number of the person in the whole library, int32; 0 where not known.
    """

    file_ids: Sequence[str]
    files: Sequence[str]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    person: npt.NDArray[np.int32]
    score: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]
    who: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    @classmethod
    def nothing(cls) -> Found:
        """Return no moments."""
        none, no_person = np.zeros(0), np.zeros(0, np.int32)
        return cls((), (), none, none, no_person, none, np.zeros((0, N_EMOTIONS)), no_person)

    def __len__(self) -> int:
        return len(self.start_s)

    @overload
    def __getitem__(self, index: int) -> Moment: ...

    @overload
    def __getitem__(self, index: slice) -> list[Moment]: ...

    def __getitem__(self, index: int | slice) -> Moment | list[Moment]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return Moment(
            self.file_ids[index],
            self.files[index],
            float(self.start_s[index]),
            float(self.end_s[index]),
            int(self.person[index]),
            float(self.score[index]),
            tuple(map(float, self.probabilities[index])),
            int(self.who[index]) if len(self.who) else 0,
        )

    def __iter__(self) -> Iterator[Moment]:
        return (self[index] for index in range(len(self)))

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table: file, start_s, end_s, person, score, the seven emotions, file_id, and who if known."""
        import pyarrow as pa

        columns: dict[str, Any] = {
            "file": pa.array(self.files, pa.string()),
            "start_s": self.start_s,
            "end_s": self.end_s,
            "person": self.person,
            "score": self.score,
            **{emotion: self.probabilities[:, index] for index, emotion in enumerate(EMOTIONS)},
            "file_id": pa.array(self.file_ids, pa.string()),
        }
        return pa.table(columns | ({"who": self.who} if len(self.who) else {}))

    def to_pandas(self) -> pd.DataFrame:
        """Return a data frame of pandas, with the columns of `to_arrow`.

        Raises:
            LibraryError: pandas is not installed.
        """
        _check_installed("pandas")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> pl.DataFrame:
        """Return a data frame of Polars, with the columns of `to_arrow`.

        Raises:
            LibraryError: Polars is not installed.
        """
        polars = _check_installed("polars")
        frame: pl.DataFrame = polars.from_arrow(self.to_arrow())
        return frame


def _check_installed(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise LibraryError(f"{name} is not installed; pip install {name}, or use to_arrow()") from None
