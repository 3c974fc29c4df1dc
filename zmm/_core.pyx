# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
"""
The core, for Python: heaps whose blocks are addresses, and blocks that are buffers.

Every address is looked up before the core sees it, so that a mistake made in Python is an exception.  The GIL is never
released: a call costs less than letting go of it.  ``zmm.heap`` dresses :class:`Heap` for use.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

from .errors import (
    BlockExportedError,
    ClosedBlockError,
    ClosedHeapError,
    HeapBusyError,
    HeapCorruptedError,
    InvalidBlockError,
    LimitInUseError,
    MemoryLimitError,
    SizeOverflowError,
    SystemRefusalError,
    WrongThreadError,
)

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil
    size_t PyLong_AsSize_t(object) noexcept  # the error is looked for where SIZE_MAX comes back
    PyObject *PyErr_Occurred() noexcept
    void PyErr_Clear() noexcept
    void PyErr_SetObject(object, object) noexcept
    void PyErr_WriteUnraisable(object) noexcept

cdef extern from "_guard.h":
    const char *ZMM_VERSION
    const size_t ZMM_PAGE_BYTES, ZMM_CHUNK_BYTES, ZMM_SMALL_BYTES_MAX, ZMM_LARGE_BYTES_MAX
    enum:
        ZMM_BIN_COUNT
        ZMM_PLACE_NONE
        ZMM_REFUSAL_LIMIT
        ZMM_REFUSAL_SYSTEM
        ZMM_REFUSAL_OVERFLOW
    size_t SIZE_MAX
    ctypedef bint c_bool "bool"
    ctypedef int zmm_edition
    ctypedef int zmm_place_kind
    ctypedef int zmm_refusal_kind

    ctypedef struct zmm_heap:
        pass
    ctypedef struct zmm_storage:
        pass
    ctypedef struct zmm_storage_handlers:
        void *(*chunk_alloc)(zmm_storage *, size_t, size_t) noexcept
        void (*chunk_free)(zmm_storage *, void *, size_t) noexcept
        c_bool (*chunk_truncate)(zmm_storage *, void *, size_t, size_t) noexcept
        c_bool (*chunk_extend)(zmm_storage *, void *, size_t, size_t) noexcept
    ctypedef struct zmm_options:
        zmm_edition edition
        size_t limit_bytes
        const zmm_storage_handlers *handlers
        c_bool wipes
        uint32_t guard_every, check_every
    ctypedef struct zmm_switches:
        uint32_t level
    ctypedef struct zmm_panic:
        const char *hint, *owner
        const zmm_heap *heap, *owner_heap
        const void *block, *alloc_site, *free_site, *access_site
        size_t block_bytes, requested_bytes
        c_bool block_is_live, has_values
        int32_t bin_index
        uint32_t mapping_index, page_index, slot_index
        uint64_t expected, found
    ctypedef struct zmm_usage:
        size_t size_bytes, peak_bytes, real_size_bytes, real_peak_bytes, limit_bytes
        uint32_t chunk_count, chunk_count_peak, cached_chunk_count, delete_boundary, delete_count, missing_fence_count
        double chunk_count_average
    ctypedef struct zmm_place:
        zmm_place_kind kind
        uint32_t mapping_index, page_index, slot_index
        size_t block_bytes, offset_bytes
    ctypedef struct zmm_chunk_view:
        uint32_t mapping_index, number, free_pages, free_tail
        c_bool cached
        const uint64_t *free_map
    ctypedef struct zmm_run_view:
        uint32_t mapping_index, page_index, page_count, free_slots
        int32_t bin_index
    ctypedef struct zmm_huge_view:
        uint32_t mapping_index
        size_t size_bytes
    ctypedef struct zmm_free_slot_view:
        uint32_t bin_index, mapping_index
        size_t offset_bytes
    ctypedef struct zmm_visitor:
        void (*chunk)(void *, const zmm_chunk_view *) noexcept
        void (*run)(void *, const zmm_run_view *) noexcept
        void (*free_slot)(void *, const zmm_free_slot_view *) noexcept
        void (*huge)(void *, const zmm_huge_view *) noexcept
    ctypedef struct zmm_refusal:
        zmm_refusal_kind kind
        size_t tried_bytes, limit_bytes
        size_t factors[3]
        uint32_t factor_count
    ctypedef void (*zmm_panic_hook)(zmm_heap *, const char *, const void *, void *) noexcept
    ctypedef struct zmm_api:
        const char *version
        const char *level
        zmm_edition (*heap_edition)(const zmm_heap *) noexcept
        void (*heap_reset_peak)(zmm_heap *) noexcept
        void (*heap_usage)(const zmm_heap *, zmm_usage *) noexcept
        size_t (*heap_block_size)(zmm_heap *, const void *) noexcept
        zmm_place (*heap_place)(const zmm_heap *, const void *) noexcept
        c_bool (*heap_owns)(const zmm_heap *, const void *) noexcept
        void (*heap_visit)(const zmm_heap *, const zmm_visitor *, void *) noexcept
        zmm_refusal (*heap_refusal)(const zmm_heap *) noexcept
        void (*heap_clear_refusal)(zmm_heap *) noexcept
        size_t (*refusal_text)(const zmm_refusal *, char *, size_t) noexcept
        void (*set_panic_hook)(zmm_panic_hook, void *) noexcept
        c_bool (*read_switches)(zmm_switches *, char *, size_t) noexcept

    ctypedef struct guard:
        void *owner
        const char *reason
        const void *address
        zmm_panic report
        char *text
    void guard_panic(zmm_heap *, const char *, const void *, void *) noexcept
    guard *guard_suspend() noexcept
    void guard_resume(guard *) noexcept
    zmm_heap *guard_startup(guard *, const zmm_api *, const zmm_options *) noexcept
    void guard_shutdown(guard *, const zmm_api *, zmm_heap *, c_bool, c_bool) noexcept
    void *guard_alloc(guard *, const zmm_api *, zmm_heap *, size_t) noexcept
    void *guard_calloc(guard *, const zmm_api *, zmm_heap *, size_t, size_t) noexcept
    void *guard_safe_alloc(guard *, const zmm_api *, zmm_heap *, size_t, size_t, size_t) noexcept
    void *guard_realloc(guard *, const zmm_api *, zmm_heap *, void *, size_t) noexcept
    void *guard_realloc2(guard *, const zmm_api *, zmm_heap *, void *, size_t, size_t) noexcept
    void *guard_safe_realloc(guard *, const zmm_api *, zmm_heap *, void *, size_t, size_t, size_t) noexcept
    char *guard_strdup(guard *, const zmm_api *, zmm_heap *, const char *) noexcept
    char *guard_strndup(guard *, const zmm_api *, zmm_heap *, const char *, size_t) noexcept
    void guard_free(guard *, const zmm_api *, zmm_heap *, void *) noexcept
    size_t guard_gc(guard *, const zmm_api *, zmm_heap *) noexcept
    c_bool guard_set_limit(guard *, const zmm_api *, zmm_heap *, size_t) noexcept
    const char *guard_check(guard *, const zmm_api *, zmm_heap *) noexcept

cdef extern from *:
    """
    const zmm_api *zmm_api_fast(void);
    const zmm_api *zmm_api_release(void);
    const zmm_api *zmm_api_hardened(void);
    const zmm_api *zmm_api_debug(void);
    """
    const zmm_api *zmm_api_fast() noexcept
    const zmm_api *zmm_api_release() noexcept
    const zmm_api *zmm_api_hardened() noexcept
    const zmm_api *zmm_api_debug() noexcept

VERSION = ZMM_VERSION.decode()
PAGE_BYTES = ZMM_PAGE_BYTES
CHUNK_BYTES = ZMM_CHUNK_BYTES
SMALL_BYTES_MAX = ZMM_SMALL_BYTES_MAX
LARGE_BYTES_MAX = ZMM_LARGE_BYTES_MAX
BIN_COUNT = ZMM_BIN_COUNT
LEVELS = ("fast", "release", "hardened", "debug")
EDITIONS = ("zmm", "php-8.2")  # in the order of enum zmm_edition

cdef const zmm_api *tables[4]
tables[0] = zmm_api_fast()
tables[1] = zmm_api_release()
tables[2] = zmm_api_hardened()
tables[3] = zmm_api_debug()
for _level in range(4):
    tables[_level].set_panic_hook(guard_panic, <void *>tables[_level])
del _level

# What a heap can be used for.  0 is a heap whose __init__ has not run.
cdef enum:
    STATE_CLOSED = 0
    STATE_OPEN = 1
    STATE_BUSY = 2       # in the middle of a call, and Python code may run: its storage's methods
    STATE_CORRUPTED = 3


def default_level():
    """
    Return what ZMM_LEVEL says, an index of ``LEVELS``; release when it says nothing.

    :raises ValueError: when one of zmm's environment variables has a wrong value.
    """
    cdef zmm_switches switches
    cdef char text[192]
    if not tables[0].read_switches(&switches, text, sizeof(text)):
        raise ValueError(text.decode("utf-8", "replace"))
    return LEVELS.index("release") if switches.level >= 4 else switches.level


cdef dict panic_fields(const zmm_panic *report, const char *text):
    """What a panic said, by name; None for what the level does not know."""
    return {
        "text": text.decode("utf-8", "replace"),
        "hint": report.hint.decode() if report.hint != NULL else "",
        "owner": report.owner.decode() if report.owner != NULL else "",
        "heap": <size_t>report.heap,
        "owner_heap": <size_t>report.owner_heap,
        "block": <size_t>report.block,
        "block_bytes": report.block_bytes,
        "requested_bytes": report.requested_bytes if report.requested_bytes != SIZE_MAX else None,
        "block_is_live": bool(report.block_is_live),
        "bin_index": report.bin_index if report.bin_index >= 0 else None,
        "mapping_index": report.mapping_index,
        "page_index": report.page_index,
        "slot_index": report.slot_index,
        "expected": report.expected if report.has_values else None,
        "found": report.found if report.has_values else None,
        "alloc_site": <size_t>report.alloc_site,
        "free_site": <size_t>report.free_site,
        "access_site": <size_t>report.access_site,
    }


# ---- numbers -----------------------------------------------------------------------------------------------------


cdef int bad_number(object number, str name) except -1:
    """Raise what is wrong with ``number``; return 0 when it is an integer of another type that fits."""
    PyErr_Clear()
    if not hasattr(type(number), "__index__"):
        raise TypeError(f"{name} must be an integer, not {type(number).__name__}")
    value = number.__index__()
    if value < 0:
        raise ValueError(f"{name} must not be negative: {value}")
    if value > SIZE_MAX:
        raise OverflowError(f"{name} does not fit 64 bits: {value}")
    return 0


cdef inline size_t to_size(object number, str name) except? 0xFFFFFFFFFFFFFFFFU:
    cdef size_t size = PyLong_AsSize_t(number)
    if size == SIZE_MAX and PyErr_Occurred() != NULL:
        bad_number(number, name)
        size = PyLong_AsSize_t(number.__index__())
    return size


cdef inline size_t to_address(object number) except? 0xFFFFFFFFFFFFFFFFU:
    """An address, SIZE_MAX (which nothing lives at) for an integer that can't be one."""
    cdef size_t address = PyLong_AsSize_t(number)
    if address == SIZE_MAX and PyErr_Occurred() != NULL:
        PyErr_Clear()
        if not isinstance(number, int):
            raise TypeError(f"an address must be an int, not {type(number).__name__}")
    return address


