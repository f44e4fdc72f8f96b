"""Who writes a library: one run, or the shards of one run; a second one is told who holds it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from moodreel.batch.shards import Shard
from moodreel.errors import LibraryError, OutputError
from moodreel.library.place import Folder, Place
from moodreel.text import printable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

EVERYTHING = "all"
"""What is written by whoever moves the parts of others."""
FOLDER = "writers"

_BEAT_S = 15.0
_STALE_S = 60.0
"""A writer far away that has not been heard of for so long has died."""
_SETTLE_S = 0.5


@contextmanager
def writing(place: Place, shard: Shard | None) -> Iterator[None]:
    """Hold a library while the block writes it.

    Args:
        place: the library's.
        shard: of the run; `None` to have the library alone.

    Raises:
        LibraryError: somebody else writes it; says who.
        OutputError: the place cannot be written.
    """
    name = EVERYTHING if shard is None else str(shard)
    local = _LocalLock(place) if isinstance(place, Folder) and fcntl is not None else None
    lock: _LocalLock | _BeatingLock = _BeatingLock(place) if local is None or not local.works() else local
    with lock.hold(name):
        for other in place.list(FOLDER):
            holder = None if other == _file(name) else lock.find_holder(other)
            if holder is not None and not _may_stand_beside(name, str(holder.get("shard"))):
                raise _tell_holder(place, holder)
        yield


def _may_stand_beside(one: str, other: str) -> bool:
    """Say whether two writers do not get into each other's way: shards of one run."""
    return EVERYTHING not in (one, other) and one.partition("of")[2] == other.partition("of")[2]


def _file(name: str) -> str:
    return f"{name}.json"


def _describe(name: str, token: str) -> bytes:
    about = {"shard": name, "pid": os.getpid(), "host": socket.gethostname(), "since_s": time.time(), "token": token}
    return json.dumps(about | {"beat_s": time.time()}).encode()


def _read(data: bytes | None) -> Mapping[str, Any]:
    try:
        held = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) else {}


def _tell_holder(place: Place, holder: Mapping[str, Any]) -> LibraryError:
    shard = str(holder.get("shard", ""))
    which = "" if shard in ("", EVERYTHING, "1of1") else f", shard {shard.replace('of', '/')}"
    who = printable(f"process {holder.get('pid', '?')} on {holder.get('host', '?')}")[:100]
    with contextlib.suppress(TypeError, ValueError, OverflowError, OSError):
        who += time.strftime(" since %Y-%m-%d %H:%M:%S", time.localtime(float(holder["since_s"])))
    return LibraryError(
        f"{place.shown}: is written by {who}{printable(which)[:40]}; wait until it has finished, or end it"
    )


class _LocalLock:
    """A lock on a file of this machine, which ends with its process however that ends."""

    def __init__(self, place: Place) -> None:
        assert isinstance(place, Folder)
        self._place = place
        self._folder: Path = place.folder / FOLDER

    def works(self) -> bool:
        """Return whether the file system knows locks; some on networks do not."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / ".probe").open("a") as file:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Hold one file while the block runs."""
        with (self._folder / _file(name)).open("a+b") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _tell_holder(self._place, _read_all(file)) from None
            try:
                file.truncate(0)
                file.write(_describe(name, ""))
                file.flush()
            except OSError as error:
                problem = (
                    f"{self._place.shown}: cannot be written ({error.strerror}); make room, or choose another place"
                )
                raise OutputError(problem) from None
            yield
            file.truncate(0)

    def find_holder(self, file_name: str) -> Mapping[str, Any] | None:
        """Return who holds a file; `None` where nobody does."""
        with contextlib.suppress(FileNotFoundError), (self._folder / file_name).open("rb") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return {"shard": file_name.removesuffix(".json")} | dict(_read_all(file))
        return None


def _read_all(file: IO[bytes]) -> Mapping[str, Any]:
    file.seek(0)
    return _read(file.read())


class _BeatingLock:
    """A file that its holder writes anew every few seconds: for places that know no locks."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Hold one file while the block runs."""
        target, token = f"{FOLDER}/{_file(name)}", secrets.token_hex(8)
        if (holder := self.find_holder(_file(name))) is not None:
            raise _tell_holder(self._place, holder)
        self._place.write_bytes(target, _describe(name, token))
        time.sleep(_SETTLE_S)  # of two who came at once the later one has overwritten the other by now
        holder = _read(self._place.read(target))
        if holder.get("token") != token:
            raise _tell_holder(self._place, holder)
        ended = threading.Event()
        beating = threading.Thread(target=self._beat, args=(name, token, ended), daemon=True)
        beating.start()
        try:
            yield
        finally:
            ended.set()
            beating.join()
            self._place.remove(target)

    def _beat(self, name: str, token: str, ended: threading.Event) -> None:
        while not ended.wait(_BEAT_S):
            with contextlib.suppress(LibraryError):  # out of reach for a while: what is written says so
                self._place.write_bytes(f"{FOLDER}/{_file(name)}", _describe(name, token))

    def find_holder(self, file_name: str) -> Mapping[str, Any] | None:
        """Return who holds a file; `None` where nobody does, or whoever did has died."""
        holder = _read(self._place.read(f"{FOLDER}/{file_name}"))
        beat_s = holder.get("beat_s", 0.0)
        if not isinstance(beat_s, int | float) or abs(time.time() - beat_s) > _STALE_S or _has_died(holder):
            return None
        return holder


def _has_died(holder: Mapping[str, Any]) -> bool:
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int) or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False
