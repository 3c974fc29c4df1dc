"""Bugs on purpose: patches that plant them in a copy of the core, and how long the suite takes to find each."""
