"""Training: corpora in, bundles out. Here, and under `predecessors`, alone is torch imported."""
