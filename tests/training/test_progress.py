"""No phase of training is silent: a bar with the time left on a terminal, lines in a log."""

import io
import logging
import sys

import pytest

from moodreel.training import progress
from moodreel.training.progress import phase


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_name_steps_and_time_left(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with phase("reading [clips]", 4) as show:
        show(3)
    for word in ("reading [clips]", "3/4", "left"):
        assert word in screen.getvalue()


def test_a_log_is_told_now_and_then_and_at_the_end(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "_SAY_EVERY_S", 0.0)
    with phase("reading", 4) as show:
        show(0)
        show(2)
    assert [record.getMessage() for record in caplog.records] == ["reading: 2 of 4, 0 s left", "reading: 4 of 4, 0 s"]


def test_a_phase_that_fails_does_not_say_that_it_is_done(caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(ValueError, match="x"), phase("reading", 4):
        raise ValueError("x")
    assert caplog.records == []


def test_a_process_that_shares_its_terminal_shows_no_bar(monkeypatch):
    monkeypatch.setattr(progress, "_is_shown", True)
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    progress.hide_bars()
    with phase("reading", 4) as show:
        show(3)
    assert screen.getvalue() == ""
