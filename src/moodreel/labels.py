"""The seven emotions, in the one order that every array, file and screen of moodreel uses."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from moodreel.errors import CorpusError

EMOTIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Label order of every probability vector: index 0 is `angry`, index 6 is `surprise`."""

N_EMOTIONS = len(EMOTIONS)

_SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "angry": "angry",
        "anger": "angry",
        "ang": "angry",
        "disgust": "disgust",
        "disgusted": "disgust",
        "dis": "disgust",
        "fear": "fear",
        "fearful": "fear",
        "fea": "fear",
        "happy": "happy",
        "happiness": "happy",
        "joy": "happy",
        "hap": "happy",
        "neutral": "neutral",
        "neu": "neutral",
        "calm": "neutral",
        "sad": "sad",
        "sadness": "sad",
        "surprise": "surprise",
        "surprised": "surprise",
        "sur": "surprise",
    }
)

IGNORE = "ignore"
"""What stands in a map of classes for a class whose clips are left out."""

_RELATED: Mapping[str, str] = MappingProxyType(
    {
        "scared": "fear",
        "afraid": "fear",
        "frightened": "fear",
        "terrified": "fear",
        "anxious": "fear",
        "joyful": "happy",
        "cheerful": "happy",
        "amused": "happy",
        "mad": "angry",
        "furious": "angry",
        "unhappy": "sad",
        "sorrow": "sad",
        "astonished": "surprise",
        "amazed": "surprise",
        "bored": "neutral",
        "tired": "neutral",
        "contempt": IGNORE,
        "contemptuous": IGNORE,
        "other": IGNORE,
        "unknown": IGNORE,
    }
)
"""What a user may well want to make of other words; proposed, and never done unasked."""

_FAR_OFF = frozenset({"bored", "tired"})
"""Those of `_RELATED` that are none of the seven, so that the nearest is named as no more than that."""

_ALIKE = 0.8
"""How like a known word a misspelt one must be: less, and `bad` would be taken for `sad`."""


def read_emotion(name: str) -> str:
    """Map a corpus's own name of an emotion to moodreel's.

    Args:
        name: any of the names corpora use (`anger`, `HAP`, `Fearful`, …), in any case.

    Returns:
        One of `EMOTIONS`. `calm` (RAVDESS) counts as `neutral`.

    Raises:
        ValueError: the name is not known; the message lists the names that are.
    """
    try:
        return _SYNONYMS[name.strip().lower()]
    except KeyError:
        raise ValueError(f"unknown emotion {name!r}: expected one of {', '.join(EMOTIONS)}") from None


def read_class_map(mapped: Iterable[str] = (), ignored: Iterable[str] = ()) -> dict[str, str]:
    """Read what a user says of a corpus's own classes.

    Args:
        mapped: `class=emotion` each, such as `joyful=happy`.
        ignored: names of classes whose clips are left out.

    Returns:
        Class in lower case -> one of `EMOTIONS`, or `IGNORE`.

    Raises:
        CorpusError: an entry cannot be read, an emotion is not known, or a class is named twice.
    """
    found: dict[str, str] = {}
    pairs = [(f"--map {text}", *text.partition("=")[::2]) for text in mapped]
    pairs += [(f"--ignore {name}", name, IGNORE) for name in ignored]
    for where, name, emotion in pairs:
        key, value = _read_entry(name, emotion, where)
        if found.setdefault(key, value) != value:
            raise CorpusError(f"{where}: {key!r} is {found[key]} already; say once what a class is")
    return found


def check_class_map(entries: Mapping[str, str], where: str) -> dict[str, str]:
    """Read the map of classes of a recipe: class -> emotion, or `ignore`.

    Raises:
        CorpusError: a name is empty or an emotion not known; begins with `where`.
    """
    return dict(_read_entry(name, emotion, f"{where}: labels") for name, emotion in entries.items())


def _read_entry(name: str, emotion: str, where: str) -> tuple[str, str]:
    key, wanted = name.strip().lower(), emotion.strip().lower()
    if not key or not wanted or "=" in key + wanted:
        raise CorpusError(f"{where}: expected CLASS=EMOTION, such as joyful=happy, or the name of a class to ignore")
    try:
        return key, IGNORE if wanted == IGNORE else read_emotion(wanted)
    except ValueError as error:
        raise CorpusError(f"{where}: {error}, or {IGNORE}") from None


def explain_unknown(names: Sequence[str]) -> str:
    """Say in one line that classes are not known and which options say what they are.

    Args:
        names: what a corpus calls them, at least one.
    """
    known = {name: _propose(name) for name in names}
    options = " ".join(_write_option(name, emotion) for name, emotion in known.items())
    listed = ", ".join(map(repr, names))
    return (
        f"unknown class {listed}, expected one of {', '.join(EMOTIONS)}"
        f"{_ask_for_spelling(names, known)}; say what it is: {options}{_name_nearest(names)}"
    )


def _propose(name: str) -> str | None:
    """Return what a class may be meant to be: an emotion, `IGNORE`, or `None` where nothing is like it."""
    key = name.strip().lower()
    if key in _RELATED:
        return _RELATED[key]
    near = difflib.get_close_matches(key, _SYNONYMS, n=1, cutoff=_ALIKE)
    return _SYNONYMS[near[0]] if near else None


def _write_option(name: str, emotion: str | None) -> str:
    if emotion == IGNORE:
        return f"--ignore {shlex.quote(name)}"
    if emotion is None:
        return f"--map {shlex.quote(name + '=EMOTION')} or --ignore {shlex.quote(name)}"
    return f"--map {shlex.quote(f'{name}={emotion}')}"


def _ask_for_spelling(names: Sequence[str], proposed: Mapping[str, str | None]) -> str:
    name = names[0]
    is_misspelt = len(names) == 1 and name.strip().lower() not in _RELATED and proposed[name] in EMOTIONS
    return f"; did you mean {proposed[name]!r}?" if is_misspelt else ""


def _name_nearest(names: Sequence[str]) -> str:
    far = [name for name in names if name.strip().lower() in _FAR_OFF]
    return f" ({', '.join(map(repr, far))}: none of the seven, neutral is the nearest)" if far else ""
