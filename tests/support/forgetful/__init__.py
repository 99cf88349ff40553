"""Handlers that forget: deletions are not audited, and `make run` has to notice."""