cdef void report(object error, object where) noexcept:
    """Say what cannot be raised."""
    PyErr_SetObject(type(error), error)
    PyErr_WriteUnraisable(where)


# ---- storage: Python methods behind the core's handlers -----------------------------------------------------------


cdef void *storage_chunk_alloc(zmm_storage *record, size_t size_bytes, size_t alignment_bytes) noexcept:
    cdef guard *inside = guard_suspend()
    cdef Heap heap = <Heap>inside.owner
    cdef size_t address = 0
    cdef int state = heap.begin_outside()
    try:
        answer = heap.storage.chunk_alloc(size_bytes, alignment_bytes)
        if answer is not None:
            address = to_size(answer, "the address that chunk_alloc returned")
            if address == 0 or address % alignment_bytes != 0:
                address = 0
                raise ValueError(
                    f"chunk_alloc must return None or an address that is a multiple of {alignment_bytes}, "
                    f"not {answer:#x}"
                )
    except BaseException as error:
        heap.keep_error(error)
    heap.end_outside(state)
    guard_resume(inside)
    return <void *>address


cdef void storage_chunk_free(zmm_storage *record, void *chunk, size_t size_bytes) noexcept:
    cdef guard *inside = guard_suspend()
    cdef Heap heap = <Heap>inside.owner
    cdef int state = heap.begin_outside()
    try:
        heap.storage.chunk_free(<size_t>chunk, size_bytes)
    except BaseException as error:
        heap.keep_error(error)
    heap.end_outside(state)
    guard_resume(inside)


