"""`python -m llm_optimize` is the command `llm-optimize`."""

from .cli import main

if __name__ == "__main__":  # a process that f spawns imports this module again
    main()
