"""The one reader of source trees: files, languages, definitions."""
