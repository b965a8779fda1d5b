"""Which images can be no negative of which query."""
