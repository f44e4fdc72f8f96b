"""Answers out: as text, as pictures, to files and to the terminal."""
