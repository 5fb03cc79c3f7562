/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flips.c - damage a shard of 1 MiB in every way that a disk can, and count
 * what is not found.
 *
 *     flips [SAMPLE [STRIDE [NOTES]]]
 *
 * Every bit is flipped in turn (STRIDE: every so-many-th) and read again by
 * what reads it: the head and the tails by opening, a chunk or a meta frame by
 * its own reader, the foot by all its pages. Where that reader says nothing,
 * all of the shard must read as before, and `verify` must tell: harmless by
 * proof. SAMPLE random bits of it (100,000) are judged a second time, by
 * reading and verifying the whole shard; both must agree. Then truncation at
 * every length, zeroed and exchanged pages, exchanged frames, shards, indexes
 * and manifests.
 *
 * The work is cut into some hundred tasks. What a task has counted goes to the
 * file NOTES, and a run that finds it there does not do it again.
 *
 * found     a reader that would have returned it says what is wrong
 * harmless  everything reads as before
 * silent    something else is returned without an error, or `verify` does not
 *           tell: there must be none
 */
#include "flip_set.h"

#include <mri/alloc.h>
#include <mri/cpu.h>
#include <mri/thread.h>

#include <chunk.h>
#include <frame.h>
#include <scratch.h>
#include <shard_read.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_PLACES = 4096, MAX_WORKERS = 64, PAGE = 4096, SLICES = 256 };

/* Who reads a byte of the shard. */
typedef enum reader {
    BY_NOBODY, /* pads, the body's copy of the schema */
    BY_OPENING,
    BY_CHUNK,
    BY_FILE, /* JPEG, bytes */
    BY_META,
    BY_FOOT
} reader;

typedef struct place {
    uint64_t from, end;
    reader reader;
    uint32_t row, grid;
    uint64_t chunk; /* within the grid */
} place;

typedef enum verdict { FOUND, HARMLESS, SILENT, VERDICTS } verdict;

/* What is counted; DISAGREE has no row of its own. */
typedef enum kind {
    BITS,
    SAMPLED,
    LENGTHS,
    ZEROED,
    PAGE_SWAPS,
    PAGE_DONORS,
    FRAME_SWAPS,
    FRAME_DONORS,
    FILES_SWAPPED,
    DISAGREE,
    KINDS
} kind;

static const char *const kind_names[KINDS] = {
    "bits flipped, each by its own reader",
    "of these, by reading the whole shard",
    "truncations",
    "pages of 4096 and sectors of 512 bytes zeroed",
    "two pages exchanged, every pair",
    "page of another shard in its place",
    "two frames exchanged, every pair",
    "frame of another generation or dataset in its place",
    "two files of two datasets exchanged, every pair"};

typedef struct tally {
    uint64_t of[KINDS][VERDICTS];
} tally;

typedef struct worker {
    tally now; /* of the task at hand */
    char *path;
    uint8_t *map; /* of the worker's own copy; what it writes is read */
    int fd;
    mri_shard *shard; /* opened while it was whole */
    mr_scratch *scratch;
    uint8_t *pixels;
} worker;

static struct {
    char *dir;
    uint8_t *whole; /* the shard as it was written */
    mri_shard_ref ref;
    uint64_t hash; /* of all that can be read */
    place places[MAX_PLACES];
    size_t place_count;
    worker workers[MAX_WORKERS];
    uint64_t stride, sample, seed;
    tally sum; /* of all tasks that are done */
    FILE *notes;
    pthread_mutex_t lock; /* around sum and notes */
} all;

static void
must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static void
nothing(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    (void)sample;
    (void)diag;
}

static uint8_t *
load(const char *path)
{
    mri_bytes b = {0};

    must(mri_file_load(path, FLIP_BYTES, &b, NULL) == MR_OK, path);
    return b.data;
}

/* ---- what lies where ---- */

static void
add_place(uint64_t from, uint64_t end, reader by, uint32_t row)
{
    must(all.place_count < MAX_PLACES, "too many frames");
    all.places[all.place_count++] =
        (place){.from = from, .end = end, .reader = by, .row = row};
}

