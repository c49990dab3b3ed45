"""A server of the Model Context Protocol: runs as tools for coding agents.

`server` speaks the protocol by the SDK, `tools` does the work, `parameters` says which arguments
a tool takes, `allowed` what a human permits, `answers` what agents read, and `jobs` starts each
run in a process of its own, which executes `job`. The command `llm-optimize mcp` starts it.
"""
