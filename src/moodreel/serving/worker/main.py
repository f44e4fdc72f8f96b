"""The process that decodes: what nobody vouches for is read here, within bounds, away from the server.

Started as `python -m moodreel.serving.worker.main OPTIONS`; messages come on stdin and leave on stdout.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from moodreel.errors import MoodreelError
from moodreel.serving.protocol.failures import describe_failure
from moodreel.serving.protocol.messages import Message, read_message
from moodreel.serving.protocol.options import WorkerOptions, measure_address_space
from moodreel.serving.protocol.problems import ProblemError
from moodreel.serving.protocol.replies import TextFormat

Send = Callable[[Message], None]
_PROGRESS_STEP = 0.01


def main() -> None:
    """Work until the server hangs up."""
    options = WorkerOptions(**json.loads(sys.argv[1]))
    inbox, outbox = sys.stdin.buffer, _take_stdout()

    def send(message: Message) -> None:
        outbox.write(message.encode())
        outbox.flush()

    try:
        handle = _open(options)
        bound_process(options.memory_bytes)
        send(Message({"ready": True}))
        while (message := read_message(inbox)) is not None:
            _answer(handle, message, send)
    except MoodreelError as error:
        send(Message({"problem": "internal", "detail": str(error)}))
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # the server has gone


def _take_stdout() -> IO[bytes]:
    """Keep the pipe to the server for messages alone: what a library prints goes nowhere."""
    outbox = os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    return outbox


def _open(options: WorkerOptions) -> Callable[[Message, Send], None]:
    if options.role == "stream":
        from moodreel.serving.worker.live import open_stream_handler

        return open_stream_handler(options.model, options.picture_px)
    if options.role == "pictures":
        from moodreel.serving.worker.pictures import answer_picture

        return answer_picture
    from moodreel.recognition.recognizer import Recognizer

    recognizer = Recognizer.load(options.model, threads=1)

    def handle(message: Message, send: Send) -> None:
        send(Message({"taken": message.head["job"]}))
        send(_predict(recognizer, options, message.head, send))

    return handle


def _answer(handle: Callable[[Message, Send], None], message: Message, send: Send) -> None:
    try:
        handle(message, send)
    except ProblemError as error:
        send(Message({"problem": error.problem.kind, "detail": error.problem.detail}))
    except MoodreelError as error:
        send(Message({"problem": "bad-media", "detail": str(error)}))
    except MemoryError:
        raise SystemExit(1) from None  # what is left in memory is not to be trusted
    except BrokenPipeError:
        raise
    except Exception as error:
        send(Message(_tell_unexpected(error, message.head)))


def _tell_unexpected(error: Exception, head: dict[str, Any]) -> dict[str, str]:
    """Say what nobody expected: of a clip that it cannot be read, by its name; of a stream that the server failed."""
    from moodreel.media.defence import name_clip

    if "name" not in head:
        return {"problem": "internal", "detail": f"{describe_failure(error)}; please report it"}
    try:
        with name_clip(str(head["name"])):
            raise error
    except MoodreelError as named:
        return {"problem": "bad-media", "detail": str(named)}


def _predict(recognizer: Any, options: WorkerOptions, head: dict[str, Any], send: Send) -> Message:
    from moodreel.output.formats import find_format

    path, name = Path(head["path"]), str(head["name"])
    check_clip(path, name, options)
    told = -1.0

    def progress(share: float) -> None:
        nonlocal told
        if share - told >= _PROGRESS_STEP:
            told = share
            send(Message({"progress": round(share, 3)}))

    prediction = recognizer.predict(path, name=name, progress=progress)
    texts = {name: find_format(name).write(prediction, True) for name in TextFormat}
    return Message({"prediction": prediction.to_dict(), "texts": texts})


def check_clip(path: Path, name: str, options: WorkerOptions) -> None:
    """Refuse a clip beyond the bounds before its frames are decoded.

    Args:
        path: the uploaded file.
        name: the clip as the client named it.
        options: the bounds.

    Raises:
        ProblemError: it is too long, or its picture too large.
        MediaError: it is no media.
    """
    from moodreel.media.clip import open_clip

    with open_clip(path, name) as clip:
        if clip.duration_s > options.clip_s:
            raise ProblemError(
                "clip-too-long",
                f"{clip.name}: lasts {clip.duration_s:.0f} s, expected at most {options.clip_s:.0f} s; cut it",
            )
        if clip.video is not None and clip.video.width_px * clip.video.height_px > options.picture_px:
            raise ProblemError(
                "picture-too-large",
                f"{clip.name}: {clip.video.width_px}x{clip.video.height_px} pixels are too many, "
                f"expected at most {options.picture_px / 1e6:.1f} million; scale it down",
            )


def bound_process(memory_bytes: int) -> None:
    """Let the kernel hold this process to its memory, to no files and to no core dumps, which would hold faces.

    Args:
        memory_bytes: what it may allocate from now on; held to where the system tells what it has taken so far.
    """
    try:
        import resource
    except ImportError:  # no such thing on Windows: time limits are left
        return
    used = measure_address_space("self")
    if used:
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


if __name__ == "__main__":
    main()
