"""The command as a user types it: in a process of its own, or in this one where that takes long to start."""

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from moodreel.cli import main as cli


@dataclass(frozen=True)
class Done:
    """What a command left: exit status and all it printed."""

    status: int
    out: str
    err: str

    @property
    def errors(self):
        """Lines that say what went wrong."""
        assert "Traceback" not in self.err, self.err
        return [line for line in self.err.splitlines() if "error:" in line]


def moodreel(*arguments, cwd=None):
    """Run `moodreel ARGUMENTS` in a process of its own."""
    command = [sys.executable, "-m", "moodreel", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment, timeout=600)
    return Done(done.returncode, done.stdout, done.stderr)


def moodreel_here(*arguments):
    """Run `moodreel ARGUMENTS` in this process, which need not import torch each time."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["moodreel", *map(str, arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main()
                status = 0
            except SystemExit as exit:
                status = exit.code or 0
    return Done(status, out.getvalue(), err.getvalue())
