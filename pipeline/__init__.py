"""The programs: one stage a file, each a function from a configuration to a path.

`cir.config` says what they take, and `cli` makes the command line of it.

    folder, catalog, synth, check, merge     `cir data`: datasets made, checked and merged
    caption_pairs, add_queries               `cir data`: new queries from proposed pairs
    embed, mine, train, evaluate             the stages, in their order
    inspect, export, report                  manifests and runs, shown and handed on
    search, serve, push                      galleries searched
    pretrain                                 the bundled encoder, trained from scratch
    demo                                     all of it, on drawn garments
    cli                                      the command line, built from `cir.config`
    screen, command                          what the programs share
"""
