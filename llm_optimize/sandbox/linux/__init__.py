"""The Linux part of the sandbox."""
