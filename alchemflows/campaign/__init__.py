"""Databases, submission, workers and queries around many flows."""
