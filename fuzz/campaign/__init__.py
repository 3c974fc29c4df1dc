"""Campaigns: engines guided by coverage, their corpora, their workers, and what becomes of their crashes."""
