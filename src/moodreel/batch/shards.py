"""A run shared out among machines that know nothing of each other: each takes the clips whose names hash to it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from moodreel.errors import OutputError
from moodreel.text import printable

MOST_SHARDS = 100_000


@dataclass(frozen=True)
class Shard:
    """One of the equal parts of a run.

    Attributes:
        number: which, from 1.
        count: how many there are.
    """

    number: int = 1
    count: int = 1

    def __str__(self) -> str:
        """Name it as file names may hold it: `3of16`."""
        return f"{self.number}of{self.count}"

    def takes(self, name: str) -> bool:
        """Return whether a clip belongs to it; the same on every machine."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1


WHOLE = Shard()
"""A run that is not shared out."""


def read_shard(text: str) -> Shard:
    """Read the name of a shard, such as `3/16`.

    Raises:
        OutputError: it is none.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count <= MOST_SHARDS:
        raise OutputError(f"--shard {printable(text)}: expected NUMBER/COUNT such as 3/16, counted from 1")
    return Shard(number, count)
