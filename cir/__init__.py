"""`cir`: mine negatives over precomputed embeddings and train composed image retrieval.

The library: one idea a file, no command line, no printing. The programs are in `pipeline`.
"""

__version__ = "0.1.0"
