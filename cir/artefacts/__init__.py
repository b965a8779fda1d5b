"""What stages hand on: vectors and their provenance, the store, the manifest, checkpoints."""
