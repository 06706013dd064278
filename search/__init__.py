"""Search in a folder of code."""
