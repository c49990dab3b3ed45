"""What we claim about speed and survival, runnable: `make bench`, `make soak`, `make campaigns`."""
