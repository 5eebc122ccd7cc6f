"""Pydantic documents: what is stored, and what one part of the package hands to the next."""
