"""The network that tells from lips and sound who speaks: its training."""
