"""The training engine: what a step is made of, what an epoch ends with, what a run leaves."""
