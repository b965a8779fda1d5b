"""Recall@K under a stated protocol."""
