"""A worker as the server sees it: started, asked, killed."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

from moodreel.errors import MoodreelError
from moodreel.serving.protocol.messages import LONGEST_LINE, Message, receive_message
from moodreel.serving.protocol.options import WorkerOptions, measure_address_space
from moodreel.serving.protocol.replies import read_problem

COMMAND = (sys.executable, "-P", "-m", "moodreel.serving.worker.main")
"""What a worker is; -P: nothing is imported from the folder the server was started in."""

SECRETS = ("MOODREEL_TOKEN", "MOODREEL_WEBHOOK_SECRET")
_START_S = 60.0
_END_S = 5.0


class Worker:
    """A process that decodes. Made by `start_worker`.

    Attributes:
        pid: its process id.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self._process = process
        self._begun_bytes = 0

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.returncode is None

    def settle(self) -> None:
        """Take what it holds now for what it needs."""
        self._begun_bytes = measure_address_space(self.pid)

    def has_grown(self, most_bytes: int) -> bool:
        """Tell whether it holds more than so many bytes on top, which the next clip would lack."""
        return measure_address_space(self.pid) - self._begun_bytes > most_bytes

    async def send(self, message: Message) -> None:
        """Send a message, waiting while its pipe is full.

        Raises:
            EOFError: it has gone.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(message.encode())
            await self._process.stdin.drain()
        except OSError as error:
            raise EOFError from error

    async def receive(self) -> Message:
        """Wait for its next message.

        Raises:
            EOFError: it has gone.
        """
        assert self._process.stdout is not None
        return await receive_message(self._process.stdout)

    async def kill(self) -> None:
        """End it, whatever it is doing."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.stdin.close()
        # asyncio closes pipes when it hears of their end, which must be while its loop runs; what a process has left
        # behind may hold them open for ever.
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_END_S):
                await self._process.wait()
                await self._process.stdout.read()
                await self._process.stdin.wait_closed()


async def start_worker(options: WorkerOptions) -> Worker:
    """Start a worker and wait until its networks are open.

    Args:
        options: what it is to do.

    Raises:
        MoodreelError: its bundle cannot be used, or it cannot start.
    """
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        options.to_json(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Decoders complain about files by what is in them.
        stderr=asyncio.subprocess.DEVNULL,
        env=_environment(),
        limit=LONGEST_LINE,
        start_new_session=True,  # Ctrl-C is for the server, which ends its workers itself
    )
    worker = Worker(process)
    try:
        async with asyncio.timeout(_START_S):
            head = (await worker.receive()).head
        problem = None if head.get("ready") is True else read_problem(head)
    except (EOFError, TimeoutError):
        await worker.kill()
        raise MoodreelError("a worker process cannot start; try `moodreel doctor`, or free some memory") from None
    except asyncio.CancelledError:
        await worker.kill()
        raise
    if problem is not None:
        await worker.kill()
        raise MoodreelError(problem.detail)
    worker.settle()
    return worker


def _environment() -> dict[str, str]:
    """Return the server's environment without its secrets, and with few heaps: each takes 64 MB of address space."""
    kept = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return {**kept, "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"}
