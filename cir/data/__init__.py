"""A dataset folder: its annotations, its captions as texts, its photos."""
