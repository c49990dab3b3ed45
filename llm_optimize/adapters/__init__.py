"""Our proposers inside other libraries, one library a file; import the module of the one that you have."""
