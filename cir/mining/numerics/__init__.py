"""Arithmetic of single pairs of vectors, compiled; begin with `cosine`.

cosine       the one cosine similarity that every decision rests on, bit for bit
ordering     which of two candidates comes first; how many codes lie above one
float_codes  floats as integers in the same order
bytemask     marks on candidates, and where they are
jit          how these loops are compiled, and where their machine code is kept
threads      the threads in which they run
"""
