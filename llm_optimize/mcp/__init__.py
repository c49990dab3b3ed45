"""A server of runs for coding agents: `llm-optimize mcp`."""
