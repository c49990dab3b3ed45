"""The command `llm-optimize`, also as `python -m llm_optimize`."""

import sys

try:
    from .cli import main
except KeyboardInterrupt:  # Ctrl-C while this program is being imported
    sys.exit(130)

__all__ = ["main"]

# A process that f spawns (multiprocessing's "spawn") imports this module again.
if __name__ == "__main__":
    main()