static void
add_grid(const mri_shard *s, uint32_t row, uint32_t i,
         const mri_sample_row *sample)
{
    mri_grid_row g;
    uint64_t n;

    must(mri_shard_grid(s, sample, i, &g, NULL) == MR_OK, "grid");
    n = g.encoding == MR_ENC_CHUNKS ? mri_grid_chunks(&g) : 1;
    for (uint64_t k = 0; k < n; k++) {
        const uint8_t *p;
        mri_chunk_row c;

        must(mri_foot_row(&s->foot, MRI_TABLE_CHUNKS, g.first_chunk + k, &p,
                          NULL) == MR_OK,
             "chunk");
        mri_chunk_row_get(&c, p);
        if ((c.flags & MRI_CHUNK_CONSTANT) == 0) {
            add_place(c.file_off, c.file_off + MRI_FRAME_HEAD + c.stored_len,
                      g.encoding == MR_ENC_CHUNKS ? BY_CHUNK : BY_FILE, row);
            all.places[all.place_count - 1].grid = i;
            all.places[all.place_count - 1].chunk = k;
        }
    }
}

static int
by_offset(const void *a, const void *b)
{
    const place *x = a, *y = b;

    return x->from < y->from ? -1 : x->from > y->from;
}

static void
find_places(const mri_shard *s)
{
    add_place(0, MRI_HEAD_BYTES, BY_OPENING, 0);
    for (uint32_t row = 0; row < mri_shard_samples(s); row++) {
        mri_sample_row sample;

        must(mri_shard_sample(s, row, &sample, NULL) == MR_OK, "sample");
        for (uint32_t i = 0; i < sample.n_grid; i++) {
            add_grid(s, row, i, &sample);
        }
        add_place(sample.meta_off,
                  sample.meta_off + MRI_FRAME_HEAD + sample.meta_len, BY_META,
                  row);
    }
    add_place(s->tail.foot_off, s->tail.foot_off + s->tail.foot_len, BY_FOOT,
              0);
    qsort(all.places, all.place_count, sizeof *all.places, by_offset);
}

