"""Drawn garments as a dataset, whose labels are complete.

Begin with `dataset`.

    dataset   garments, drawn and paired → a dataset
    garments  what a garment may be
    drawing   one garment → a photo of it
    outlines  its cut
    textures  its cloth
"""
