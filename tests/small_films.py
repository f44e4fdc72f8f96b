"""A folder of short clips of every kind, each with a content of its own, for tests of libraries."""

import numpy as np

from media_files import syllables, write_clip, write_wav
from moodreel.cli.demo_clip import pan_portrait


def write_films(folder, n, seconds=1.0):
    """Write `n` clips: of four a face with a voice, a face, a tone and a file that is no media."""
    faces = [np.asarray(frame) for frame in pan_portrait(10, (160, 120))]
    for number in range(n):
        path = folder / f"reel {number % 3}" / f"clip {number:03d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number % 4 == 3:
            path.with_suffix(".mp4").write_bytes(b"no media, number %d" % number)
        elif number % 4 == 2:
            time_s = np.arange(int(16_000 * seconds)) / 16_000
            write_wav(path.with_suffix(".wav"), syllables(100 + number)(time_s)[:, None])
        else:
            write_clip(
                path.with_suffix(".mp4"),
                seconds,
                size=(160, 120),
                frames=lambda index, number=number: np.roll(faces[index % 10], number % 40, axis=1),
                sound=syllables(100 + number) if number % 4 == 0 else None,
            )
    return folder


def read_rows(store):
    """Return all rows of a library but for when they were written, by table."""
    connection = store.connect()
    orders = {"files": "file_id", "windows": "file_id, person, start_s", "people": "file_id, person"}
    return {
        table: connection.execute(
            f"SELECT * {'EXCLUDE indexed_s' if table == 'files' else ''} FROM {table} ORDER BY {order}"
        ).fetchall()
        for table, order in orders.items()
    }
