
/* ---- where PHP 8.2 keeps its heap's fields: the first is up to 8.2.34, the second from 8.2.35 on ------------------ */

struct layout {
    uint32_t limit, overflow, huge_list, main_chunk, cached_chunks, chunk_count, chunk_count_peak, cached_count,
        average, boundary, delete_count, free_map, page_map;
};
static const struct layout layouts[2] = {
    {288, 296, 304, 312, 320, 328, 332, 336, 344, 352, 356, 456, 520},
    {288, 312, 320, 328, 336, 344, 348, 352, 360, 368, 372, 480, 544},
};
