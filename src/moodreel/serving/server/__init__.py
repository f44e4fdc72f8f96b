"""The process that answers HTTP: it never opens media."""
