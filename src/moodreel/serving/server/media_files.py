"""Files of a library as answers over HTTP: whole, or the range that a player asks for; only as they were indexed."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse

from moodreel.errors import MoodreelError
from moodreel.library.place import is_url, open_system, reaching
from moodreel.library.shown import ServedFile
from moodreel.serving.protocol.problems import ProblemError

CHUNK_BYTES = 256 * 1024
POLICY = "default-src 'none'; sandbox"
"""What a file holds runs nowhere, whatever it is."""

_SAME_TIME_S = 1.0
_RANGE = re.compile(r"bytes=(?P<first>\d{0,18})-(?P<last>\d{0,18})", re.ASCII)
_TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm", ".mkv": "video/x-matroska",
    ".ogv": "video/ogg", ".avi": "video/x-msvideo", ".mp3": "audio/mpeg", ".wav": "audio/wav", ".flac": "audio/flac",
    ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg", ".m4a": "audio/mp4", ".aac": "audio/aac",
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif",
    ".bmp": "image/bmp", ".avif": "image/avif",
}  # fmt: skip
"""What browsers may show; everything else is bytes."""


class OpenedMedia(ABC):
    """A file that is open to be sent.

    Attributes:
        size_bytes: its size.
    """

    size_bytes: int

    @abstractmethod
    def read(self, offset: int, n_bytes: int) -> bytes:
        """Return bytes from a place on; fewer at the file's end."""

    @abstractmethod
    def close(self) -> None:
        """Close it."""


class _Local(OpenedMedia):
    def __init__(self, file: ServedFile) -> None:
        self._handle = os.open(file.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        found = os.fstat(self._handle)
        self.size_bytes = found.st_size
        self.is_as_indexed = (
            stat.S_ISREG(found.st_mode)
            and found.st_size == file.size_bytes
            and abs(found.st_mtime - file.modified_s) <= _SAME_TIME_S
        )

    def read(self, offset: int, n_bytes: int) -> bytes:
        os.lseek(self._handle, offset, os.SEEK_SET)  # one answer reads one handle, in turn
        return os.read(self._handle, n_bytes)

    def close(self) -> None:
        os.close(self._handle)


class _Far(OpenedMedia):
    def __init__(self, file: ServedFile) -> None:
        self._system, self._path = open_system(file.path)
        with reaching("its store"):
            self.size_bytes = int(self._system.info(self._path).get("size") or 0)
        self.is_as_indexed = self.size_bytes == file.size_bytes

    def read(self, offset: int, n_bytes: int) -> bytes:
        with reaching("its store"):
            return bytes(self._system.cat_file(self._path, start=offset, end=offset + n_bytes))

    def close(self) -> None:
        pass


def open_media(file: ServedFile) -> OpenedMedia:
    """Open a file of a library.

    Raises:
        ProblemError: it is not there any more, or not as it was indexed: what it shows now is not what was found.
    """
    opened: _Local | _Far | None = None
    with suppress(OSError, ValueError, MoodreelError):
        opened = _Far(file) if is_url(file.path) else _Local(file)
    if opened is not None and opened.is_as_indexed:
        return opened
    if opened is not None:
        opened.close()
    how = "is not there any more" if opened is None else "has changed since it was indexed"
    raise ProblemError("file-gone", f"{file.name}: {how}; index it again")


def answer_media(file: ServedFile, opened: OpenedMedia, headers: Mapping[str, str]) -> Response:
    """Answer with a file, or the part of it that is asked for (RFC 9110, section 14).

    Args:
        file: as it stands in the library.
        opened: the same; closed once it is sent.
        headers: of the request.

    Raises:
        ProblemError: the range lies outside the file.
    """
    tag = f'"{file.id}"'
    told = {
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": POLICY,
    }
    try:
        if tag in headers.get("if-none-match", ""):
            opened.close()
            return Response(status_code=304, headers=told)
        is_current = headers.get("if-range", tag) == tag
        bounds = read_range(headers.get("range", ""), opened.size_bytes) if is_current else None
    except ProblemError:
        opened.close()
        raise
    first, end = bounds or (0, opened.size_bytes)
    told["Content-Length"] = str(end - first)
    if bounds:
        told["Content-Range"] = f"bytes {first}-{end - 1}/{opened.size_bytes}"
    kind = _TYPES.get(PurePosixPath(file.path).suffix.lower(), "application/octet-stream")
    return _Sending(_read_on(opened, first, end), 206 if bounds else 200, told, kind, opened)


class _Sending(StreamingResponse):
    """Closes the file however sending it ends, also where it never began."""

    def __init__(
        self, content: AsyncIterator[bytes], status: int, headers: Mapping[str, str], kind: str, opened: OpenedMedia
    ) -> None:
        super().__init__(content, status, headers, kind)
        self._opened = opened

    async def __call__(self, *arguments: Any) -> None:
        try:
            await super().__call__(*arguments)
        finally:
            self._opened.close()


async def _read_on(opened: OpenedMedia, first: int, end: int) -> AsyncIterator[bytes]:
    while first < end:
        block = await asyncio.to_thread(opened.read, first, min(CHUNK_BYTES, end - first))
        if not block:
            raise OSError("the file has become shorter")  # the connection ends, and the client knows
        first += len(block)
        yield block


def read_range(value: str, size_bytes: int) -> tuple[int, int] | None:
    """Read the header `Range`.

    Args:
        value: what it says; empty where there is none.
        size_bytes: of the file.

    Returns:
        The first byte, and the one after the last; `None` for the whole file, also where several ranges are asked for,
        or something else than bytes, which a server may leave out of account.

    Raises:
        ProblemError: nothing of it lies in the file.
    """
    match = _RANGE.fullmatch(value.strip())
    if match is None or not (match["first"] or match["last"]):
        return None
    if not match["first"]:
        first, end = max(0, size_bytes - int(match["last"])), size_bytes
    else:
        first, end = int(match["first"]), min(size_bytes, int(match["last"] or size_bytes) + 1)
        if match["last"] and int(match["last"]) < first:
            return None
    if first >= end:
        told = {"Content-Range": f"bytes */{size_bytes}"}
        raise ProblemError("bad-range", f"the file has {size_bytes} bytes; ask for a part of it", told)
    return first, end
