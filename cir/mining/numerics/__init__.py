"""Arithmetic of single pairs, compiled: the one cosine, codes of floats, their order, threads."""
