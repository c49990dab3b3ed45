"""Running code that may be hostile."""
