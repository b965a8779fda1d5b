"""What a person sees while a command works, and at its end.

Stages begin with `console`.

    console            notes and tables on standard output, progress on standard error
    bars               progress as bars, or as lines in a log
    patience           a line where a command has said nothing for a while
    tables             tables whose figures are never cut
    catalog_tables     what `cir data from-folder` and `from-catalog` say
    mined_tables       what `cir mine` says
    recall_tables      what `cir evaluate` says
    terminal_pictures  photos in the terminals that show them
"""
