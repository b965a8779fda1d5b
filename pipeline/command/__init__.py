"""What every command does in the same way.

`pipeline.cli` calls these around every stage.

    starting  it starts soon
    flags     it spells the fields of its configuration
    claims    it claims its outputs before it begins
    stores    it reads a store, if it is of the photos that are there
    faults    it ends: with a line for what went wrong, and an exit code
    leaving   it leaves when a signal says so, and leaves nothing behind
"""
