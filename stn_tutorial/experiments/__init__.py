"""Long runs, their records, and the command line that repeats any of them."""
