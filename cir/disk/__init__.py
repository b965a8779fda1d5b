"""Files as every stage writes and reads them: whole or not at all, and never another's.

Begin with `files`.

    files        written aside and moved into place
    reading      regular files alone, so that no pipe makes a run wait
    locks        one writer at a time
    outputs      what a command will write, claimed before its work begins
    recognition  what cir made, told from what others made
    foreign      what stands in a folder of cir that cir did not put there
    contents     what stands in a folder, recorded
    hidden       the hidden files that cir keeps beside an output while it writes it
"""
