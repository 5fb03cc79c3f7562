/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip.c - gzip in memory.
 *
 * libdeflate first: it is about twice as fast, but wants room for all that
 * comes out and does not say where the damage is. Whatever it does not take
 * goes to zlib, so that every error is found and named in one place.
 */
#include "gzip.h"

#include "decoder.h"

#include <mri/alloc.h>
#include <mri/bytes.h>

#include <inttypes.h>
#include <libdeflate.h>
#define ZLIB_CONST /* next_in points to const */
#include <zlib.h>

#define GZIP_BITS (15 + 16) /* zlib's way to ask for gzip */
#define PIECE (1u << 30)    /* zlib counts in 32 bits */
#define SCRATCH (1u << 16)
#define PEEK_ROOM (1u << 16)

bool
gzip_is(const uint8_t *p, size_t len)
{
    return len >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

static void *
alloc_zlib(void *user, unsigned count, unsigned size)
{
    (void)user;
    return mri_alloc(count, size);
}

static void
free_zlib(void *user, void *p)
{
    (void)user;
    mri_free(p);
}

static bool
begin(z_stream *z, const uint8_t *p)
{
    *z = (z_stream){.zalloc = alloc_zlib, .zfree = free_zlib};
    z->next_in = p;
    return inflateInit2(z, GZIP_BITS) == Z_OK;
}

/* What a file is must not depend on whether there is memory to ask: zlib's
 * state and window (about 40 KiB) come from the stack. */
typedef struct arena {
    _Alignas(16) uint8_t room[PEEK_ROOM];
    size_t used;
} arena;

static void *
alloc_arena(void *user, unsigned count, unsigned size)
{
    arena *a = user;
    size_t bytes = mri_round_up((size_t)count * size, 16);
    void *p = a->room + a->used;

    if (bytes > sizeof a->room - a->used) {
        return NULL;
    }
    a->used += bytes;
    return p;
}

static void
free_arena(void *user, void *p)
{
    (void)user;
    (void)p;
}

size_t
gzip_peek(const uint8_t *p, size_t len, uint8_t *out, size_t room)
{
    arena a;
    z_stream z = {.zalloc = alloc_arena, .zfree = free_arena, .opaque = &a};

    a.used = 0;
    z.next_in = p;
    z.avail_in = len < PIECE ? (unsigned)len : PIECE;
    z.next_out = out;
    z.avail_out = (unsigned)room;
    if (inflateInit2(&z, GZIP_BITS) != Z_OK) {
        return 0;
    }
    (void)inflate(&z, Z_SYNC_FLUSH);
    (void)inflateEnd(&z);
    return room - z.avail_out;
}

/* The whole file by libdeflate; false if zlib has to look. */
static bool
fast(gzip_job *job)
{
    struct libdeflate_decompressor *d;
    size_t in = 0;
    bool ok;

    if (job->len < 18 || mri_get32(job->p + job->len - 4) > job->room) {
        return false; /* more comes out than there is room for */
    }
    d = libdeflate_alloc_decompressor();
    ok = d != NULL;
    while (ok && gzip_is(job->p + in, job->len - in)) {
        size_t took = 0, gave = 0;

        ok = libdeflate_gzip_decompress_ex(
                 d, job->p + in, job->len - in, job->out + job->got,
                 job->room - job->got, &took, &gave) == LIBDEFLATE_SUCCESS;
        in += took;
        job->got += gave;
    }
    libdeflate_free_decompressor(d);
    job->rest = job->len - in;
    return ok;
}

static mr_err
damaged(gzip_job *job, const z_stream *z, int code, mr_diag *diag)
{
    uint64_t at = (uint64_t)(z->next_in - job->p);

    if (code == Z_MEM_ERROR) {
        return source_no_memory(diag);
    }
    if (code == Z_BUF_ERROR) {
        return mri_fail(diag, MRI_E_GZIP_SHORT, at,
                        "the gzip stream ends here, after %" PRIu64
                        " decoded bytes, before its checksum",
                        job->got + job->extra);
    }
    return mri_fail(
        diag, MRI_E_GZIP_DAMAGED, at,
        "the gzip stream is damaged: %s, after %" PRIu64 " decoded bytes",
        z->msg != NULL ? z->msg : "no gzip header", job->got + job->extra);
}

/* One call of inflate, into the caller's room first, then into scratch. */
static int
step(gzip_job *job, z_stream *z, uint8_t *scratch)
{
    size_t left = job->len - (size_t)(z->next_in - job->p);
    size_t room = job->room - job->got;
    bool keep = room != 0;
    unsigned given;
    int code;

    room = keep ? room : SCRATCH;
    given = room < PIECE ? (unsigned)room : PIECE;
    z->next_out = keep ? job->out + job->got : scratch;
    z->avail_out = given;
    z->avail_in = left < PIECE ? (unsigned)left : PIECE;
    code = inflate(z, Z_NO_FLUSH);
    if (keep) {
        job->got += given - z->avail_out;
    } else {
        job->extra += given - z->avail_out;
    }
    return code;
}

static mr_err
thorough(gzip_job *job, z_stream *z, uint8_t *scratch, mr_diag *diag)
{
    for (;;) {
        int code = step(job, z, scratch);
        size_t at = (size_t)(z->next_in - job->p);

        if (job->got + job->extra > job->most) {
            return mri_fail(diag, MRI_E_SOURCE_LIMIT, at,
                            "the gzip stream decodes to more than %" PRIu64
                            " bytes",
                            job->most);
        }
        if (code != Z_OK && code != Z_STREAM_END) {
            return damaged(job, z, code, diag);
        }
        if (code == Z_OK) {
            continue;
        }
        if (!gzip_is(job->p + at, job->len - at)) {
            job->rest = job->len - at;
            return MR_OK;
        }
        (void)inflateReset(z);
    }
}

mr_err
gzip_decode(gzip_job *job, mr_diag *diag)
{
    z_stream z;
    uint8_t *scratch;
    mr_err err;

    job->got = 0;
    job->extra = 0;
    job->rest = 0;
    if (fast(job)) {
        return MR_OK;
    }
    job->got = 0;
    if (!begin(&z, job->p)) {
        return source_no_memory(diag);
    }
    scratch = mri_alloc_pixels(SCRATCH, 1);
    err = scratch != NULL ? thorough(job, &z, scratch, diag)
                          : source_no_memory(diag);
    mri_free(scratch);
    (void)inflateEnd(&z);
    return err;
}