static const place *
place_of(uint64_t at)
{
    static const place none = {.reader = BY_NOBODY};
    size_t low = 0, high = all.place_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (all.places[middle].end <= at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < all.place_count && all.places[low].from <= at
               ? &all.places[low]
               : &none;
}

/* ---- the judges ---- */

/* The part of the shard that holds the damage, read through its own door. */
static mr_err
read_place(worker *w, const place *p)
{
    mri_sample_row sample;
    mri_grid_row g;
    mri_shard *s = NULL;
    mri_meta *meta = NULL;
    const uint8_t *bytes;
    size_t n;
    mr_tensor t;
    mr_box box;
    mr_err err;

    switch (p->reader) {
    case BY_NOBODY:
        return MR_OK;
    case BY_META:
        err = mri_shard_meta(w->shard, p->row, &meta, NULL);
        mri_meta_free(meta);
        return err;
    case BY_OPENING:
    case BY_FOOT:
        err = mri_shard_open(&s, w->path, &all.ref, NULL);
        if (err == MR_OK) {
            err = mri_foot_check_all(&s->foot, NULL);
        }
        mri_shard_close(s);
        return err;
    default:
        break;
    }
    must(mri_shard_sample(w->shard, p->row, &sample, NULL) == MR_OK &&
             mri_shard_grid(w->shard, &sample, p->grid, &g, NULL) == MR_OK,
         "rows");
    if (p->reader == BY_FILE) {
        return mri_shard_read_verbatim(w->shard, &g, &bytes, &n, w->scratch,
                                       NULL);
    }
    mri_chunk_box(&g, p->chunk, &box);
    t = mr_tensor_of(w->pixels, (mr_dtype)g.dtype, g.ndim, box.size);
    return mri_shard_read_box(w->shard, &g, &box, &t, w->scratch, NULL);
}

/* Everything that can be read, and all that verify proves. */
static verdict
judge_whole(const worker *w)
{
    mri_verified v;
    uint64_t hash = 0;
    mr_err read = flip_read_shard(w->path, &all.ref, &hash, NULL);

    if (mri_shard_verify(w->path, &all.ref, nothing, NULL, &v, NULL) != MR_OK ||
        v.damages == 0 || (read == MR_OK && hash != all.hash)) {
        return SILENT;
    }
    return read != MR_OK ? FOUND : HARMLESS;
}

static void
tell(worker *w, kind what, verdict v, const char *how, uint64_t at)
{
    w->now.of[what][v]++;
    if (v == SILENT) {
        (void)fprintf(stderr, "SILENT: %s at %llu\n", how,
                      (unsigned long long)at);
    }
}

/* ---- every bit ---- */

static verdict
flip(worker *w, uint64_t bit, bool whole)
{
    uint8_t mask = (uint8_t)(1u << bit % 8);
    verdict v = FOUND;

    w->map[bit / 8] ^= mask;
    if (whole || read_place(w, place_of(bit / 8)) == MR_OK) {
        v = judge_whole(w);
    }
    w->map[bit / 8] ^= mask;
    return v;
}

static mr_err
flip_slice(void *arg, size_t task, unsigned who, mr_diag *diag)
{
    const uint64_t n = (uint64_t)FLIP_BYTES * 8 / SLICES;
    worker *w = &all.workers[who];
    uint64_t seed = all.seed + task;

    (void)arg;
    (void)diag;
    for (uint64_t bit = task * n; bit < (task + 1) * n; bit += all.stride) {
        tell(w, BITS, flip(w, bit, false), "bit", bit);
    }
    for (uint64_t i = task; i < all.sample; i += SLICES) {
        uint64_t bit = task * n + scratch_random(&seed) % n;
        verdict quick = flip(w, bit, false), slow = flip(w, bit, true);

        tell(w, SAMPLED, slow, "whole reading, bit", bit);
        if (quick != slow) {
            tell(w, DISAGREE, SILENT, "the two judges disagree, bit", bit);
        }
    }
    return MR_OK;
}

/* ---- every length ---- */

/* From the top down, so that nothing must be written again. */
static mr_err
cut_slice(void *arg, size_t task, unsigned who, mr_diag *diag)
{
    const uint64_t n = FLIP_BYTES / SLICES;
    char name[64];
    const char *path;
    int fd;

    (void)arg;
    (void)diag;
    (void)snprintf(name, sizeof name, "%s/cut%zu.mrs", all.dir, task);
    path = name;
    scratch_write(path, all.whole, FLIP_BYTES);
    fd = open(path, O_RDWR);
    must(fd >= 0, path);
    for (uint64_t length = (task + 1) * n; length-- > task * n;) {
        mri_shard *s = NULL, *unnamed = NULL;
        mri_verified v = {0};
        bool told = true;

        if (all.stride != 1 && length % all.stride != 0) {
            continue;
        }
        must(ftruncate(fd, (off_t)length) == 0, "truncate");
        if (length % 1009 == 0) {
            told = mri_shard_verify(path, &all.ref, nothing, NULL, &v, NULL) ==
                       MR_OK &&
                   v.damages != 0;
        }
        tell(&all.workers[who], LENGTHS,
             told && mri_shard_open(&s, path, &all.ref, NULL) != MR_OK &&
                     mri_shard_open(&unnamed, path, NULL, NULL) != MR_OK
                 ? FOUND
                 : SILENT,
             "length", length);
        mri_shard_close(s);
        mri_shard_close(unnamed);
    }
    (void)close(fd);
    (void)remove(path);
    return MR_OK;
}

/* ---- pages and frames ---- */

typedef struct piece {
    uint64_t at, bytes;
} piece;

typedef struct donor {
    const char *what;
    uint8_t *data;
    mri_shard_ref ref;
    piece frames[MAX_PLACES];
    size_t count;
} donor;

/* The frames of a body, each with its pad, as they lie there. */
static void
find_frames(donor *d)
{
    uint8_t tag[16];
    uint64_t at = MRI_HEAD_BYTES;
    mri_frame f;

    must(mri_head_get(d->data, FLIP_BYTES, tag, NULL) == MR_OK, "head");
    while (mri_frame_get(&f, d->data + at, FLIP_BYTES - at, at, tag, NULL) ==
           MR_OK) {
        uint64_t bytes =
            (MRI_FRAME_HEAD + (uint64_t)f.stored_len + MRI_ALIGN - 1) /
            MRI_ALIGN * MRI_ALIGN;

        must(d->count < MAX_PLACES, "too many frames");
        d->frames[d->count++] = (piece){at, bytes};
        at += bytes;
    }
}

static void
put(worker *w, piece to, const uint8_t *from, uint64_t bytes)
{
    memset(w->map + to.at, 0, (size_t)to.bytes);
    memcpy(w->map + to.at, from, (size_t)(bytes < to.bytes ? bytes : to.bytes));
}

/* Judge what lies in the worker's copy, unless nothing changed; mend it. */
static void
judge_change(worker *w, kind what, const piece changed[2], const char *how)
{
    bool differs = false;

    for (int i = 0; i < 2; i++) {
        differs |= memcmp(w->map + changed[i].at, all.whole + changed[i].at,
                          (size_t)changed[i].bytes) != 0;
    }
    if (differs) {
        tell(w, what, judge_whole(w), how, changed[0].at);
    }
    for (int i = 0; i < 2; i++) {
        memcpy(w->map + changed[i].at, all.whole + changed[i].at,
               (size_t)changed[i].bytes);
    }
}

static donor self = {.what = "itself"};
static donor donors[] = {{.what = "another generation"},
                         {.what = "another dataset"},
                         {.what = "another dataset of the same plan"}};

static mr_err
pages_from(void *arg, size_t page, unsigned who, mr_diag *diag)
{
    worker *w = &all.workers[who];
    piece a = {page * PAGE, PAGE};

    (void)arg;
    (void)diag;
    if (page % (all.stride < 8 ? all.stride : 8) != 0) {
        return MR_OK;
    }
    memset(w->map + a.at, 0, PAGE);
    judge_change(w, ZEROED, (piece[]){a, a}, "page zeroed");
    for (uint64_t at = a.at; at < a.at + PAGE; at += 512) {
        memset(w->map + at, 0, 512);
        judge_change(w, ZEROED, (piece[]){a, a}, "sector zeroed");
    }
    for (size_t i = 0; i < MRI_COUNT(donors); i++) {
        put(w, a, donors[i].data + a.at, PAGE);
        judge_change(w, PAGE_DONORS, (piece[]){a, a}, donors[i].what);
    }
    for (uint64_t k = page + 1; k < FLIP_BYTES / PAGE; k += all.stride) {
        piece b = {k * PAGE, PAGE};

        put(w, a, all.whole + b.at, PAGE);
        put(w, b, all.whole + a.at, PAGE);
        judge_change(w, PAGE_SWAPS, (piece[]){a, b}, "pages exchanged");
    }
    return MR_OK;
}

/* A frame of another size is cut, or followed by zeros. */
static mr_err
frames_from(void *arg, size_t i, unsigned who, mr_diag *diag)
{
    worker *w = &all.workers[who];
    piece a = self.frames[i];

    (void)arg;
    (void)diag;
    for (size_t k = i + 1; k < self.count; k += all.stride) {
        piece b = self.frames[k];

        put(w, a, all.whole + b.at, b.bytes);
        put(w, b, all.whole + a.at, a.bytes);
        judge_change(w, FRAME_SWAPS, (piece[]){a, b}, "frames exchanged");
    }
    for (size_t d = 0; d < MRI_COUNT(donors); d++) {
        for (size_t k = i % all.stride; k < donors[d].count; k += all.stride) {
            piece b = donors[d].frames[k];

            put(w, a, donors[d].data + b.at, b.bytes);
            judge_change(w, FRAME_DONORS, (piece[]){a, a}, donors[d].what);
        }
    }
    return MR_OK;
}

/* ---- whole files ---- */

enum { DATASETS = 2, FILES = 6 };
static const char *const generations[] = {"", "@1", "@2"};

typedef struct dataset {
    char *dir;
    char *files[FILES];
    mri_shard_ref shards[2];
    uint64_t hash[MRI_COUNT(generations)];
} dataset;

static void
make_dataset(dataset *d, uint8_t plan, uint8_t noise)
{
    const flip_how first = {plan, 0, noise},
                   second = {(uint8_t)(plan + 1), 100, noise};

    d->dir = scratch_make();
    flip_shard(d->dir, &first, &d->shards[0]);
    flip_commit(d->dir, d->shards, 1);
    flip_shard(d->dir, &second, &d->shards[1]);
    flip_commit(d->dir, d->shards, 2);
    for (int i = 0; i < FILES; i++) {
        static const char *const names[] = {
            "index.000001.mri", "index.000002.mri", "manifest.000001.pb",
            "manifest.000002.pb"};

        d->files[i] = i < 2 ? mri_shard_path(d->dir, d->shards[i].id)
                            : mri_path_join(d->dir, names[i - 2]);
    }
    for (size_t i = 0; i < MRI_COUNT(generations); i++) {
        char name[1024];

        (void)snprintf(name, sizeof name, "%s%s", d->dir, generations[i]);
        must(flip_read_dataset(name, &d->hash[i], NULL) == MR_OK, name);
    }
}

static verdict
judge_datasets(const dataset *sets)
{
    bool noticed = false, told = false;

    for (int k = 0; k < DATASETS; k++) {
        mri_dataset_verified v;

        for (size_t i = 0; i < MRI_COUNT(generations); i++) {
            char name[1024];
            uint64_t hash;

            (void)snprintf(name, sizeof name, "%s%s", sets[k].dir,
                           generations[i]);
            if (flip_read_dataset(name, &hash, NULL) != MR_OK) {
                noticed = true;
            } else if (hash != sets[k].hash[i]) {
                (void)fprintf(stderr,
                              "generation '%s' of dataset %d: ", generations[i],
                              k);
                return SILENT;
            }
        }
        told |= mri_dataset_verify(sets[k].dir, 1, nothing, NULL, NULL, &v,
                                   NULL) != MR_OK ||
                v.damages != 0;
    }
    return !told ? SILENT : (noticed ? FOUND : HARMLESS);
}

static void
exchange(const char *a, const char *b)
{
    char *away = mri_path_join(all.dir, "away");

    must(rename(a, away) == 0 && rename(b, a) == 0 && rename(away, b) == 0, a);
    mri_free(away);
}

static mr_err
exchange_files(void *arg, size_t task, unsigned who, mr_diag *diag)
{
    dataset *sets = arg;

    (void)task;
    (void)diag;
    for (int i = 0; i < DATASETS * FILES; i++) {
        for (int k = i + 1; k < DATASETS * FILES; k++) {
            const char *a = sets[i / FILES].files[i % FILES],
                       *b = sets[k / FILES].files[k % FILES];

            exchange(a, b);
            tell(&all.workers[who], FILES_SWAPPED, judge_datasets(sets),
                 "files exchanged", (uint64_t)(i * 100 + k));
            exchange(a, b);
        }
    }
    return MR_OK;
}

/* ---- all of it ---- */

static void
open_worker(worker *w, unsigned i)
{
    char name[32];

    (void)snprintf(name, sizeof name, "worker%u.mrs", i);
    w->path = mri_path_join(all.dir, name);
    scratch_write(w->path, all.whole, FLIP_BYTES);
    w->fd = open(w->path, O_RDWR);
    must(w->fd >= 0, w->path);
    w->map =
        mmap(NULL, FLIP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
    must(w->map != MAP_FAILED, "mmap");
    must(mri_shard_open(&w->shard, w->path, &all.ref, NULL) == MR_OK &&
             mri_foot_check_all(&w->shard->foot, NULL) == MR_OK,
         w->path);
    w->scratch = mr_scratch_open();
    w->pixels = mri_alloc(FLIP_BYTES, 1);
    must(w->scratch != NULL && w->pixels != NULL, "memory");
}

static void
close_worker(worker *w)
{
    mri_shard_close(w->shard);
    (void)munmap(w->map, FLIP_BYTES);
    (void)close(w->fd);
    mr_scratch_close(w->scratch);
    mri_free(w->pixels);
    mri_free(w->path);
}

static void
load_donor(donor *d, const char *dir, const mri_shard_ref *ref)
{
    char *path = mri_shard_path(dir, ref->id);

    d->ref = *ref;
    d->data = load(path);
    find_frames(d);
    mri_free(path);
}

static uint64_t
print_counts(void)
{
    uint64_t silent = 0;

    (void)printf("| damage | tried | found | harmless | silent |\n"
                 "|---|---|---|---|---|\n");
    for (int i = 0; i < KINDS; i++) {
        const uint64_t *n = all.sum.of[i];

        silent += n[SILENT];
        if (i != DISAGREE) {
            (void)printf(
                "| %s | %llu | %llu | %llu | %llu |\n", kind_names[i],
                (unsigned long long)(n[FOUND] + n[HARMLESS] + n[SILENT]),
                (unsigned long long)n[FOUND], (unsigned long long)n[HARMLESS],
                (unsigned long long)n[SILENT]);
        }
    }
    (void)printf("\nSeed %llu; the quick and the whole reading disagreed "
                 "%llu times.\n",
                 (unsigned long long)all.seed,
                 (unsigned long long)all.sum.of[DISAGREE][SILENT]);
    return silent;
}

/* ---- tasks, and the notes of those that are done ---- */

typedef struct step {
    mri_task_fn *fn;
    void *arg;
    size_t tasks;
    bool *done; /* [tasks] */
} step;

static step steps[] = {{.fn = flip_slice, .tasks = SLICES},
                       {.fn = cut_slice, .tasks = SLICES},
                       {.fn = pages_from, .tasks = FLIP_BYTES / PAGE},
                       {.fn = frames_from},
                       {.fn = exchange_files, .tasks = 1}};

static void
add_up(tally *to, const tally *from)
{
    for (int i = 0; i < KINDS; i++) {
        for (int v = 0; v < VERDICTS; v++) {
            to->of[i][v] += from->of[i][v];
        }
    }
}

static void
note(size_t i, size_t task, const tally *t)
{
    if (all.notes == NULL) {
        return;
    }
    (void)fprintf(all.notes, "%zu %zu", i, task);
    for (int k = 0; k < KINDS * VERDICTS; k++) {
        (void)fprintf(all.notes, " %llu",
                      (unsigned long long)t->of[k / VERDICTS][k % VERDICTS]);
    }
    (void)fprintf(all.notes, " .\n"); /* a line that is cut has no end */
    (void)fflush(all.notes);
}

static mr_err
one_task(void *arg, size_t task, unsigned who, mr_diag *diag)
{
    step *s = arg;
    worker *w = &all.workers[who];
    mr_err err;

    if (s->done[task]) {
        return MR_OK;
    }
    w->now = (tally){0};
    err = s->fn(s->arg, task, who, diag);
    pthread_mutex_lock(&all.lock);
    add_up(&all.sum, &w->now);
    note((size_t)(s - steps), task, &w->now);
    pthread_mutex_unlock(&all.lock);
    return err;
}

/* One task of the notes; false at what is none. */
static bool
take_note(FILE *f)
{
    tally t = {0};
    size_t i, task;
    char end = '\0';

    if (fscanf(f, "%zu %zu", &i, &task) != 2) {
        return false;
    }
    for (int k = 0; k < KINDS * VERDICTS; k++) {
        unsigned long long n;

        if (fscanf(f, "%llu", &n) != 1) {
            return false;
        }
        t.of[k / VERDICTS][k % VERDICTS] = n;
    }
    if (fscanf(f, " %c", &end) != 1 || end != '.' || i >= MRI_COUNT(steps) ||
        task >= steps[i].tasks || steps[i].done[task]) {
        return false;
    }
    steps[i].done[task] = true;
    add_up(&all.sum, &t);
    return true;
}

/* The notes begin with what the counts depend on; others are begun anew. */
static void
open_notes(const char *path)
{
    char id[33], title[200], line[200] = "";
    FILE *f = fopen(path, "r");

    (void)snprintf(title, sizeof title, "%llu %llu %llu %s\n",
                   (unsigned long long)all.sample,
                   (unsigned long long)all.stride, (unsigned long long)all.seed,
                   mri_hex(id, all.ref.id, 16));
    if (f != NULL && fgets(line, sizeof line, f) != NULL &&
        strcmp(line, title) == 0) {
        while (take_note(f)) {
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    all.notes = fopen(path, strcmp(line, title) == 0 ? "a" : "w");
    must(all.notes != NULL, path);
    (void)fprintf(all.notes, "%s", strcmp(line, title) == 0 ? "\n" : title);
}

static void
run(mri_pool *pool, const char *notes)
{
    for (size_t i = 0; i < MRI_COUNT(steps); i++) {
        steps[i].done = mri_alloc(steps[i].tasks, sizeof *steps[i].done);
        must(steps[i].done != NULL, "memory");
    }
    if (notes != NULL) {
        open_notes(notes);
    }
    for (size_t i = 0; i < MRI_COUNT(steps); i++) {
        must(mri_pool_run(pool, steps[i].tasks, one_task, &steps[i], NULL) ==
                 MR_OK,
             "run");
        mri_free(steps[i].done);
    }
    if (all.notes != NULL) {
        (void)fclose(all.notes);
    }
}

int
main(int argc, char **argv)
{
    const char *seed = getenv("SEED");
    unsigned workers = mri_cpu_count();
    dataset sets[DATASETS] = {{0}};
    mri_shard_ref twin;
    mri_pool *pool;
    uint64_t bad;
    char *path;

    all.sample = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    all.stride = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    all.seed = seed != NULL ? strtoull(seed, NULL, 10) : 1;
    all.dir = scratch_make();
    must(all.stride != 0, "a stride of 0");
    make_dataset(&sets[0], 10, 1);
    make_dataset(&sets[1], 20, 2);
    all.ref = sets[0].shards[0];
    path = sets[0].files[0];
    must(flip_read_shard(path, &all.ref, &all.hash, NULL) == MR_OK, path);
    load_donor(&self, sets[0].dir, &all.ref);
    all.whole = self.data;
    load_donor(&donors[0], sets[0].dir, &sets[0].shards[1]);
    load_donor(&donors[1], sets[1].dir, &sets[1].shards[0]);
    flip_shard(all.dir, &(flip_how){10, 0, 3}, &twin);
    load_donor(&donors[2], all.dir, &twin);

    workers = workers < MAX_WORKERS ? workers : MAX_WORKERS;
    for (unsigned i = 0; i < workers; i++) {
        open_worker(&all.workers[i], i);
    }
    find_places(all.workers[0].shard);
    must(mri_pool_open(&pool, workers, NULL) == MR_OK, "threads");
    pthread_mutex_init(&all.lock, NULL);
    steps[3].tasks = self.count;
    steps[4].arg = sets;
    run(pool, argc > 3 ? argv[3] : NULL);
    mri_pool_close(pool);
    bad = print_counts();

    for (unsigned i = 0; i < workers; i++) {
        close_worker(&all.workers[i]);
    }
    mri_free(self.data);
    for (size_t i = 0; i < MRI_COUNT(donors); i++) {
        mri_free(donors[i].data);
    }
    for (int k = 0; k < DATASETS; k++) {
        for (int i = 0; i < FILES; i++) {
            mri_free(sets[k].files[i]);
        }
        scratch_remove(sets[k].dir);
    }
    scratch_remove(all.dir);
    return bad == 0 ? 0 : 1;
}
