"""Structures as they are written: reading files, what their sites hold, and which sites are alike."""
