"""What can go wrong by a user's input. Each message is one line: what, where, what was expected, the way out."""

from __future__ import annotations


class MoodreelError(Exception):
    """A mistake of the input, not of the program; shown to users as one line without a traceback."""


class MediaError(MoodreelError):
    """A media file cannot be used: missing, not media, damaged, or without the stream asked for."""


class BundleError(MoodreelError):
    """A model bundle cannot be used: missing, damaged, foreign or of another schema version."""


class OutputError(MoodreelError):
    """A result cannot be written where the user asked."""


class CorpusError(MoodreelError):
    """A folder of training data does not hold what its reader expects."""


class RecipeError(MoodreelError):
    """A training recipe holds an unknown key or a value of the wrong type or range."""


class EvaluationError(MoodreelError):
    """Predictions cannot be scored or compared: damaged, doubled, or not of the same clips."""


class PredictionError(MoodreelError):
    """A stored prediction cannot be read: damaged, foreign or of another schema version."""


class LibraryError(MoodreelError):
    """A library cannot be used: missing, damaged, of another schema version, or written by somebody else just now."""


class QueryError(MoodreelError):
    """A query of a library cannot be understood.

    Attributes:
        pointer: two lines to show below the message, the query and carets under the mistake; or empty.
    """

    def __init__(self, problem: str, pointer: str = "") -> None:
        super().__init__(problem)
        self.pointer = pointer
