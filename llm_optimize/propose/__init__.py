"""Who writes the next x, one kind a file; import the module of the one that you want."""
