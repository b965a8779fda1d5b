"""Reference and text to one query vector: combiners, their losses, and trained ones."""
