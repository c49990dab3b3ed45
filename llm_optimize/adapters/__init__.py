"""Adapters: our proposers inside other libraries, one library per module.

Import the module of the library that you have, such as `llm_optimize.adapters.optuna`.
"""
