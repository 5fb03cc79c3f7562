/* SPDX-License-Identifier: Apache-2.0 */
/* chunk_code.c - turn one chunk into bytes, and back. */
#include "bitpack.h"
#include "chunk.h"
#include "delta.h"
#include "shuffle.h"
#include "zstd_frame.h"

#include <mri/error.h>

#include <lz4.h>
#include <lz4hc.h>
#include <string.h>

#define FILL_BYTES 4096 /* that are copied on at once */
#define HC_LEVEL 9

const char *
mri_coding_name(mri_coding coding)
{
    static const char *const names[] = {"auto",    "lz4",  "lz4hc",
                                        "bitpack", "zstd", "raw"};

    return names[coding];
}

/* ---- packing ---- */

/* Where things lie in the memory that packing uses. */
typedef struct bench {
    uint8_t *filtered, *packed; /* raw_len bytes each: more is not wanted */
    void *state; /* of the compressor, or of the search for widths */
} bench;

static bool
is_constant(const mri_chunk_in *in)
{
    return in->element <= 8 && in->raw_len >= in->element &&
           memcmp(in->raw, in->raw + in->element, in->raw_len - in->element) ==
               0;
}

static bool
may_bitpack(const mri_chunk_in *in)
{
    return in->element <= 2 &&
           (in->coding == MRI_CODING_AUTO || in->coding == MRI_CODING_BITPACK);
}

static size_t
state_bytes(const mri_chunk_in *in)
{
    if (in->coding == MRI_CODING_ZSTD) {
        return mri_zstd_pack_work();
    }
    if (in->coding == MRI_CODING_LZ4HC) {
        return (size_t)LZ4_sizeofStateHC();
    }
    return may_bitpack(in) ? mri_bitpack_work(in->raw_len / in->element) : 0;
}

static bool
set_up(bench *b, const mri_chunk_in *in, mri_bytes *work)
{
    size_t filtered = (size_t)mri_round_up(in->raw_len, 64);

    work->len = 0;
    if (!mri_bytes_reserve(work, filtered * 2 + state_bytes(in))) {
        return false;
    }
    b->filtered = work->data;
    b->packed = in->room != NULL ? in->room : work->data + filtered;
    b->state = work->data + filtered * 2;
    return true;
}

static const uint8_t *
shuffled(const bench *b, const uint8_t *raw, const mri_chunk_in *in)
{
    if (in->element == 1) {
        return raw;
    }
    mri_shuffle(b->filtered, raw, in->raw_len / in->element, in->element);
    return b->filtered;
}

static void
take(mri_packed *out, mri_codec codec, mri_filter filter, size_t bytes)
{
    out->codec = (uint8_t)codec;
    out->filter = (uint8_t)filter;
    out->stored_len = (uint32_t)bytes;
}

/* Into fewer than `limit` bytes, or not at all. */
static void
try_lz4(mri_packed *out, const mri_chunk_in *in, const bench *b, size_t limit)
{
    const char *from = (const char *)shuffled(b, in->raw, in);
    int n = (int)in->raw_len, room = (int)limit - 1, got;
    char *to = (char *)b->packed;

    if (room < 1 || in->raw_len > LZ4_MAX_INPUT_SIZE) {
        return;
    }
    got =
        in->coding == MRI_CODING_LZ4HC
            ? LZ4_compress_HC_extStateHC(b->state, from, to, n, room, HC_LEVEL)
            : LZ4_compress_default(from, to, n, room);
    if (got > 0) {
        take(out, MRI_CODEC_LZ4,
             in->element > 1 ? MRI_FILTER_SHUFFLE : MRI_FILTER_NONE,
             (size_t)got);
    }
}

static void
try_zstd(mri_packed *out, const mri_chunk_in *in, const bench *b, size_t limit)
{
    const uint8_t *from = in->raw;
    mri_filter filter = in->real ? MRI_FILTER_SHUFFLE : MRI_FILTER_DELTA;
    size_t got;

    if (!in->real) { /* b->packed is free until the end */
        mri_delta(b->packed, from, in->raw_len / in->element, in->element);
        from = b->packed;
    }
    from = shuffled(b, from, in);
    if (from == b->packed) { /* single bytes */
        memcpy(b->filtered, from, in->raw_len);
        from = b->filtered;
    }
    got = mri_zstd_pack(b->packed, limit - 1, from, in->raw_len, b->state);
    if (got > 0) {
        take(out, MRI_CODEC_ZSTD, filter, got);
    }
}

/*
 * Bit packing or LZ4. Bit packing is decoded three times as fast, so LZ4 must
 * gain 5 % over it; it is stopped where it does not.
 */
