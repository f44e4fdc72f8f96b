"""Serving: an HTTP API and a page; a server process that never decodes, and workers that do."""
