"""python -m llm_optimize"""

from .cli import main

main()
