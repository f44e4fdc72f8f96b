"""A late bundle tuned to a corpus of one's own: biases, fusion and last layers."""
