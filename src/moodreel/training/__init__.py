"""Training: imports torch; nothing outside this package does."""
