"""Grey values."""

from __future__ import annotations

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R BT.601), as FER2013's makers' tools used."""
