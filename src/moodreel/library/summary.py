"""What a library holds, in a page of text: files, hours, failures, emotions over time, by folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from moodreel.labels import EMOTIONS
from moodreel.library.store import Store
from moodreel.text import printable

MOST_FOLDERS = 20
MOST_FAILURES = 10

_LENGTH_S = "sum(end_s - start_s)"


@dataclass(frozen=True)
class Shares:
    """What some files show.

    Attributes:
        name: of the folder or month.
        n_files: how many files.
        hours: how long they are together.
        shares: part of that time in which each emotion is the answer, in the order of `EMOTIONS`; the rest is unsure.
    """

    name: str
    n_files: int
    hours: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Summary:
    """What a library holds.

    Attributes:
        place: where it lies.
        n_files: files that were read.
        n_failed: files that could not be.
        hours: how long they are together.
        n_face: files with a face.
        n_voice: files with a voice.
        n_windows: windows in which something is seen or heard.
        n_people: people told apart within files.
        bundles: how many files each bundle answered, by its fingerprint's beginning.
        whole: the emotions of everything.
        folders: those of each folder, longest first, at most 20.
        months: those of each month, by the date of the files.
        failures: files and reasons, at most 10.
    """

    place: str
    n_files: int
    n_failed: int
    hours: float
    n_face: int
    n_voice: int
    n_windows: int
    n_people: int
    bundles: Mapping[str, int]
    whole: Shares
    folders: tuple[Shares, ...]
    months: tuple[Shares, ...]
    failures: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types, shares by emotion."""
        told = asdict(self)
        for group in (told["whole"], *told["folders"], *told["months"]):
            group["shares"] = dict(zip(EMOTIONS, group["shares"], strict=True))
        return told


def summarise(store: Store) -> Summary:
    """Say what a library holds.

    Raises:
        LibraryError: it is damaged or cannot be reached.
    """
    counts = (
        "SELECT count(*) FILTER (status = 'ok'), count(*) FILTER (status = 'failed'),"
        " coalesce(sum(duration_s), 0) / 3600, count(*) FILTER (has_face), count(*) FILTER (has_voice) FROM files"
    )
    ((n_files, n_failed, hours, n_face, n_voice),) = store.query(counts)
    ((n_windows,),) = store.query("SELECT count(*) FROM windows WHERE person = 0")
    ((n_people,),) = store.query("SELECT count(*) FROM people")
    bundles = "SELECT left(bundle, 12), count(*) FROM files WHERE status = 'ok' GROUP BY ALL ORDER BY ALL"
    failures = f"SELECT path, reason FROM files WHERE status = 'failed' ORDER BY path LIMIT {MOST_FAILURES}"
    (whole,) = _share(store, "''", "1") or (Shares("", 0, 0.0, (0.0,) * len(EMOTIONS)),)
    month = "strftime(make_timestamp(CAST(date_s * 1e6 AS BIGINT)), '%Y-%m')"
    return Summary(
        store.place.shown,
        n_files,
        n_failed,
        hours,
        n_face,
        n_voice,
        n_windows,
        n_people,
        dict(store.query(bundles)),
        whole,
        _share(store, "folder", f"length_h DESC, name LIMIT {MOST_FOLDERS}"),
        _share(store, month, "name"),
        tuple((path, reason) for path, reason in store.query(failures)),
    )


def _share(store: Store, group: str, order: str) -> tuple[Shares, ...]:
    """Return the emotions of the files of each group, a fixed expression over `files`."""
    shown = f"(SELECT file_id, label, {_LENGTH_S} shown_s FROM windows WHERE person = 0 AND NOT abstained GROUP BY ALL)"
    by_emotion = ", ".join(
        f"coalesce(sum(shown_s) FILTER (shown.label = '{emotion}'), 0) AS {emotion}" for emotion in EMOTIONS
    )
    files = f"(SELECT file_id, duration_s, {group} AS name FROM files WHERE status = 'ok')"
    lengths = f"(SELECT name, count(*) AS n_files, sum(duration_s) / 3600 AS length_h FROM {files} GROUP BY name)"
    query = (
        f"SELECT name, n_files, length_h, {by_emotion} FROM {lengths} lengths JOIN {files} files USING (name)"
        f" LEFT JOIN {shown} shown USING (file_id) GROUP BY name, n_files, length_h ORDER BY {order}"
    )
    return tuple(
        Shares(str(name), n, hours, tuple(shown_s / max(3600 * hours, 1e-9) for shown_s in rest))
        for name, n, hours, *rest in store.query(query)
    )


def format_summary(summary: Summary) -> str:
    """Write a summary as text."""
    return "\n".join(map(printable, _write(summary)))


def _write(summary: Summary) -> Iterator[str]:
    yield f"{summary.place}: {summary.n_files} files, {_clock(summary.hours)} hours, {summary.n_failed} failed"
    if summary.n_files:
        yield (
            f"{summary.n_face} with a face, {summary.n_voice} with a voice; {summary.n_windows} windows, "
            f"{summary.n_people} people"
        )
    if len(summary.bundles) > 1:
        told = ", ".join(f"{count} by {name}" for name, count in summary.bundles.items())
        yield f"read by {len(summary.bundles)} bundles: {told}"
    if summary.n_files:
        yield ""
        yield from _write_table("folder", [*summary.folders, *_name_whole(summary)])
        yield ""
        yield from _write_table("month", summary.months)
    if summary.failures:
        yield ""
        yield "failed (moodreel index --retry-failed tries them again):"
        yield from (f"  {reason}" for _, reason in summary.failures)
        if summary.n_failed > len(summary.failures):
            yield f"  and {summary.n_failed - len(summary.failures)} more"


def _name_whole(summary: Summary) -> Sequence[Shares]:
    whole = summary.whole
    return [Shares("all", whole.n_files, whole.hours, whole.shares)] if len(summary.folders) > 1 else []


def _write_table(title: str, groups: Sequence[Shares]) -> Iterator[str]:
    width = max(len(title), *(len(one.name) for one in groups))
    heads = "".join(f"{name:>9}" for name in (*EMOTIONS, "unsure"))
    yield f"{title:<{width}} {'files':>7} {'hours':>9}{heads}"
    for one in groups:
        values = "".join(f"{value:>9.0%}" for value in (*one.shares, max(0.0, 1 - sum(one.shares))))
        yield f"{one.name:<{width}} {one.n_files:>7} {_clock(one.hours):>9}{values}"


def _clock(hours: float) -> str:
    minutes, seconds = divmod(round(3600 * hours), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
