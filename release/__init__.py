"""Model folder in, published artefact out."""
