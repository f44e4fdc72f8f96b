"""Whatever a clip sets off is one line that names it."""

import pytest

from moodreel.errors import MediaError, OutputError
from moodreel.media.defence import name_clip


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (IndexError("list index out of range"), "IndexError: list index out of range"),
        (ValueError("one\ntwo\x1b"), "ValueError: one"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_an_unexpected_exception_names_clip_and_kind(error, said):
    with pytest.raises(MediaError) as caught, name_clip("a\nb.mp4"):
        raise error
    assert str(caught.value) == f"a\\nb.mp4: cannot be read: {said}; please report it, with the clip if you can"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [MediaError("no media"), OutputError("disk full"), KeyboardInterrupt(), SystemExit(1)]
)
def test_what_is_expected_passes(error):
    with pytest.raises(type(error)) as caught, name_clip("a.mp4"):
        raise error
    assert caught.value is error
