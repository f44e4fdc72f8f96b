"""A worker's process and its pipes, as the server holds them."""

import asyncio
import sys

from moodreel.serving.server import worker_process
from moodreel.serving.server.worker_process import Worker

LEAVES_A_CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep({})']); {}"


async def start(child_s, then):
    """Start what stands for a worker, whose child holds its pipes for some seconds."""
    pipe, code = asyncio.subprocess.PIPE, LEAVES_A_CHILD.format(child_s, then)
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=pipe, stdout=pipe)


def test_the_pipes_of_a_worker_that_died_are_closed_before_its_loop_is():
    """Else asyncio closes them when they are collected, and complains that the event loop is closed."""

    async def run():
        process = await start(1, "exit()")
        worker = Worker(process)
        while worker.is_alive:
            await asyncio.sleep(0.01)
        await worker.kill()
        return process.stdin.is_closing(), process.stdout.at_eof()

    assert asyncio.run(run()) == (True, True)


def test_what_a_killed_worker_leaves_behind_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(worker_process, "_END_S", 0.1)

    async def run():
        process = await start(5, "print(1, flush=True); input()")
        await process.stdout.readline()
        await Worker(process).kill()
        is_held = not process.stdout.at_eof()
        await process.stdout.read()
        return is_held

    assert asyncio.run(run())
