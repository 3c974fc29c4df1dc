"""The properties of the model: contracts, mask forms, its chunk on open states; and whatever can be counted out."""

from __future__ import annotations

from .property import Property
from .sources import Change

_SIZES, _PAGES, _STATE = "model/sizes.py", "model/pages.py", "model/state.py"
_SIZE = "all sizes up to 2**64 - 1"
_BINS = "all 30 bins"


def _contract(name: str, sentence: str, claim: str, bound: str, change: Change, *, is_quick: bool = False) -> Property:
    file = f"model/{claim.split('.', maxsplit=1)[0]}.py"
    subject = f"{claim.split('.')[1]} ({change.file if file == 'model/states.py' else file})"
    return Property(name, sentence, subject, "crosshair", bound, claim, change, is_quick=is_quick)


CONTRACTS = (
    _contract(
        "contract-bin-of",
        "A small request goes to the smallest bin that holds it.",
        "sizes.bin_of",
        "all sizes up to 3072",
        Change(_SIZES, "bit_length() - 7", "bit_length() - 6"),
        is_quick=True,
    ),
    _contract(
        "contract-bin-bytes",
        "Slots are multiples of 8 bytes, grow with their bin, and are of their own bin.",
        "sizes.bin_bytes",
        _BINS,
        Change(_SIZES, "(5 + (bin_index - 8) % 4) * step_bytes", "(6 + (bin_index - 8) % 4) * step_bytes"),
    ),
    _contract(
        "contract-bin-elements",
        "A run holds as many slots as fit whole, and no more would.",
        "sizes.bin_elements",
        _BINS,
        Change(
            _SIZES,
            "return bin_pages(bin_index) * PAGE_BYTES // bin_bytes(bin_index)",
            "return PAGE_BYTES // bin_bytes(bin_index)",
        ),
    ),
    _contract(
        "contract-bin-waste",
        "What is left of a run is less than a slot.",
        "sizes.bin_waste",
        _BINS,
        Change(_SIZES, "PAGE_BYTES - bin_elements(bin_index)", "PAGE_BYTES - (bin_elements(bin_index) - 1)"),
    ),
    _contract(
        "contract-round-up",
        "Rounding gives the least multiple that is not below the size.",
        "sizes.round_up",
        f"{_SIZE}; units 8, 4096, 2 MiB",
        Change(
            _SIZES,
            "(size_bytes + unit_bytes - 1) // unit_bytes * unit_bytes",
            "(size_bytes + unit_bytes) // unit_bytes * unit_bytes",
        ),
        is_quick=True,
    ),
    _contract(
        "contract-pages-for",
        "The pages for a size hold it, and one less would not.",
        "sizes.pages_for",
        _SIZE,
        Change(_SIZES, "return (size_bytes + PAGE_BYTES - 1) // PAGE_BYTES\n", "return size_bytes // PAGE_BYTES + 1\n"),
    ),
    _contract(
        "contract-is-huge",
        "A request has a mapping of its own when 511 pages do not hold it.",
        "sizes.is_huge",
        _SIZE,
        Change(_SIZES, "return size_bytes > LARGE_BYTES_MAX", "return size_bytes >= LARGE_BYTES_MAX"),
    ),
    _contract(
        "contract-huge-overflows",
        "Rounding overflows in the last page of the range, and only there.",
        "sizes.huge_overflows",
        _SIZE,
        Change(
            _SIZES, "round_up(size_bytes, PAGE_BYTES) > SIZE_MAX", "round_up(size_bytes, PAGE_BYTES) > SIZE_MAX + 1"
        ),
    ),
    _contract(
        "contract-block-bytes",
        "A block holds its request, is a multiple of 8 bytes, and wastes less than a page.",
        "sizes.block_bytes",
        "all sizes whose rounding does not overflow",
        Change(
            _SIZES,
            "bin_bytes(bin_of(size_bytes)) return round_up(size_bytes, PAGE_BYTES)",
            "bin_bytes(bin_of(size_bytes))\n    return round_up(size_bytes, PAGE_BYTES) + 4096",
        ),
    ),
    _contract(
        "contract-safe-size",
        "count * size + offset is exact, or refused because it is no size.",
        "sizes.safe_size",
        "all 2**192 arguments",
        Change(_SIZES, "total if total <= SIZE_MAX else None", "total if total <= SIZE_MAX + 1 else None"),
    ),
    _contract(
        "contract-stays-in-bin",
        "A slot is kept only for what fits, and down to the next smaller bin.",
        "sizes.stays_in_bin",
        f"{_BINS}; {_SIZE}",
        Change(_SIZES, "bin_index == 0 or size_bytes >= bin_bytes(bin_index - 1)", "bin_index > 0 or size_bytes >= 8"),
    ),
    _contract(
        "contract-kept-bytes",
        "A resize keeps no more than there was, than fits, and than was asked for.",
        "contents.kept_bytes",
        "all 2**192 arguments",
        Change(
            "model/contents.py",
            "kept = old_bytes if old_bytes < new_bytes else new_bytes",
            "kept = old_bytes if old_bytes < new_bytes + 2 else new_bytes",
        ),
    ),
    _contract(
        "contract-mapped-bytes",
        "One request maps a chunk, or a huge block of whole pages that holds it.",
        "accounting.mapped_bytes",
        _SIZE,
        Change("model/accounting.py", "inner_bytes + PAGE_BYTES - 1", "inner_bytes - PAGE_BYTES"),
    ),
    _contract(
        "contract-counters",
        "From any counters: size and real_size never pass their peaks, whatever is counted, acquired or limited.",
        "states.Counters",
        "all states whose counters are below 2**62",
        Change(
            "model/supply.py", "state.peak = max(state.peak, state.size)", "state.peak = max(state.peak, size_bytes)"
        ),
    ),
)


