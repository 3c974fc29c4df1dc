"""What a run of `zmm verify` is written down as: the record (JSON) first, and every other form made from it."""

from __future__ import annotations

from .record import DivergenceRecord, Record, TierRecord, decode, encode, make_record

__all__ = ["DivergenceRecord", "Record", "TierRecord", "decode", "encode", "make_record"]