cdef c_bool storage_chunk_truncate(zmm_storage *record, void *chunk, size_t old_bytes, size_t new_bytes) noexcept:
    cdef guard *inside = guard_suspend()
    cdef Heap heap = <Heap>inside.owner
    cdef bint granted = False
    cdef int state = heap.begin_outside()
    try:
        granted = bool(heap.storage.chunk_truncate(<size_t>chunk, old_bytes, new_bytes))
    except BaseException as error:
        heap.keep_error(error)
    heap.end_outside(state)
    guard_resume(inside)
    return granted


cdef c_bool storage_chunk_extend(zmm_storage *record, void *chunk, size_t old_bytes, size_t new_bytes) noexcept:
    cdef guard *inside = guard_suspend()
    cdef Heap heap = <Heap>inside.owner
    cdef bint granted = False
    cdef int state = heap.begin_outside()
    try:
        granted = bool(heap.storage.chunk_extend(<size_t>chunk, old_bytes, new_bytes))
    except BaseException as error:
        heap.keep_error(error)
    heap.end_outside(state)
    guard_resume(inside)
    return granted


# ---- looking at a heap ---------------------------------------------------------------------------------------------


cdef void visit_chunk(void *context, const zmm_chunk_view *chunk) noexcept:
    cdef int i
    used_map = 0
    for i in range(7, -1, -1):
        used_map = used_map << 64 | chunk.free_map[i]
    (<list>(<tuple>context)[0]).append(
        (chunk.mapping_index, chunk.number, chunk.free_pages, chunk.free_tail, bool(chunk.cached), used_map)
    )


