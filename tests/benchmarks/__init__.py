"""What measures. Nothing here is a test: `make test` does not collect it."""
