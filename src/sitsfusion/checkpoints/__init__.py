"""Weights on disk: published layouts, one file per family, to our networks, and our own format (`common`)."""
