"""Optimise compositions: derivatives of a relaxed crystal with respect to its weights, and gradient descent."""
