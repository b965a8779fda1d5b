"""Datasets that are made here: from a catalogue of photos, or drawn.

Begin with `make_catalog` (`catalog`: a CSV of attributes and a folder of photos) or `draw_dataset`
(`synthetic`: garments). Both pair images that differ in one or two attributes (`pairing`), say the
difference in captions (`wording`, with the words in `vocabulary` and `nouns`) and write the files
of a dataset folder (`annotations`).

    catalog_csv, catalog_photos, catalog_splits, facets, thumbnails   parts of `catalog`
    garments, drawing, outlines, textures                             parts of `synthetic`
"""
