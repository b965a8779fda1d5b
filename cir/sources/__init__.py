"""Datasets that are made here: from a folder or a catalogue of photos, or drawn.

    catalog        photos, and a CSV of attributes where there is one → a dataset
    synthetic      drawn garments → a dataset
    added_queries  a dataset and worded pairs → a dataset with more queries
    merged         several datasets → one

What they share:

    photo_folder   the photos of a folder
    photo_index    those photos by what a catalogue may call them
    split_names    how people name splits
    links          how photos enter a dataset folder
    pairing        pairs of photos that differ in one or two attributes
    wording        their difference in words (`vocabulary`, `nouns`)
    annotations    the files of a dataset folder
"""
