"""An upload as it comes in: one file of a multipart form, written to disk piece by piece, within bounds."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.problems import ProblemError
from moodreel.text import printable

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "file"
_LONGEST_NAME = 200
_FORM_BYTES = 64 * 1024
"""What a form may hold besides the clip."""


async def receive_upload(request: Request, folder: Path, limits: Limits) -> tuple[str, Path]:
    """Receive a clip.

    Args:
        request: a request whose body has not been read.
        folder: where the file goes, under a name of the server's own.
        limits: bounds of size and time.

    Returns:
        The clip as the client named it, without folders, and the file, which is the caller's to delete.

    Raises:
        ProblemError: the form is malformed, holds no file, or is too large or too slow.
    """
    boundary = _read_boundary(request, limits)
    handle, name = tempfile.mkstemp(prefix="clip-", dir=folder)
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            form = _Form(file, limits.upload_bytes)
            parser = MultipartParser(boundary, form.callbacks())
            async with asyncio.timeout(limits.upload_s):
                async for piece in _pieces(request, limits):
                    parser.write(piece)
        return form.finish(), path
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, FormParserError):
            raise ProblemError("bad-upload", f"the multipart form cannot be read ({printable(str(error))})") from None
        if isinstance(error, TimeoutError):
            raise ProblemError("upload-too-slow", f"the upload took over {limits.upload_s:.0f} s; try again") from None
        raise


def clean_name(name: str) -> str:
    """Return a client's file name as it is shown: on one line, without folders, not endless.

    Args:
        name: as the client sent it, with slashes of any system.
    """
    last = PureWindowsPath(PurePosixPath(name).name).name
    return "clip" if last in ("", "..") else printable(last)[-_LONGEST_NAME:]


def _read_boundary(request: Request, limits: Limits) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        detail = f"expected multipart/form-data with the clip in the field {FIELD!r}"
        raise ProblemError("not-multipart", detail, {"Accept-Post": "multipart/form-data"})
    if not options.get(b"boundary"):
        raise ProblemError("bad-upload", "the Content-Type of the form names no boundary; let a library write it")
    length = request.headers.get("content-length", "0")
    # Python refuses to read a number of thousands of digits.
    if length.isascii() and length.isdigit() and int(length[:20]) > limits.upload_bytes + _FORM_BYTES:
        raise _too_large(limits.upload_bytes)
    return options[b"boundary"]


async def _pieces(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """Yield the body as it comes, as long as it comes."""
    pieces, n_bytes = request.stream().__aiter__(), 0
    while True:
        try:
            async with asyncio.timeout(limits.upload_idle_s):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError:
            detail = f"nothing came for {limits.upload_idle_s:.0f} s; try again"
            raise ProblemError("upload-too-slow", detail) from None
        n_bytes += len(piece)
        if n_bytes > limits.upload_bytes + _FORM_BYTES:
            raise _too_large(limits.upload_bytes)
        yield piece


def _too_large(most_bytes: int) -> ProblemError:
    # The rest of the body is not read, so the connection cannot be used again.
    detail = f"expected at most {most_bytes / 2**20:.0f} MiB; cut the clip or compress it"
    return ProblemError("upload-too-large", detail, {"Connection": "close"})


class _Form:
    """Takes the parts of one form and writes the file among them."""

    def __init__(self, file: IO[bytes], most_bytes: int) -> None:
        self._file = file
        self._most_bytes = most_bytes
        self._name: str | None = None
        self._is_file = False
        self._is_whole = False
        self._n_bytes = 0
        self._field = b""
        self._value = b""
        self._disposition = b""

    def callbacks(self) -> MultipartCallbacks:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._read_field,
            "on_header_value": self._read_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._write,
            "on_end": self._end,
        }

    def finish(self) -> str:
        """Return the file's name.

        Raises:
            ProblemError: no file came, or not all of it.
        """
        if self._name is None:
            raise ProblemError("bad-upload", f"the form holds no file; expected the clip in the field {FIELD!r}")
        if not self._is_whole:
            raise ProblemError("bad-upload", "the form breaks off before its end; send it again")
        return self._name

    def _begin_part(self) -> None:
        self._is_file = False
        self._disposition = b""

    def _read_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _read_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD.encode() or b"filename" not in options:
            return
        if self._name is not None:
            raise ProblemError("bad-upload", f"the form holds several files in {FIELD!r}; send one clip a request")
        self._is_file = True
        self._name = clean_name(options[b"filename"].decode("utf-8", "replace"))

    def _write(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            return
        self._n_bytes += end - start
        if self._n_bytes > self._most_bytes:
            raise _too_large(self._most_bytes)
        self._file.write(data[start:end])

    def _end(self) -> None:
        self._is_whole = True
