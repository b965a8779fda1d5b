"""Photos and texts to vectors: the encoder, its weights, and whole datasets through it."""