static void
try_fast(mri_packed *out, const mri_chunk_in *in, const bench *b, size_t limit)
{
    mri_bitpack_in elements = {in->raw, in->raw_len / in->element, in->element,
                               (size_t)in->row, (size_t)in->plane};
    mri_bitpack_plan plan;

    mri_bitpack_look(&plan, &elements, b->state);
    if (plan.bytes >= limit) {
        try_lz4(out, in, b, limit);
        return;
    }
    if (in->coding == MRI_CODING_AUTO) {
        try_lz4(out, in, b, plan.bytes - plan.bytes / 20);
    }
    if (out->codec == MRI_CODEC_RAW) {
        mri_bitpack_write(b->packed, &plan);
        take(out, MRI_CODEC_BITPACK, MRI_FILTER_NONE, plan.bytes);
    }
}

bool
mri_chunk_pack(mri_packed *out, const mri_chunk_in *in, mri_bytes *work)
{
    /* Under 5 % of gain the reader's time is worth more than the bytes. */
    size_t limit = in->raw_len - in->raw_len / 20;
    bench b;

    *out = (mri_packed){
        .raw_len = in->raw_len, .stored_len = in->raw_len, .stored = in->raw};
    if (is_constant(in)) {
        out->flags = MRI_CHUNK_CONSTANT;
        out->stored_len = 0;
        memcpy(&out->value, in->raw, in->element);
        return true;
    }
    if (in->coding == MRI_CODING_RAW) {
        return true;
    }
    if (!set_up(&b, in, work)) {
        return false;
    }
    if (in->coding == MRI_CODING_ZSTD) {
        try_zstd(out, in, &b, limit);
    } else if (may_bitpack(in)) {
        try_fast(out, in, &b, limit);
    } else {
        try_lz4(out, in, &b, limit);
    }
    if (out->codec != MRI_CODEC_RAW) {
        out->stored = b.packed;
    }
    return true;
}

/* ---- unpacking ---- */

/* One element, then as much again as there is already: few and long copies,
 * out of what the first level of the cache still holds. */
void
mri_chunk_fill(uint8_t *raw, uint64_t raw_len, uint64_t value, unsigned element)
{
    size_t len = (size_t)(raw_len - raw_len % element), done = element;
    uint8_t one[8];

    mri_put64(one, value);
    memcpy(raw, one, len < element ? len : element);
    while (done < len) {
        size_t n = done < FILL_BYTES ? done : FILL_BYTES;

        n = n < len - done ? n : len - done;
        memcpy(raw + done, raw, n);
        done += n;
    }
}

/* Before memory is asked for: no codec makes more of a byte than `most`. */
static mr_err
check_coding(const mri_chunk_row *row, mr_diag *diag)
{
    static const uint32_t most[] = {1, 255, 1 << 15, 128};

    if (row->codec > MRI_CODEC_BITPACK || row->filter > MRI_FILTER_DELTA ||
        (row->codec == MRI_CODEC_BITPACK && row->filter != MRI_FILTER_NONE)) {
        return mri_fail(diag, MRI_E_CODEC, row->file_off,
                        "chunk with codec %u and filter %u", row->codec,
                        row->filter);
    }
    if (row->raw_len / most[row->codec] > row->stored_len ||
        (row->codec == MRI_CODEC_RAW && row->stored_len != row->raw_len)) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, row->file_off,
                        "%u stored bytes cannot be a chunk of %u",
                        row->stored_len, row->raw_len);
    }
    return MR_OK;
}

/* Memory of its own that a codec needs, for what it decodes. */
static size_t
own_bytes(const mri_chunk_row *row)
{
    return row->codec == MRI_CODEC_ZSTD      ? mri_zstd_unpack_work()
           : row->codec == MRI_CODEC_BITPACK ? row->raw_len
                                             : 0;
}

/* A chunk that is being decoded. */
typedef struct task {
    const mri_chunk_row *row;
    const uint8_t *stored;
    unsigned element;
    uint64_t upto;
    uint8_t *own; /* own_bytes of memory, aligned to 64 */
    mri_ahead ahead;
} task;

static task
task_of(const mri_stored *from, uint64_t upto)
{
    return (task){.row = from->row,
                  .stored = from->bytes,
                  .element = from->element,
                  .upto = upto,
                  .ahead = from->ahead};
}

static bool
lz4_undone(uint8_t *to, const mri_chunk_row *row, const uint8_t *stored)
{
    return row->stored_len <= INT32_MAX && row->raw_len <= INT32_MAX &&
           LZ4_decompress_safe((const char *)stored, (char *)to,
                               (int)row->stored_len,
                               (int)row->raw_len) == (int)row->raw_len;
}

