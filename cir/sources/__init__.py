"""Datasets that are made here: from a catalogue of photos, or drawn.

Begin with `make_gallery` or `make_catalog` (`catalog`: a folder of photos, without or with a CSV of
attributes) or with `draw_dataset` (`synthetic`: garments). Both pair images that differ in one or
two attributes (`pairing`), say the difference in captions (`wording`, with the words in
`vocabulary` and `nouns`) and write the files of a dataset folder (`annotations`).

    photo_folder, photo_index, split_names                            photos and their names
    csv_form, catalog_csv, column_content, column_guess               the CSV of a catalogue
    catalog_photos, catalog_splits, catalog_queries                   parts of `catalog`
    facets, thumbnails                                                what names and photos tell
    garments, drawing, outlines, textures                             parts of `synthetic`
"""
