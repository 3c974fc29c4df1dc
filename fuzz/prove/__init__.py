"""Proofs: claims about the model and the core for all inputs, decided by several engines, each kept awake."""
