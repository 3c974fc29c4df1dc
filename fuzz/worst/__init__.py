"""Worst cases: programs that make an allocator look as bad as a search could make it look, and the search."""
