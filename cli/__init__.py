"""One file a verb of the command line: its arguments, one call into a room, printing."""
