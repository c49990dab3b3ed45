"""To look at runs: fed by events and the store, they steer nothing."""
