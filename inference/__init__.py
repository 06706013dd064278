"""A model folder in, vectors out."""
