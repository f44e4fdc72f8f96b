"""Files: written whole or not at all, and the cache of what was computed once."""

from __future__ import annotations

from moodreel.storage.cache import Cache, default_cache, hash_file, make_key
from moodreel.storage.whole_files import whole_file, whole_folder, write_text

__all__ = [
    "Cache",
    "default_cache",
    "hash_file",
    "make_key",
    "whole_file",
    "whole_folder",
    "write_text",
]
