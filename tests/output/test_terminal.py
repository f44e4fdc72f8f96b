"""Progress of many clips: files done of all, failures, and the time left of all."""

import pytest

from moodreel.media.parts import Part
from moodreel.output.clock import format_clock
from moodreel.output.terminal import Terminal, tell_progress


def test_progress_in_words():
    assert tell_progress(3, 40, 1, 750) == "3 of 40 files done, 1 failed, 12:30 left"
    assert tell_progress(3, 40, 0, 750, 2.5) == "3 of 40 files done, 2.5 files/s, 12:30 left"
    assert tell_progress(3, 40, 0, 750, 0.2) == "3 of 40 files done, 12.0 files/min, 12:30 left"
    assert tell_progress(0, 40, 0, None) == "0 of 40 files done"
    assert tell_progress(40, 40, 0, 0.0) == "40 of 40 files done"


@pytest.mark.parametrize(("time_s", "text"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3600, "1:00:00")])
def test_clock(time_s, text):
    assert format_clock(time_s) == text


def test_time_left_goes_by_the_size_of_files(monkeypatch, tmp_path):
    import rich.console

    now = iter([100.0, 110.0, 400.0])
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("moodreel.output.terminal.time.monotonic", lambda: next(now))
    monkeypatch.setattr(rich.console.Console, "is_terminal", property(lambda _: False))
    terminal = Terminal(quiet=False, verbose=False)
    with terminal.show_progress([10, 90], n_before=5):
        told = lambda: terminal._bars._tasks[terminal._all].description  # noqa: E731
        assert told() == "5 of 7 files done"
        terminal.start(Part(tmp_path / "a.mp4"))
        terminal.finish(0)
        assert told() == "6 of 7 files done, 6.0 files/min, 1:30 left", "10 s for a tenth of the bytes"
        terminal.start(Part(tmp_path / "b.mp4"))
        terminal.finish(1)
        assert told() == "7 of 7 files done, 1 failed"
