"""The feature cache: whole entries or none, whatever happens."""

import errno

import numpy as np
import pytest

from moodreel.errors import MediaError, OutputError
from moodreel.storage.cache import Cache, hash_file, make_key


def test_what_is_written_is_read(tmp_path):
    cache = Cache(tmp_path)
    key = make_key("x", {"b": 1, "a": None})
    assert cache.read(key) is None
    cache.write(key, {"frames": np.arange(6, dtype=np.uint8), "state": np.asarray("ok")})
    entry = cache.read(key)
    assert entry["frames"].tolist() == [0, 1, 2, 3, 4, 5] and str(entry["state"]) == "ok"
    assert key == make_key("x", {"a": None, "b": 1}) != make_key("x", {"a": None, "b": 2})


def test_a_damaged_entry_counts_as_none(tmp_path):
    cache, key = Cache(tmp_path), make_key(1)
    cache.write(key, {"a": np.zeros(100)})
    path = next(tmp_path.rglob("*.npz"))
    path.write_bytes(path.read_bytes()[:50])
    assert cache.read(key) is None
    path.write_bytes(b"")
    assert cache.read(key) is None


def test_pickles_are_never_read(tmp_path):
    cache, key = Cache(tmp_path), make_key(1)
    cache.write(key, {"a": np.array([{"code": 1}], dtype=object)})
    assert cache.read(key) is None


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match="No space left"):
        Cache(tmp_path).write(make_key(1), {"a": np.zeros(1)})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_files_are_known_by_content(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    assert hash_file(one) == hash_file(two)
    two.write_bytes(b"other")
    assert hash_file(one) != hash_file(two)
    with pytest.raises(MediaError, match="cannot be read"):
        hash_file(tmp_path / "none")