def _form(name: str, sentence: str, subject: str, bound: str, claim: str, old: str, new: str, **more: bool) -> Property:
    return Property(name, sentence, subject, "z3", bound, f"claims_masks:{claim}", Change("form", old, new), **more)


_ALL = "all numbers of 64 bits"
FORMS = (
    _form(
        "mask-round-page",
        "Rounding up by mask is the model's rounding, modulo 2**64.",
        "round_up (model/sizes.py)",
        _ALL,
        "round_to_page",
        "(x + 4096 - 1)",
        "(x + 4096)",
        is_quick=True,
    ),
    _form(
        "mask-round-chunk",
        "The same for 2 MiB.",
        "round_up (model/sizes.py)",
        _ALL,
        "round_to_chunk",
        "~(2097152 - 1)",
        "~(1048576 - 1)",
        is_quick=True,
    ),
    _form(
        "mask-pages",
        "Pages by shift are the model's pages, for every size whose rounding does not overflow.",
        "pages_for (model/sizes.py)",
        _ALL,
        "pages_by_shift",
        "4095",
        "4096",
        is_quick=True,
    ),
    _form(
        "mask-align-down",
        "Aligning down by mask is the multiple below.",
        "masks of kernel.c and ground.c",
        f"{_ALL}; powers of two from 4096 to 2**32",
        "align_down",
        "~(a - 1)",
        "~(a - 2)",
    ),
    _form(
        "mask-to-aligned",
        "The distance to the next aligned address is what the mask form says.",
        "head_bytes (zmm/core/kernel.c)",
        f"{_ALL}; powers of two from 4096 to 2**32",
        "distance_to_aligned",
        "& (a - 1))) & (a - 1)",
        "& (a - 1))) & a",
    ),
    _form(
        "seal-is-one-to-one",
        "Multiplying by the link's factor and by its inverse changes no number.",
        "LINK_FACTOR (zmm/core/link.h)",
        _ALL,
        "seal_and_open",
        "0xF1DE83E19937733D",
        "0xF1DE83E19937733F",
        is_quick=True,
    ),
    Property(
        "model-over-limit",
        "While no more than the limit is in use, exactly what would pass it is refused.",
        "HeapState.over_limit (model/state.py)",
        "z3",
        "all 2**192 states",
        "claims_masks:over_limit",
        Change(_STATE, "more_bytes > (self.limit - self.real_size)", "more_bytes >= (self.limit - self.real_size)"),
        is_quick=True,
    ),
    Property(
        "model-set-limit",
        "A limit is accepted exactly when no more than it is in use.",
        "set_limit (model/request.py)",
        "z3",
        "all 2**192 states, nothing in the cache",
        "claims_masks:limit_is_stored",
        Change("model/request.py", "if limit_bytes < state.real_size:", "if limit_bytes + 1 < state.real_size:"),
        is_quick=True,
    ),
    Property(
        "model-best-fit",
        "The search by bits finds the shortest gap that is long enough, the lowest of equals.",
        "Chunk.find (model/pages.py)",
        "z3",
        "all maps of 5 pages across a border of words; all lengths",
        "claims_masks:best_fit",
        Change(_PAGES, "if length < best_pages:", "if length <= best_pages:"),
        seconds=600,
    ),
    Property(
        "model-free-pages",
        "Taking, growing, shrinking and giving back keep free_pages the number of free pages.",
        "Chunk (model/pages.py)",
        "z3",
        "all maps of 24 pages across a border of words; all runs in them",
        "claims_masks:chunk_keeps_count",
        Change(_PAGES, "self.free_pages -= new_pages - old_pages", "self.free_pages -= new_pages"),
        seconds=600,
    ),
)


def _search(name: str, sentence: str, subject: str, bound: str, claim: str, change: Change, **more: bool) -> Property:
    return Property(name, sentence, subject, "hypothesis", bound, f"claims_search:{claim}", change, **more)


