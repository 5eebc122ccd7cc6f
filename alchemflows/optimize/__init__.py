"""Optimisation of composition: the response of a relaxed crystal to its weights, and gradient descent on them."""
