"""Data sets as typed rows, each with its reader, and what builds pairs and evaluation sets from them."""