/* Undo the codec, raw_len bytes to `to`; bit packing: what is wanted. */
static mr_err
decompress(uint8_t *to, const task *t, mr_diag *diag)
{
    const mri_chunk_row *row = t->row;
    size_t n = row->raw_len / t->element;
    bool ok = true;

    if (row->codec == MRI_CODEC_LZ4) {
        ok = lz4_undone(to, row, t->stored);
    } else if (row->codec == MRI_CODEC_ZSTD) {
        ok = mri_zstd_unpack(to, row->raw_len, t->stored, row->stored_len,
                             t->own);
    } else if (row->codec == MRI_CODEC_BITPACK) {
        ok = mri_bitunpack(
            &(mri_bitpack_out){.raw = to,
                               .n = n,
                               .upto = t->upto < n ? (size_t)t->upto : n,
                               .element = t->element,
                               .packed = t->stored,
                               .packed_len = row->stored_len,
                               .work = t->own,
                               .ahead = t->ahead});
    } else {
        memcpy(to, t->stored, row->raw_len);
    }
    return ok ? MR_OK
              : mri_fail(diag, MRI_E_SHARD_DAMAGED, row->file_off,
                         "the chunk does not decompress to %u bytes",
                         row->raw_len);
}

/* Room for `copies` of the chunk, before what the codec wants for itself. */
static mr_err
make_room(task *t, unsigned copies, mri_bytes *work, mr_diag *diag)
{
    size_t copy = (size_t)mri_round_up(t->row->raw_len, 64);

    work->len = 0;
    if (!mri_bytes_reserve(work, copy * copies + own_bytes(t->row))) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    t->own = work->data + copy * copies;
    return MR_OK;
}

static void
undo_filter(uint8_t *raw, const uint8_t *filtered, const task *t)
{
    size_t n = t->row->raw_len / t->element;

    mri_unshuffle(raw, filtered, n, t->element);
    if (t->row->filter == MRI_FILTER_DELTA) {
        mri_undelta(raw, n, t->element);
    }
}

mr_err
mri_chunk_decode(mri_plain *out, const mri_stored *from, uint64_t upto,
                 mri_bytes *work, mr_diag *diag)
{
    const mri_chunk_row *row = from->row;
    task t = task_of(from, upto);
    bool delta = row->filter == MRI_FILTER_DELTA;
    mr_err err = check_coding(row, diag);
    mri_plain plain = {.at = from->bytes};

    if (err == MR_OK && (row->codec != MRI_CODEC_RAW || delta)) {
        err = make_room(&t, 2, work, diag);
    }
    if (err == MR_OK && row->codec != MRI_CODEC_RAW) {
        err = decompress(work->data, &t, diag);
        plain.at = work->data;
    }
    if (err != MR_OK) {
        return err;
    }
    if (delta) {
        uint8_t *raw = t.own - mri_round_up(row->raw_len, 64);

        undo_filter(raw, plain.at, &t);
        plain.at = raw;
    } else if (row->filter == MRI_FILTER_SHUFFLE) {
        plain.plane = row->raw_len / t.element;
    }
    *out = plain;
    return MR_OK;
}

mr_err
mri_chunk_unpack(uint8_t *raw, const mri_chunk_row *row, const uint8_t *stored,
                 unsigned element, mri_bytes *work, mr_diag *diag)
{
    return mri_chunk_unpack_from(
        raw, &(mri_stored){.row = row, .bytes = stored, .element = element},
        work, diag);
}

mr_err
mri_chunk_unpack_from(uint8_t *raw, const mri_stored *from, mri_bytes *work,
                      mr_diag *diag)
{
    const mri_chunk_row *row = from->row;
    task t = task_of(from, UINT64_MAX);
    mr_err err;

    if (row->flags & MRI_CHUNK_CONSTANT) {
        mri_chunk_fill(raw, row->raw_len, row->file_off, t.element);
        return MR_OK;
    }
    err = check_coding(row, diag);
    if (err == MR_OK && row->codec == MRI_CODEC_RAW &&
        row->filter != MRI_FILTER_NONE) {
        undo_filter(raw, t.stored, &t);
        return MR_OK;
    }
    if (err == MR_OK) {
        err = make_room(&t, row->filter != MRI_FILTER_NONE ? 1 : 0, work, diag);
    }
    if (err != MR_OK || row->filter == MRI_FILTER_NONE) {
        return err != MR_OK ? err : decompress(raw, &t, diag);
    }
    err = decompress(work->data, &t, diag);
    if (err == MR_OK) {
        undo_filter(raw, work->data, &t);
    }
    return err;
}
