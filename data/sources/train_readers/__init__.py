"""How the files of a training source become pairs: one module a family of sources."""
