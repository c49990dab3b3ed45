"""AutoML on top of the optimizer: guests that use its front door like any caller."""