cdef void visit_run(void *context, const zmm_run_view *run) noexcept:
    (<list>(<tuple>context)[1]).append(
        (run.mapping_index, run.page_index, run.page_count, run.bin_index, run.free_slots)
    )


cdef void visit_free_slot(void *context, const zmm_free_slot_view *slot) noexcept:
    (<list>(<tuple>context)[2]).append((slot.bin_index, slot.mapping_index, slot.offset_bytes))


cdef void visit_huge(void *context, const zmm_huge_view *huge) noexcept:
    (<list>(<tuple>context)[3]).append((huge.mapping_index, huge.size_bytes))


# ---- the heap ------------------------------------------------------------------------------------------------------


@cython.no_gc_clear  # __dealloc__ still needs the storage
cdef class Heap:
    """
    A heap of one level and edition; its blocks are addresses.

    :param level: an index of ``LEVELS``.
    :param edition: an index of ``EDITIONS``.
    :param limit_bytes: the memory limit; 0 for none.
    :param storage: where chunks come from; ``None`` for the system.
    :param wipes: whether freed blocks are zeroed.
    :param guard_every: one block of so many is guarded; 0: as the environment says.
    :param check_every: every so many calls the heap is checked; 0: as the environment says.
    :raises SystemRefusalError: when no memory can be had for the first chunk.
    """

    cdef zmm_heap *handle
    cdef const zmm_api *api
    cdef unsigned long thread     # who may use the heap; 0 while nobody may
    cdef unsigned long home       # the thread that made it
    cdef guard inside
    cdef int state
    cdef uint64_t request         # counts ended requests: a block knows which one it is of
    cdef Py_ssize_t exports       # memoryviews of blocks that are alive
    cdef dict blocks              # address of each live Block: where it is (borrowed)
    cdef list dropped             # addresses of Blocks that died while the heap was busy
    cdef object storage
    cdef object error             # what the storage raised in this call
    cdef object __weakref__

    def __init__(self, int level, int edition, size_t limit_bytes, storage, bint wipes=False, guard_every=0, check_every=0, /):
        cdef zmm_options options
        cdef zmm_storage_handlers handlers
        if self.home != 0:
            raise TypeError("a heap is made once")
        self.api = tables[level]
        self.home = PyThread_get_thread_ident()
        self.inside.owner = <void *>self
        self.blocks = {}
        self.dropped = []
        self.storage = storage
        memset(&options, 0, sizeof(options))
        memset(&handlers, 0, sizeof(handlers))
        options.edition = edition
        options.limit_bytes = limit_bytes
        options.wipes = wipes
        options.guard_every = guard_every
        options.check_every = check_every
        if storage is not None:
            handlers.chunk_alloc = storage_chunk_alloc
            handlers.chunk_free = storage_chunk_free
            if getattr(storage, "chunk_truncate", None) is not None:
                handlers.chunk_truncate = storage_chunk_truncate
            if getattr(storage, "chunk_extend", None) is not None:
                handlers.chunk_extend = storage_chunk_extend
            options.handlers = &handlers
        self.handle = guard_startup(&self.inside, self.api, &options)
        if self.inside.reason != NULL:
            self.raise_corrupted()
        if self.error is not None:
            self.finish(True)
            self.raise_kept_error()
        if self.handle == NULL:
            raise SystemRefusalError("Can't initialize heap", 0, ZMM_CHUNK_BYTES)
        self.state = STATE_OPEN
        self.thread = self.home

    def __del__(self):
        # Before the cycle collector clears anything, so that a storage in the cycle still works.
        if self.exports == 0:
            self.finish_quietly()

    def __dealloc__(self):
        self.finish_quietly()

    # -- the state --

    cdef int unusable(self) except -1:
        """Raise why the heap can't be used here and now."""
        if self.state == STATE_CORRUPTED:
            raise self.corruption()
        if self.state == STATE_BUSY:
            raise HeapBusyError("the heap is in the middle of a call; a storage's method must not use it")
        if self.state == STATE_CLOSED:
            raise ClosedHeapError("the heap is closed")
        raise WrongThreadError("a heap belongs to the thread that made it; make one heap for each thread")

    cdef int abandon(self, int state) except -1:
        """The heap is never used again."""
        self.state = state
        self.thread = 0
        return 0

    cdef object corruption(self):
        fields = panic_fields(&self.inside.report, self.inside.text) if self.inside.text[0] != 0 else None
        return HeapCorruptedError(self.inside.reason.decode(), <size_t>self.inside.address, fields)

    cdef int raise_corrupted(self) except -1:
        """After a panic: the memory stays where it is, because nothing about it can be trusted."""
        self.handle = NULL
        self.abandon(STATE_CORRUPTED)
        self.error = None
        raise self.corruption()

    cdef int raise_kept_error(self) except -1:
        error, self.error = self.error, None
        raise error

    cdef int keep_error(self, object error) except -1:
        """Keep what a storage raised until the core's call is over; a second error is reported only."""
        if self.error is None:
            self.error = error
        else:
            report(error, self.storage)
        return 0

    cdef int begin_outside(self) noexcept:
        cdef int state = self.state
        self.state = STATE_BUSY
        self.thread = 0
        return state

    cdef int end_outside(self, int state) noexcept:
        self.state = state
        if state == STATE_OPEN:
            self.thread = self.home
        return 0

    cdef int settle(self) except -1:
        """After a call with nothing to lose: free what was dropped meanwhile, raise what the call left behind."""
        cdef size_t address
        if self.inside.reason != NULL:
            self.raise_corrupted()
        while self.dropped and self.state == STATE_OPEN:
            address = self.dropped.pop()
            guard_free(&self.inside, self.api, self.handle, <void *>address)
            if self.inside.reason != NULL:
                self.raise_corrupted()
        if self.error is not None:
            self.raise_kept_error()
        return 0

    cdef object made(self, void *block):
        """The address of a new block, or the reason why there is none."""
        if block == NULL:
            self.settle()
            self.refuse()
        if self.error is not None or self.dropped:
            try:
                self.settle()
            except HeapCorruptedError:
                raise
            except BaseException as error:
                # The block exists, and raising would lose it.
                report(error, self.storage)
        return <size_t>block

    cdef int refuse(self) except -1:
        """Give the recorded refusal its voice."""
        cdef char text[256]
        cdef zmm_refusal refusal = self.api.heap_refusal(self.handle)
        self.api.heap_clear_refusal(self.handle)
        self.api.refusal_text(&refusal, text, sizeof(text))
        words = text.decode("ascii")
        if refusal.kind == ZMM_REFUSAL_LIMIT:
            raise MemoryLimitError(words, refusal.limit_bytes, refusal.tried_bytes)
        if refusal.kind == ZMM_REFUSAL_OVERFLOW:
            raise SizeOverflowError(words, tuple([refusal.factors[i] for i in range(refusal.factor_count)]))
        raise SystemRefusalError(words, refusal.limit_bytes, refusal.tried_bytes)

    cdef int finish(self, bint silent) noexcept:
        """Give everything back; the second time does nothing."""
        cdef zmm_heap *handle = self.handle
        self.abandon(STATE_CORRUPTED if self.state == STATE_CORRUPTED else STATE_CLOSED)
        if handle != NULL:
            self.handle = NULL
            guard_shutdown(&self.inside, self.api, handle, True, silent)
            if self.inside.reason != NULL:
                self.state = STATE_CORRUPTED
        return 0

    cdef int finish_quietly(self) noexcept:
        """Where nobody waits for an exception."""
        self.finish(True)
        if self.error is not None:
            report(self.error, self.storage)
            self.error = None
        return 0

    cdef inline int use(self) except -1:
        if self.thread != PyThread_get_thread_ident():
            self.unusable()
        return 0

    cdef inline size_t live_or_null(self, object address) except? 0:
        """The address of a live block that the core may take away, or 0."""
        cdef size_t number = to_address(address)
        if number == 0:
            return 0
        if self.api.heap_place(self.handle, <void *>number).kind == ZMM_PLACE_NONE:
            raise InvalidBlockError(int(address))
        if self.exports and number in self.blocks:
            self.refuse_exported(number)
        return number

    cdef int refuse_exported(self, size_t address) except -1:
        cdef Block block = <Block><void *><uintptr_t>self.blocks[address]
        if block.exports:
            raise BlockExportedError("a memoryview of the block is alive; release it first")
        return 0

    cdef int disown(self, size_t address) except -1:
        """A block was freed or moved by its address: its Block, if it has one, is closed."""
        cdef Block block
        where = self.blocks.pop(address, None)
        if where is not None:
            block = <Block><void *><uintptr_t>where
            block.address = 0
        return 0

    cdef object moved(self, size_t old, void *block):
        """The address of a resized block; on refusal the old one is as it was."""
        if block != NULL and self.blocks:
            self.disown(old)
        return self.made(block)

    # -- blocks: arguments first, because an argument's own methods may do anything to the heap --

    def alloc(self, size_bytes, /):
        """
        Return the address of a new block.

        :param size_bytes: at least so many bytes; 0 asks for the smallest block.
        :raises MemoryLimitError, SystemRefusalError, SizeOverflowError: the refusals; the heap stays in use.
        """
        cdef size_t size = to_size(size_bytes, "size_bytes")
        self.use()
        cdef void *block = guard_alloc(&self.inside, self.api, self.handle, size)
        if block == NULL or self.storage is not None:
            return self.made(block)
        return <size_t>block

    def calloc(self, count, size_bytes, /):
        """Return the address of a new block whose first ``count * size_bytes`` bytes are zero."""
        cdef size_t n = to_size(count, "count")
        cdef size_t size = to_size(size_bytes, "size_bytes")
        self.use()
        return self.made(guard_calloc(&self.inside, self.api, self.handle, n, size))

    def safe_alloc(self, count, size_bytes, offset_bytes, /):
        """Return the address of a new block of ``count * size_bytes + offset_bytes`` bytes, computed exactly."""
        cdef size_t n = to_size(count, "count")
        cdef size_t size = to_size(size_bytes, "size_bytes")
        cdef size_t offset = to_size(offset_bytes, "offset_bytes")
        self.use()
        return self.made(guard_safe_alloc(&self.inside, self.api, self.handle, n, size, offset))

    def realloc(self, address, size_bytes, /):
        """
        Resize a block, moving it if need be, and return its address.

        :param address: a live block, or 0 for a new one.
        :param size_bytes: at least so many bytes; 0 asks for the smallest block, it does not free.
        :raises InvalidBlockError: when there is no such block.
        :raises BlockExportedError: when a memoryview of the block is alive.
        :raises RefusalError: when refused; the block is as it was.
        """
        cdef size_t size = to_size(size_bytes, "size_bytes")
        self.use()
        cdef size_t block = self.live_or_null(address)
        return self.moved(block, guard_realloc(&self.inside, self.api, self.handle, <void *>block, size))

    def realloc2(self, address, size_bytes, copy_bytes, /):
        """As :meth:`realloc`, but a block that moves takes at most ``copy_bytes`` bytes along."""
        cdef size_t size = to_size(size_bytes, "size_bytes"), copy = to_size(copy_bytes, "copy_bytes")
        self.use()
        cdef size_t block = self.live_or_null(address)
        copy = min(copy, self.api.heap_place(self.handle, <void *>block).block_bytes)
        return self.moved(block, guard_realloc2(&self.inside, self.api, self.handle, <void *>block, size, copy))

    def safe_realloc(self, address, count, size_bytes, offset_bytes, /):
        """As :meth:`realloc` to ``count * size_bytes + offset_bytes`` bytes, computed exactly."""
        cdef size_t n = to_size(count, "count")
        cdef size_t size = to_size(size_bytes, "size_bytes")
        cdef size_t offset = to_size(offset_bytes, "offset_bytes")
        self.use()
        cdef size_t block = self.live_or_null(address)
        return self.moved(
            block, guard_safe_realloc(&self.inside, self.api, self.handle, <void *>block, n, size, offset)
        )

    def strdup(self, bytes text not None, /):
        """Return the address of a copy of ``text`` up to its first NUL, with a NUL behind it."""
        self.use()
        return self.made(guard_strdup(&self.inside, self.api, self.handle, PyBytes_AS_STRING(text)))

    def strndup(self, bytes text not None, length_bytes, /):
        """
        Return the address of a copy of the first ``length_bytes`` bytes of ``text``, NULs included, and a NUL.

        :raises ValueError: when ``text`` is shorter.
        """
        cdef size_t length = to_size(length_bytes, "length_bytes")
        if length > <size_t>PyBytes_GET_SIZE(text) and length != SIZE_MAX:  # the core refuses SIZE_MAX + 1 bytes
            raise ValueError(f"length_bytes is {length}, but text has only {PyBytes_GET_SIZE(text)} bytes")
        self.use()
        return self.made(guard_strndup(&self.inside, self.api, self.handle, PyBytes_AS_STRING(text), length))

    def free(self, address, /):
        """
        Free a block; 0 is ignored.

        :raises InvalidBlockError: when there is no such block.
        :raises BlockExportedError: when a memoryview of the block is alive.
        """
        self.use()
        cdef size_t block = self.live_or_null(address)
        if block == 0:
            return
        if self.blocks:
            self.disown(block)
        guard_free(&self.inside, self.api, self.handle, <void *>block)
        if self.inside.reason != NULL or self.storage is not None:
            self.settle()

    def block_size(self, address, /):
        """
        Return how many bytes of a live block may be used.

        :raises InvalidBlockError: when there is no such block.
        """
        self.use()
        cdef zmm_place place = self.api.heap_place(self.handle, <void *>to_address(address))
        if place.kind == ZMM_PLACE_NONE:
            raise InvalidBlockError(int(address))
        return place.block_bytes

    def block(self, size_bytes, /):
        """
        Return a new :class:`Block` of exactly ``size_bytes`` bytes; its contents are whatever was there.

        Dropping the last reference frees it.
        """
        cdef size_t size = to_size(size_bytes, "size_bytes")
        cdef Block block = Block.__new__(Block)
        self.use()
        address = self.made(guard_alloc(&self.inside, self.api, self.handle, size))
        block.heap = self
        block.address = address
        block.size = size
        block.request = self.request
        self.blocks[address] = <uintptr_t><void *>block
        return block

    def read(self, address, length_bytes, offset_bytes=0, /):
        """
        Return a copy of ``length_bytes`` bytes of a live block, from ``offset_bytes`` on.

        :raises InvalidBlockError: when there is no such block.
        :raises ValueError: when the block ends before.
        """
        cdef size_t length = to_size(length_bytes, "length_bytes")
        cdef size_t offset = to_size(offset_bytes, "offset_bytes")
        self.use()
        cdef const char *start = self.span(address, length, offset)
        return PyBytes_FromStringAndSize(start, <Py_ssize_t>length)

    def write(self, address, data, offset_bytes=0, /):
        """
        Copy ``data`` (anything with contiguous bytes) into a live block, from ``offset_bytes`` on.

        :raises InvalidBlockError: when there is no such block.
        :raises ValueError: when the block ends before.
        """
        cdef Py_buffer view
        cdef size_t offset = to_size(offset_bytes, "offset_bytes")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.use()
            memcpy(self.span(address, <size_t>view.len, offset), view.buf, <size_t>view.len)
        finally:
            PyBuffer_Release(&view)

    cdef char *span(self, object address, size_t length, size_t offset) except NULL:
        """Where ``length`` bytes at ``offset`` of a live block are."""
        cdef size_t number = to_address(address)
        cdef zmm_place place = self.api.heap_place(self.handle, <void *>number)
        if place.kind == ZMM_PLACE_NONE:
            raise InvalidBlockError(int(address))
        if offset > place.block_bytes or length > place.block_bytes - offset:
            raise ValueError(
                f"{length} bytes from {offset} on do not fit a block of {place.block_bytes} bytes"
            )
        if self.api == tables[0] or self.api == tables[1]:
            # Where a block has more bytes than were asked for, they are AddressSanitizer's until somebody asks.
            self.api.heap_block_size(self.handle, <void *>number)
        return <char *>number + offset

    # -- the heap as a whole --

    def owns(self, address, /):
        """Whether an address lies in one of this heap's chunks or huge blocks, live or not."""
        self.use()
        return bool(self.api.heap_owns(self.handle, <void *>to_address(address)))

    def gc(self):
        """Give completely free runs and chunks back; return the bytes of the pages collected."""
        self.use()
        cdef size_t collected = guard_gc(&self.inside, self.api, self.handle)
        self.settle()
        return collected

    def set_limit(self, limit_bytes, /):
        """
        Change the memory limit.

        :raises LimitInUseError: when the heap holds more already; nothing is changed then.
        """
        cdef size_t limit = to_size(limit_bytes, "limit_bytes")
        self.use()
        cdef bint accepted = guard_set_limit(&self.inside, self.api, self.handle, limit)
        cdef zmm_usage usage
        self.settle()
        if not accepted:
            self.api.heap_usage(self.handle, &usage)
            raise LimitInUseError(limit, usage.real_size_bytes)

    def reset_peak(self):
        """Let both peaks start again from what is in use now."""
        self.use()
        self.api.heap_reset_peak(self.handle)

    def request_end(self, report_leaks=False):
        """
        Drop every block and start a new request; limit and storage are kept.

        :param report_leaks: passed on as PHP would; no level reports leaks.
        :raises BlockExportedError: when a memoryview of a block is alive.
        """
        cdef bint silent = not report_leaks
        self.use()
        if self.exports:
            raise BlockExportedError(f"{self.exports} memoryviews of blocks are alive; release them first")
        self.request += 1
        self.blocks.clear()
        guard_shutdown(&self.inside, self.api, self.handle, False, silent)
        self.settle()

    def close(self, report_leaks=False):
        """
        End the last request and give everything back; closing again does nothing.

        While memoryviews of blocks are alive their memory stays, and the last one to go gives it back.

        :param report_leaks: passed on as PHP would; no level reports leaks.
        """
        cdef bint silent = not report_leaks
        if self.state == STATE_CLOSED or self.state == STATE_CORRUPTED:
            return
        self.use()
        self.abandon(STATE_CLOSED)
        if self.exports == 0:
            self.finish(silent)
            if self.inside.reason != NULL:
                self.raise_corrupted()
            if self.error is not None:
                self.raise_kept_error()

    def check(self):
        """
        Walk the whole heap and test every invariant.

        :raises HeapCorruptedError: with the id of the first that does not hold; the heap can't be used any more.
        """
        self.use()
        self.test()

    cdef int test(self) except -1:
        cdef const char *broken = guard_check(&self.inside, self.api, self.handle)
        if broken != NULL:
            self.inside.reason = broken
        self.settle()
        return 0

    @property
    def closed(self):
        """Whether the heap was closed or found corrupted."""
        return self.state == STATE_CLOSED or self.state == STATE_CORRUPTED

    @property
    def level(self):
        """The level's name."""
        if self.api == NULL:
            raise ClosedHeapError("the heap was never opened")
        return self.api.level.decode()

    @property
    def edition(self):
        """The edition's name."""
        self.use()
        return EDITIONS[self.api.heap_edition(self.handle)]

    def _usage(self):
        self.use()
        cdef zmm_usage usage
        self.api.heap_usage(self.handle, &usage)
        return (
            usage.size_bytes, usage.peak_bytes, usage.real_size_bytes, usage.real_peak_bytes, usage.limit_bytes,
            usage.chunk_count, usage.chunk_count_peak, usage.cached_chunk_count,
            usage.delete_boundary, usage.delete_count, usage.chunk_count_average, usage.missing_fence_count,
        )

    def _place(self, address, /):
        self.use()
        cdef zmm_place place = self.api.heap_place(self.handle, <void *>to_address(address))
        return (
            place.kind, place.mapping_index, place.page_index, place.slot_index,
            place.block_bytes, place.offset_bytes,
        )

    def _view(self):
        """Chunks, runs, free slots and huge blocks, as tuples in the order of the core's visitor."""
        self.use()
        self.test()  # the walk follows every free list
        cdef zmm_visitor visitor
        visitor.chunk = visit_chunk
        visitor.run = visit_run
        visitor.free_slot = visit_free_slot
        visitor.huge = visit_huge
        seen = ([], [], [], [])
        # Making a tuple may collect garbage, and garbage may be blocks: these wait until the walk is over.
        cdef int state = self.begin_outside()
        self.api.heap_visit(self.handle, &visitor, <void *>seen)
        self.end_outside(state)
        self.settle()
        return seen


