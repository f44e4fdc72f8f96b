"""Corpora: folders of labelled clips, read into `Sample`s.

corpus = read_corpus("RAVDESS")
corpus.layout, len(corpus.samples), corpus.speakers
"""

from __future__ import annotations

from moodreel.corpora.describe import CorpusDescription, describe_corpus, render_description
from moodreel.corpora.feature_files import read_feature_file
from moodreel.corpora.layout import Layout
from moodreel.corpora.read import detect_layout, find_layouts, read_corpus
from moodreel.corpora.sample import SPLITS, UNKNOWN_SPEAKER, Corpus, CorpusProblem, Sample, natural_key

__all__ = [
    "SPLITS",
    "UNKNOWN_SPEAKER",
    "Corpus",
    "CorpusDescription",
    "CorpusProblem",
    "Layout",
    "Sample",
    "describe_corpus",
    "detect_layout",
    "find_layouts",
    "natural_key",
    "read_corpus",
    "read_feature_file",
    "render_description",
]
