"""The voice network."""
