"""The process that reads clips: it may crash, and never imports the web framework."""
