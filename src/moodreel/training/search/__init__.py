"""Searches over recipes: which settings are better, and why the paper's network does not converge."""