SEARCHES = (
    _search(
        "search-product",
        "The product of three sizes is exact or refused.",
        "safe_size (model/sizes.py)",
        "all 2**192 arguments",
        "product",
        Change(_SIZES, "total if total <= SIZE_MAX else None", "total if total != 3 * 2**63 else None"),
    ),
    _search(
        "search-kept-bytes",
        "What a resize keeps is the least of three sizes.",
        "kept_bytes (model/contents.py)",
        "all 2**192 arguments",
        "kept_bytes",
        Change("model/contents.py", "else copy_bytes", "else kept"),
    ),
    _search(
        "search-order",
        "More bytes never get a smaller block.",
        "block_bytes (model/sizes.py)",
        "all pairs of sizes beyond the bins",
        "order",
        Change(
            _SIZES,
            "bin_bytes(bin_of(size_bytes)) return round_up(size_bytes, PAGE_BYTES)",
            "bin_bytes(bin_of(size_bytes))\n    return round_up(size_bytes, PAGE_BYTES) % 2**62",
        ),
    ),
    _search(
        "search-machine",
        "Whatever the model's heap does, size is the sum of its blocks.",
        "alloc, free (model/supply.py)",
        "1 to 3 steps; sizes up to large; a search, hardly ever a proof",
        "machine",
        Change("model/supply.py", "state.size -= block_bytes", "state.size -= block_bytes - 1"),
        is_extra=True,
    ),
)


def _counted(name: str, sentence: str, subject: str, bound: str, claim: str, change: Change) -> Property:
    return Property(name, sentence, subject, "exhaustive", bound, f"claims_finite:{claim}", change, is_quick=True)


_CORE, _LINK = "zmm/core/core.h", "zmm/core/link.h"
COUNTED = (
    _counted(
        "all-small-sizes",
        "The core's bin is the model's, by its formula and by its table.",
        "bin_of_size (zmm/core/classes.h)",
        "all sizes 0 to 3072",
        "bins_of_all_sizes",
        Change("zmm/core/classes.c", "TIMES2(8), TIMES2(9)", "TIMES1(8), TIMES1(9), TIMES2(9)"),
    ),
    _counted(
        "all-bins",
        "Bytes, pages and elements of every bin are the model's.",
        "BIN_TABLE (zmm/core/classes.c)",
        _BINS,
        "tables_of_all_bins",
        Change("zmm/core/classes.c", "BIN(26, 1792, 16, 7)", "BIN(26, 1800, 15, 7)"),
    ),
    _counted(
        "all-masks",
        "The model's table of masks is its formula.",
        "MASKS (model/pages.py)",
        "all lengths 0 to 512",
        "masks_of_all_lengths",
        Change(_PAGES, "(1 << pages) - 1 for pages", "(1 << pages) - (pages != 400) for pages"),
    ),
    _counted(
        "all-page-words",
        "What is packed into a page word comes out again.",
        "page_word (zmm/core/layout.h)",
        "all bins and distances, all run lengths; six heaps",
        "words_of_all_runs",
        Change("zmm/core/layout.h", "return (uint32_t)word & 0x3ff;", "return (uint32_t)word & 0x1fe;"),
    ),
    _counted(
        "all-page-borders",
        "Huge sizes are rounded as the model rounds.",
        "huge_round (zmm/core/core.h)",
        "one byte around every page border up to 4 MiB, and around 2**64",
        "rounding_at_all_pages",
        Change(
            _CORE,
            "(size_bytes + ZMM_PAGE_BYTES - 1) & ~(ZMM_PAGE_BYTES - 1)",
            "(size_bytes + ZMM_PAGE_BYTES) & ~(ZMM_PAGE_BYTES - 1)",
        ),
    ),
    _counted(
        "all-slots-kept",
        "A resized block keeps its slot exactly where the model's does.",
        "resize_in_place (zmm/core/resize.c)",
        "all bins, all sizes 0 to 3073",
        "slots_kept",
        Change(
            "zmm/core/resize.c",
            "size_bytes >= bin_bytes[look->bin_index - 1]",
            "size_bytes > bin_bytes[look->bin_index - 1]",
        ),
    ),
    _counted(
        "all-copied-links",
        "A link of 8 bytes copied to another slot opens outside of the range of chunks.",
        "link_seal (zmm/core/link.h)",
        "all distances of slots within a chunk; all keys (with ir-link-copied)",
        "copied_links",
        Change(
            _LINK,
            "LINK_FACTOR UINT64_C(0x9E3779B97F4A7C15) #define LINK_INVERSE UINT64_C(0xF1DE83E19937733D)",
            "LINK_FACTOR UINT64_C(0x1)\n#define LINK_INVERSE UINT64_C(0x1)",
        ),
    ),
    _counted(
        "all-link-bytes",
        "A byte changed in each word of a link, or in the one of 8 bytes, is seen, or leads out of the range.",
        "link_seal (zmm/core/link.h)",
        "all 8 places, all changes; all keys",
        "bytes_of_links",
        Change(
            _LINK,
            "LINK_FACTOR UINT64_C(0x9E3779B97F4A7C15) #define LINK_INVERSE UINT64_C(0xF1DE83E19937733D)",
            "LINK_FACTOR UINT64_C(0x1)\n#define LINK_INVERSE UINT64_C(0x1)",
        ),
    ),
)
