"""The programs: one stage a file, each a function from a configuration to a path."""
