"""An upload as it comes in: the files of a multipart form, written to disk piece by piece, within bounds."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Self

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.problems import Problem, ProblemError
from moodreel.text import printable

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD, WEBHOOK_FIELD = "file", "webhook"
UPLOAD_PREFIX = "clip-"
_LONGEST_NAME = 200
_LONGEST_WEBHOOK = 2000
_FORM_BYTES = 64 * 1024
"""What a form may hold besides clips."""


@dataclass
class Upload:
    """One clip of a form.

    Attributes:
        name: the clip as the client named it, without folders.
        path: the file, which is the caller's to delete.
        problem: why it was not taken; the file is then gone.
        has_place: whether a place was taken for it.
    """

    name: str
    path: Path
    problem: Problem | None = None
    has_place: bool = True


@dataclass(frozen=True)
class Terms:
    """What a form may hold.

    Attributes:
        most_files: clips.
        check_webhook: raises a `ProblemError` for an address that may not be called.
        take_place: called for each clip but the first; raises a `ProblemError` where there is no place for it.
    """

    most_files: int
    check_webhook: Callable[[str], None]
    take_place: Callable[[], None]


async def receive_form(request: Request, folder: Path, limits: Limits, terms: Terms) -> tuple[list[Upload], str]:
    """Receive clips.

    Args:
        request: a request whose body has not been read.
        folder: where the files go, under names of the server's own.
        limits: bounds of size and time.
        terms: what the form may hold. With several clips, one that is too large costs itself alone.

    Returns:
        The clips, at least one, and the web hook; empty for none.

    Raises:
        ProblemError: the form is malformed, holds no file, or is too large or too slow. Nothing of it is left.
    """
    most_bytes = limits.upload_bytes * terms.most_files + _FORM_BYTES
    boundary = _read_boundary(request, most_bytes)
    with _Form(folder, limits.upload_bytes, terms) as form:
        try:
            parser = MultipartParser(boundary, form.callbacks())
            async with asyncio.timeout(limits.upload_s) as deadline:
                async for piece in _pieces(request, limits, most_bytes):
                    n_files = len(form.uploads)
                    parser.write(piece)
                    if len(form.uploads) > n_files:
                        deadline.reschedule(asyncio.get_running_loop().time() + limits.upload_s)
        except FormParserError as error:
            raise ProblemError("bad-upload", f"the multipart form cannot be read ({printable(str(error))})") from None
        except TimeoutError:
            raise ProblemError("upload-too-slow", f"the upload took over {limits.upload_s:.0f} s; try again") from None
        return form.finish()


def clean_name(name: str) -> str:
    """Return a client's file name as it is shown: on one line, without folders, not endless.

    Args:
        name: as the client sent it, with slashes of any system.
    """
    last = PureWindowsPath(PurePosixPath(name).name).name
    return "clip" if last in ("", "..") else printable(last)[-_LONGEST_NAME:]


def _read_boundary(request: Request, most_bytes: int) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        detail = f"expected multipart/form-data with the clip in the field {FIELD!r}"
        raise ProblemError("not-multipart", detail, {"Accept-Post": "multipart/form-data"})
    if not options.get(b"boundary"):
        raise ProblemError("bad-upload", "the Content-Type of the form names no boundary; let a library write it")
    length = request.headers.get("content-length", "0")
    # Python refuses to read a number of thousands of digits.
    if length.isascii() and length.isdigit() and int(length[:20]) > most_bytes:
        raise _too_large(most_bytes)
    return options[b"boundary"]


async def _pieces(request: Request, limits: Limits, most_bytes: int) -> AsyncIterator[bytes]:
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
        if n_bytes > most_bytes:
            raise _too_large(most_bytes)
        yield piece


def _too_large(most_bytes: int) -> ProblemError:
    # The rest of the body is not read, so the connection cannot be used again.
    detail = f"expected at most {most_bytes / 2**20:.0f} MiB; cut the clip or compress it"
    return ProblemError("upload-too-large", detail, {"Connection": "close"})


class _Form:
    """Takes the parts of one form and writes the files among them; unless it is finished, none of them stays.

    Attributes:
        uploads: the clips so far.
    """

    def __init__(self, folder: Path, most_bytes: int, terms: Terms) -> None:
        self.uploads: list[Upload] = []
        self._folder = folder
        self._most_bytes = most_bytes
        self._terms = terms
        self._file: IO[bytes] | None = None
        self._n_bytes = 0
        self._webhook: bytes | None = None
        self._is_webhook = self._is_whole = False
        self._field = self._value = self._disposition = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end_part()
        if kind is not None:
            for upload in self.uploads:
                upload.path.unlink(missing_ok=True)

    def callbacks(self) -> MultipartCallbacks:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._read_field,
            "on_header_value": self._read_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._write,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def finish(self) -> tuple[list[Upload], str]:
        """Return the clips and the web hook.

        Raises:
            ProblemError: no file came, or not all of it, or the web hook may not be called.
        """
        if not self.uploads:
            raise ProblemError("bad-upload", f"the form holds no file; expected the clip in the field {FIELD!r}")
        if not self._is_whole:
            raise ProblemError("bad-upload", "the form breaks off before its end; send it again")
        if self._webhook is None:
            return self.uploads, ""
        webhook = self._webhook.decode("utf-8", "replace")
        self._terms.check_webhook(webhook)
        return self.uploads, webhook

    def _begin_part(self) -> None:
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
        name, is_file = options.get(b"name"), b"filename" in options
        if name == FIELD.encode() and is_file:
            self._begin_file(clean_name(options[b"filename"].decode("utf-8", "replace")))
        elif name == WEBHOOK_FIELD.encode():
            if is_file or self._webhook is not None:
                raise ProblemError("bad-webhook", f"expected one address as text in the field {WEBHOOK_FIELD!r}")
            self._is_webhook, self._webhook = True, b""

    def _begin_file(self, name: str) -> None:
        most = self._terms.most_files
        if len(self.uploads) == most:
            asked = "send one clip a request, or several to /v1/batches" if most == 1 else f"send at most {most}"
            raise ProblemError("bad-upload", f"the form holds too many files in {FIELD!r}; {asked}")
        handle, path = tempfile.mkstemp(prefix=UPLOAD_PREFIX, dir=self._folder)
        self._file, self._n_bytes = os.fdopen(handle, "wb"), 0
        upload = Upload(name, Path(path))
        self.uploads.append(upload)
        if len(self.uploads) > 1:
            try:
                self._terms.take_place()
            except ProblemError as error:
                upload.has_place = False
                self._refuse(error.problem)

    def _refuse(self, problem: Problem) -> None:
        """Take no more of the clip that is coming."""
        upload = self.uploads[-1]
        upload.problem = Problem(problem.kind, f"{upload.name}: {problem.detail}")
        self._end_part()
        upload.path.unlink()

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._is_webhook:
            self._webhook = (self._webhook or b"") + data[start:end]
            if len(self._webhook) > _LONGEST_WEBHOOK:
                raise ProblemError("bad-webhook", f"expected an address of at most {_LONGEST_WEBHOOK} letters")
        if self._file is None:
            return
        self._n_bytes += end - start
        if self._n_bytes <= self._most_bytes:
            self._file.write(data[start:end])
        elif self._terms.most_files == 1:
            raise _too_large(self._most_bytes)
        else:
            self._refuse(_too_large(self._most_bytes).problem)

    def _end_part(self) -> None:
        self._is_webhook = False
        if self._file is not None:
            self._file.close()
            self._file = None

    def _end(self) -> None:
        self._is_whole = True
