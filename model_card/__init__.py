"""The card that goes with a release: typed fields, a template, and the code that joins them."""
