"""The command `llm-optimize`, as `python -m llm_optimize`."""

from .cli import main

# A process that f spawns (multiprocessing's "spawn") imports this module again.
if __name__ == "__main__":
    main()
