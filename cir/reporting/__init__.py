"""Runs and manifests as HTML pages and as tables: charts, photos, figures.

Begin with `write_report` (`report`: the page of a training run) or `write_manifest_page` and
`write_comparison_page` (`manifest_page`: a manifest, or two compared).

    run_record, epoch_figures, mined_epochs   what a run folder holds
    run_charts, manifest_charts               charts of a run, of manifests
    charts, svg                               how charts are drawn
    manifest_tables, comparison_tables        tables, for the page and for the screen
    text_bars                                 histograms as text
    examples, cards, triplets                 queries with their photos
    album, pictures                           photos inside a page
    pages, templates/                         what all pages share
"""
