"""One program a question; each writes its figures to a results file."""
