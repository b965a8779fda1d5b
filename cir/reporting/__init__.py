"""Runs, manifests and searches as HTML pages and as tables: charts, photos, figures.

Begin with `write_report` (`report`) or with `write_manifest_page` and `write_comparison_page`
(`manifest_page`). The pages:

    report             a training run, finished or not
    manifest_page      a manifest, or two compared
    search_page        what a search found

What they show:

    run_record         what a run folder holds (`epoch_figures`, `mined_epochs`, `judged`,
                       `held_out`)
    doubts             what a reader of a run's figures should doubt
    run_charts         charts of a run (`category_chart`)
    manifest_charts    charts of manifests (`gaps`)
    manifest_tables    tables, for the page and for the screen (`comparison_tables`)
    examples           queries with what they retrieved before and after training
    triplets           rows of manifests as photos

What they are made of:

    pages              what all pages share (`templates/`)
    charts             how charts are drawn (`svg`), also as text (`text_bars`)
    cards              queries as cards of photos
    album              the photos of a page, each inside it once (`pictures`)
"""
