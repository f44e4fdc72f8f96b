"""The HTTP server: an API over the same recognizer as `moodreel predict`, and a page to drop a clip on."""