# ---- blocks as buffers -----------------------------------------------------------------------------------------------


@cython.final
@cython.no_gc_clear  # __dealloc__ still needs the heap
cdef class Block:
    """A block with the buffer protocol (writable bytes), made by :meth:`Heap.block`; it keeps its heap alive."""

    cdef Heap heap
    cdef size_t address    # 0: freed
    cdef size_t size
    cdef uint64_t request
    cdef Py_ssize_t exports
    cdef bint leaving      # to be freed when the last memoryview goes
    cdef object __weakref__

    def __init__(self):
        raise TypeError("blocks are made by heaps: heap.block(size)")

    cdef inline bint is_live(self) noexcept:
        return (
            self.address != 0 and not self.leaving and self.heap is not None
            and self.heap.request == self.request
            and (self.heap.state == STATE_OPEN or self.heap.state == STATE_BUSY)
        )

    cdef int use(self) except -1:
        if self.heap is None or self.address == 0 or self.leaving:
            raise ClosedBlockError("the block was freed")
        if self.heap.request != self.request:
            raise ClosedBlockError("the block's request has ended")
        if self.heap.state == STATE_CLOSED:
            raise ClosedBlockError("the block's heap was closed")
        self.heap.use()
        return 0

    cdef int give_back(self) except -1:
        cdef size_t address = self.address
        cdef Heap heap = self.heap
        self.address = 0
        heap.blocks.pop(address, None)
        if heap.state == STATE_BUSY:
            heap.dropped.append(address)
            return 0
        guard_free(&heap.inside, heap.api, heap.handle, <void *>address)
        heap.settle()
        return 0

    cdef int give_back_quietly(self) noexcept:
        """Where nobody waits for an exception."""
        try:
            self.give_back()
        except BaseException as error:
            report(error, self.heap)
        return 0

    def __dealloc__(self):
        self.leaving = False
        if self.is_live():
            self.give_back_quietly()

    def __len__(self):
        self.use()
        return <Py_ssize_t>self.size

    @property
    def address(self):
        """Where the block is."""
        self.use()
        return self.address

    @property
    def heap(self):
        """The heap the block is of."""
        return self.heap

    @property
    def closed(self):
        """Whether the block was freed or its request ended."""
        return not self.is_live()

    def free(self):
        """
        Free the block.

        :raises BlockExportedError: when a memoryview of it is alive.
        :raises ClosedBlockError: when it was freed before.
        """
        self.use()
        if self.exports:
            raise BlockExportedError("a memoryview of the block is alive; release it first")
        self.give_back()

    def __enter__(self):
        self.use()
        return self

    def __exit__(self, kind, error, traceback, /):
        if self.is_live():
            self.heap.use()
            if self.exports:
                self.leaving = True
            else:
                self.give_back()

    def __repr__(self):
        if self.is_live():
            return f"<zmm.Block of {self.size} bytes at {self.address:#x}>"
        return f"<zmm.Block of {self.size} bytes, closed>"

    def __getbuffer__(self, Py_buffer *view, int flags):
        self.use()
        PyBuffer_FillInfo(view, self, <void *>self.address, <Py_ssize_t>self.size, False, flags)
        self.exports += 1
        self.heap.exports += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.exports -= 1
        self.heap.exports -= 1
        if self.exports == 0 and self.leaving:
            self.leaving = False
            if self.is_live():
                self.give_back_quietly()
        if self.heap.exports == 0 and self.heap.state == STATE_CLOSED:
            self.heap.finish_quietly()
