"""One file a family of data sets: its readers."""
