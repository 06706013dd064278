"""What every room needs and no room owns: files, errors, the machine, tables, plots."""
