"""Arithmetic of single pairs of vectors, compiled.

Begin with `cosine`.

    cosine            the one cosine similarity on which every decision rests, bit for bit
    ordering          which of two candidates comes first
    codes             numbers → integers in the same order
    bytemask          candidates marked, a byte each
    integer_products  matrix products of 16-bit integers
    jit               how these loops are compiled, and where their machine code is kept
    threads           the threads in which they run
"""
