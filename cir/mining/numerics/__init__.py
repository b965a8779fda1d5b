"""Arithmetic of single pairs of vectors, compiled. Begin with `cosine`.

`cosine` is the one cosine similarity on which every decision rests, bit for bit. `ordering` says
which of two candidates comes first, `codes` turns numbers into integers in the same order, and
`bytemask` marks candidates. `jit` says how these loops are compiled and where their machine code is
kept, and `threads` starts the threads in which they run.
"""
