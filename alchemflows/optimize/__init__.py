"""Composition as a variable: how a relaxed crystal answers to its weights, and what follows from it."""
