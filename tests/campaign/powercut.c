/* SPDX-License-Identifier: Apache-2.0 */
/*
 * powercut.c - the power goes at any moment of what makes generations.
 *
 *     powercut FIRST SECOND STATES [NOTES]     run by powercut.sh
 *
 * FIRST and SECOND are folders of cells, the second with those of the first.
 * A dataset is made of them and changed, one command after the other, and all
 * that this does to the disk is recorded. Then for every prefix of the record
 * some of the states in which a disk may be found (cut_disk.h), all of them if
 * they are few, are put into a folder and judged: what was acknowledged is
 * there, what is visible is whole; and the command that was cut off, run again,
 * ends at the same bytes as the one that was not, with nothing beside them.
 *
 * STATES is about how many are looked at. NOTES is a file: prefixes that it
 * lists are not judged again. SEED in the environment.
 */
#include "cut_disk.h"
#include "cut_log.h"

#include <mri/dataset.h>
#include <mri/file.h>
#include <mri/generation.h>
#include <mri/hash.h>
#include <mri/ingest.h>

#include <scratch.h>

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME "x.mr"
#define WRONG 5 /* that are told */

static void
must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "powercut: %s\n", what);
        abort();
    }
}

/* ---- the commands ---- */

static const char *sources[2];

static mr_err
ingest(const char *dir, const char *source, uint32_t *reused, mr_diag *diag)
{
    mri_ingest_options o = mri_ingest_defaults();
    mri_ingest_report r;
    mr_err err;

    o.sources = &source;
    o.source_count = 1;
    o.output = dir;
    o.group = "{group}_*";
    o.shard_bytes = 70000;
    o.workers = 1;
    err = mri_ingest(&o, &r, diag);
    *reused = r.reused;
    mri_ingest_report_release(&r);
    return err;
}

static mr_err
first(const char *dir, uint32_t *reused, mr_diag *diag)
{
    return ingest(dir, sources[0], reused, diag);
}

static mr_err
second(const char *dir, uint32_t *reused, mr_diag *diag)
{
    return ingest(dir, sources[1], reused, diag);
}

static mr_err
withdraw_group(const char *dir, const char *group, mr_diag *diag)
{
    const mri_withdraw_options o = {.dataset = dir, .groups = {&group, 1}};
    mri_withdraw_report r;
    mr_err err = mri_dataset_withdraw(&o, &r, diag);

    mri_withdraw_report_release(&r);
    return err;
}

static mr_err
withdraw(const char *dir, uint32_t *reused, mr_diag *diag)
{
    (void)reused;
    return withdraw_group(dir, "donor1", diag);
}

static mr_err
withdraw_other(const char *dir, uint32_t *reused, mr_diag *diag)
{
    (void)reused;
    return withdraw_group(dir, "donor2", diag);
}

static mr_err
rollback(const char *dir, uint32_t *reused, mr_diag *diag)
{
    char thing[1024];
    const mri_rollback_options o = {.thing = thing};
    mri_rollback_report r;

    (void)reused;
    (void)snprintf(thing, sizeof thing, "%s@2", dir);
    return mri_dataset_rollback(&o, &r, diag);
}

static mr_err
compact(const char *dir, uint32_t *reused, mr_diag *diag)
{
    const mri_compact_options o = {.dataset = dir, .workers = 1};
    mri_compact_report r;

    (void)reused;
    return mri_dataset_compact(&o, &r, diag);
}

static mr_err
purge(const char *dir, uint32_t *reused, mr_diag *diag)
{
    const mri_compact_options o = {.dataset = dir, .purge = true, .workers = 1};
    mri_compact_report r;

    (void)reused;
    return mri_dataset_compact(&o, &r, diag);
}

/* Each makes one generation out of the one before. */
static const struct step {
    const char *what;
    mr_err (*run)(const char *dir, uint32_t *reused, mr_diag *diag);
} steps[] = {
    {"ingest", first},
    {"ingest more", second},
    {"withdraw", withdraw},
    {"rollback", rollback},
    {"withdraw again", withdraw},
    {"compact", compact},
    {"withdraw others", withdraw_other},
    {"compact --purge", purge},
};

enum { STEPS = sizeof steps / sizeof steps[0] };

static cut_state calm[STEPS + 1]; /* the dataset after each of them */

/* ---- folders ---- */

static void
scan(cut_state *s, const char *root, const char *below)
{
    DIR *d = opendir(*below != '\0' ? scratch_path(root, below) : root);
    struct dirent *e;

    must(d != NULL, root);
    while ((e = readdir(d)) != NULL) {
        cut_node node = {0};
        mri_bytes b = {0};
        struct stat st;
        char path[512];

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s%s%s", below,
                       *below != '\0' ? "/" : "", e->d_name);
        must(stat(scratch_path(root, path), &st) == 0, path);
        node.folder = S_ISDIR(st.st_mode);
        node.path = strdup(path);
        if (!node.folder) {
            must(mri_file_load(scratch_path(root, path), UINT32_MAX, &b,
                               NULL) == MR_OK,
                 path);
            node.data = malloc(b.len + 1);
            must(node.data != NULL && node.path != NULL, "no memory");
            node.bytes = b.len;
            if (b.len != 0) {
                memcpy(node.data, b.data, b.len);
            }
            mri_bytes_release(&b);
        }
        s->nodes = realloc(s->nodes, (s->count + 1) * sizeof *s->nodes);
        must(s->nodes != NULL, "no memory");
        s->nodes[s->count++] = node;
        if (node.folder) {
            scan(s, root, path);
        }
    }
    (void)closedir(d);
}

static void
empty(const char *root)
{
    char *dir = strdup(scratch_path(root, NAME));

    must(dir != NULL, "no memory");
    scratch_remove(dir); /* frees it */
}

/* History tells when and where, and only of what was acknowledged for sure. */
static bool
is_history(const char *path)
{
    return strcmp(path, NAME "/history.jsonl") == 0;
}

static bool
same_node(const cut_node *a, const cut_node *b)
{
    return a->folder == b->folder && a->bytes == b->bytes &&
           (a->folder || memcmp(a->data, b->data, a->bytes) == 0);
}

/* The first of `all` that `s` has not, or has otherwise. */
static const char *
missing(const cut_state *s, const cut_state *all)
{
    for (size_t i = 0; i < all->count; i++) {
        const cut_node *got = cut_state_find(s, all->nodes[i].path);

        if (is_history(all->nodes[i].path)) {
            continue;
        }
        if (got == NULL || !same_node(got, &all->nodes[i])) {
            return all->nodes[i].path;
        }
    }
    return NULL;
}

/* ---- judging ---- */

/* How far the commands were at the moment of the cut. */
typedef struct moment {
    unsigned acked; /* commands that had come to an end */
    unsigned lines; /* of the journal, that the one under way relies on */
} moment;

static char why[1024]; /* what is wrong with a state */

static unsigned
latest_of(const cut_state *s)
{
    unsigned latest = 0, g;

    for (size_t i = 0; i < s->count; i++) {
        if (sscanf(s->nodes[i].path, NAME "/manifest.%u.pb", &g) == 1) {
            latest = g > latest ? g : latest;
        }
    }
    return latest;
}

static unsigned
history_lines(const cut_state *s)
{
    const cut_node *h = cut_state_find(s, NAME "/history.jsonl");
    unsigned n = 0;

    for (size_t i = 0; h != NULL && i < h->bytes; i++) {
        n += h->data[i] == '\n';
    }
    return n;
}

static void
hear(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    (void)sample;
    (void)snprintf(why, sizeof why, "verify: %.500s: %.400s", diag->path,
                   diag->text);
}

/* Nothing that can be opened is half of something. */
static bool
sound(const char *root, unsigned latest)
{
    const char *dir = scratch_path(root, NAME);
    mri_dataset_verified v;
    mr_diag diag = {0};
    mr_dataset *ds;
    mr_err err = mr_dataset_open(&ds, dir, &diag);

    if (latest == 0) {
        mr_dataset_close(ds);
        (void)snprintf(why, sizeof why, "opens without a generation");
        return err != MR_OK;
    }
    (void)snprintf(why, sizeof why, "does not open: %.800s", diag.text);
    mr_dataset_close(ds);
    if (err != MR_OK) {
        return false;
    }
    err = mri_dataset_verify(dir, 1, hear, NULL, NULL, &v, &diag);
    if (err != MR_OK) {
        (void)snprintf(why, sizeof why, "verify: %.800s", diag.text);
    }
    return err == MR_OK && v.damages == 0;
}

/* What a purge took away does not come back, and stays in no old file. */
static bool
clean(const cut_state *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const char *path = s->nodes[i].path;

        if (strncmp(path, NAME "/journal", strlen(NAME "/journal")) != 0 &&
            !is_history(path) && !s->nodes[i].folder &&
            cut_state_find(&calm[STEPS], path) == NULL) {
            (void)snprintf(why, sizeof why, "%s is back after the purge", path);
            return false;
        }
    }
    return true;
}

static bool
judge(const cut_state *s, const char *root, const moment *m)
{
    unsigned latest = latest_of(s), lines = history_lines(s);
    const char *bad;

    if (latest != m->acked && (latest != m->acked + 1 || latest > STEPS)) {
        (void)snprintf(why, sizeof why, "%u was acknowledged, %u is in force",
                       m->acked, latest);
        return false;
    }
    bad = missing(s, &calm[latest]);
    if (bad != NULL) {
        (void)snprintf(why, sizeof why,
                       "%s of generation %u is not there as it was", bad,
                       latest);
        return false;
    }
    if (lines < m->acked) {
        (void)snprintf(why, sizeof why, "%u lines of history, not %u", lines,
                       m->acked);
        return false;
    }
    return sound(root, latest) && (m->acked < STEPS || clean(s));
}

/* The command that was cut off, once more; after the last one, that again. */
static bool
go_on(const cut_state *s, const char *root, const moment *m)
{
    unsigned next = m->acked < STEPS ? m->acked : STEPS - 1;
    uint32_t reused = 0;
    cut_state after = {0};
    mr_diag diag = {0};
    const char *bad;
    mr_err err = steps[next].run(scratch_path(root, NAME), &reused, &diag);

    if (err != MR_OK) {
        (void)snprintf(why, sizeof why, "%s does not go on: %.400s: %.400s",
                       steps[next].what, diag.path, diag.text);
        return false;
    }
    if (latest_of(s) == m->acked && reused < m->lines) {
        (void)snprintf(why, sizeof why, "%u finished shards taken over, not %u",
                       reused, m->lines);
        return false;
    }
    next = m->acked < STEPS ? m->acked + 1 : STEPS;
    scan(&after, root, "");
    bad = missing(&after, &calm[next]);
    (void)snprintf(why, sizeof why, "%s: gone on, %s is not as it was", NAME,
                   bad != NULL ? bad : "");
    if (bad == NULL) {
        bad = missing(&calm[next], &after);
        (void)snprintf(why, sizeof why, "gone on, %s was left behind",
                       bad != NULL ? bad : "");
    }
    cut_state_release(&after);
    return bad == NULL;
}

/* ---- which states ---- */

typedef struct counts {
    uint64_t calls, judged, distinct, wrong;
    double possible;
} counts;

static counts of_step[STEPS];
static uint64_t seed = 1, told;

typedef struct seen {
    uint64_t *at;
    size_t count, room; /* room is a power of two */
} seen;

static bool
is_new(seen *t, uint64_t hash)
{
    size_t i;

    hash += hash == 0;
    if (2 * t->count >= t->room) {
        seen more = {.room = t->room != 0 ? 2 * t->room : 1024};

        more.at = calloc(more.room, sizeof *more.at);
        must(more.at != NULL, "no memory");
        for (size_t k = 0; k < t->room; k++) {
            if (t->at[k] != 0) {
                (void)is_new(&more, t->at[k]);
            }
        }
        free(t->at);
        *t = more;
    }
    for (i = hash & (t->room - 1); t->at[i] != 0; i = (i + 1) & (t->room - 1)) {
        if (t->at[i] == hash) {
            return false;
        }
    }
    t->at[i] = hash;
    t->count++;
    return true;
}

/* The k-th way to set the dials: each way once if they are few. Else nothing
 * that was not synced, all of it, then one thing against all others or each at
 * random; and a tear is another one each time. */
static void
set_dials(uint32_t *value, const cut_disk *d, uint64_t k, uint64_t most,
          uint64_t *random)
{
    uint64_t states = cut_disk_states(d);
    bool all = states <= most && k < states;
    uint64_t kind = k < 2 ? k : 2 + scratch_random(random) % 3;

    for (size_t i = 0; i < d->dial_count; i++) {
        const cut_dial *dial = &d->dials[i];

        if (all) {
            value[i] = (uint32_t)(k % dial->ways);
            k /= dial->ways;
        } else if (kind == 4) {
            value[i] = (uint32_t)(scratch_random(random) % dial->ways);
        } else {
            value[i] = kind % 2 == 0 ? 0 : dial->now;
        }
    }
    if (!all && d->dial_count != 0 && (kind == 2 || kind == 3)) {
        size_t i = scratch_random(random) % d->dial_count;

        value[i] = kind == 2
                       ? d->dials[i].now
                       : (uint32_t)(scratch_random(random) % d->dials[i].ways);
    }
}

static void
tell_wrong(const cut_disk *d, const uint32_t *value, const moment *m)
{
    if (told++ >= WRONG) {
        return;
    }
    printf("WRONG, cut before call %zu (in %s): %s\n", d->prefix,
           steps[m->acked < STEPS ? m->acked : STEPS - 1].what, why);
    for (size_t i = 0; i < d->dial_count; i++) {
        const cut_dial *dial = &d->dials[i];
        const cut_op *op = &d->log->ops[dial->index];

        if (value[i] != dial->now && dial->write) {
            static const char *const ways[] = {"lost", "there", "zeros",
                                               "torn"};
            printf("  %zu bytes at %" PRIu64 " of file %u: %s\n", op->bytes,
                   op->at, op->inode, ways[value[i]]);
        } else if (value[i] != dial->now) {
            printf("  the name %s: as it was before\n",
                   d->log->entries[dial->index].name);
        }
    }
}

static void
judge_state(const cut_disk *d, const uint32_t *value, uint64_t tear,
            const moment *m, const char *root, seen *before)
{
    counts *c = &of_step[m->acked < STEPS ? m->acked : STEPS - 1];
    cut_state s;
    bool good;

    cut_state_of(&s, d, value, tear);
    c->judged++;
    if (is_new(before, s.hash + m->acked * 1000003u + m->lines)) {
        c->distinct++;
        cut_state_write(&s, root);
        good = judge(&s, root, m) && go_on(&s, root, m);
        if (!good) {
            c->wrong++;
            tell_wrong(d, value, m);
        }
        empty(root);
    }
    cut_state_release(&s);
}

static bool
has_write(const cut_disk *d)
{
    for (size_t i = 0; i < d->dial_count; i++) {
        if (d->dials[i].write) {
            return true;
        }
    }
    return false;
}

/* At most `most` states of the disk after `prefix` calls. */
static void
judge_prefix(const cut_log *log, size_t prefix, const moment *m, uint64_t most,
             const char *root, seen *before)
{
    counts *c = &of_step[m->acked < STEPS ? m->acked : STEPS - 1];
    uint64_t random = seed * 1000003 + prefix, states, tries;
    uint32_t *value;
    cut_disk d;

    cut_disk_at(&d, log, prefix);
    states = cut_disk_states(&d);
    c->calls++;
    c->possible += states == UINT64_MAX ? 1.8e19 : (double)states;
    value = calloc(d.dial_count + 1, sizeof *value);
    must(value != NULL, "no memory");
    tries = has_write(&d) || states > most ? most : states;
    for (uint64_t k = 0; k < tries; k++) {
        set_dials(value, &d, k, most, &random);
        judge_state(&d, value, scratch_random(&random), m, root, before);
    }
    free(value);
    cut_disk_release(&d);
}

/* ---- the record ---- */

static void
record(cut_log *log, const char *root)
{
    mr_diag diag = {0};
    uint32_t reused;

    cut_log_open(log, root);
    for (unsigned k = 0; k < STEPS; k++) {
        cut_log_start(log);
        if (steps[k].run(scratch_path(root, NAME), &reused, &diag) != MR_OK) {
            must(false, diag.text);
        }
        cut_log_stop();
        cut_log_mark(log, (int)k + 1);
        scan(&calm[k + 1], root, "");
    }
}

/* What the record says is there is what is there, to the last byte. */
static void
prove_record(const cut_log *log)
{
    cut_disk d;
    cut_state s;
    uint32_t *value;

    cut_disk_at(&d, log, log->count);
    value = calloc(d.dial_count + 1, sizeof *value);
    must(value != NULL, "no memory");
    for (size_t i = 0; i < d.dial_count; i++) {
        value[i] = d.dials[i].now;
    }
    cut_state_of(&s, &d, value, 0);
    must(missing(&s, &calm[STEPS]) == NULL && missing(&calm[STEPS], &s) == NULL,
         "the record is not what was done");
    free(value);
    cut_state_release(&s);
    cut_disk_release(&d);
}

/* Where the commands are after one more call. A file that is begun after a
 * line of the journal says that the line is relied on. */
typedef struct progress {
    moment now;
    uint32_t journal; /* inode */
    unsigned written; /* lines */
} progress;

static void
move_on(progress *p, const cut_log *log, const cut_op *op)
{
    const char *name =
        op->kind == CUT_ENTRY ? log->entries[op->entry].name : "";

    if (op->kind == CUT_MARK) {
        *p = (progress){.now.acked = (unsigned)op->mark, .journal = CUT_NONE};
    } else if (op->kind == CUT_WRITE) {
        p->written += op->inode == p->journal;
    } else if (strcmp(name, "shards.jsonl") == 0) {
        p->journal = op->inode;
    } else if (strncmp(name, ".part-", 6) == 0 && op->inode != CUT_NONE) {
        p->now.lines = p->written;
    }
}

/* ---- notes: prefixes that are done ---- */

static void
read_notes(const char *path, size_t count, bool *done)
{
    FILE *f = path != NULL ? fopen(path, "r") : NULL;
    uint64_t of_seed;
    size_t prefix;
    unsigned step;
    counts c;

    while (f != NULL &&
           fscanf(f, "%" SCNu64 " %zu %u %" SCNu64 " %" SCNu64 " %lf\n",
                  &of_seed, &prefix, &step, &c.judged, &c.distinct,
                  &c.possible) == 6) {
        if (of_seed == seed && prefix <= count && step < STEPS &&
            !done[prefix]) {
            done[prefix] = true;
            of_step[step].calls++;
            of_step[step].judged += c.judged;
            of_step[step].distinct += c.distinct;
            of_step[step].possible += c.possible;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

static void
note(FILE *notes, size_t prefix, unsigned step, const counts *was)
{
    const counts *c = &of_step[step];

    if (notes != NULL && c->wrong == was->wrong) {
        (void)fprintf(notes, "%" PRIu64 " %zu %u %" PRIu64 " %" PRIu64 " %g\n",
                      seed, prefix, step, c->judged - was->judged,
                      c->distinct - was->distinct, c->possible - was->possible);
        (void)fflush(notes);
    }
}

static void
judge_all(const cut_log *log, uint64_t states, const char *root,
          const char *notes_path)
{
    FILE *notes = notes_path != NULL ? fopen(notes_path, "a") : NULL;
    bool *done = calloc(log->count + 1, sizeof *done);
    uint64_t most = states / (log->count + 1);
    progress p = {.journal = CUT_NONE};
    seen before = {0};

    must(done != NULL, "no memory");
    read_notes(notes_path, log->count, done);
    most = most > 2 ? most : 2;
    for (size_t prefix = 0;; prefix++) {
        unsigned step = p.now.acked < STEPS ? p.now.acked : STEPS - 1;
        counts was = of_step[step];

        if (!done[prefix]) {
            judge_prefix(log, prefix, &p.now, most, root, &before);
            note(notes, prefix, step, &was);
        }
        if (prefix == log->count) {
            break;
        }
        move_on(&p, log, &log->ops[prefix]);
    }
    free(before.at);
    free(done);
    if (notes != NULL) {
        (void)fclose(notes);
    }
}

static uint64_t
print_counts(void)
{
    uint64_t wrong = 0;

    printf("| command | calls | states possible | looked at | of these "
           "distinct | wrong |\n"
           "|---|---|---|---|---|---|\n");
    for (unsigned k = 0; k < STEPS; k++) {
        const counts *c = &of_step[k];

        printf("| %s | %" PRIu64 " | %.3g | %" PRIu64 " | %" PRIu64
               " | %" PRIu64 " |\n",
               steps[k].what, c->calls, c->possible, c->judged, c->distinct,
               c->wrong);
        wrong += c->wrong;
    }
    printf("\nSeed %" PRIu64 ".\n", seed);
    return wrong;
}

int
main(int argc, char **argv)
{
    const char *s = getenv("SEED");
    char *made, *cut;
    cut_log log;

    if (argc < 4) {
        (void)fprintf(stderr, "usage: powercut FIRST SECOND STATES [NOTES]\n");
        return 2;
    }
    sources[0] = argv[1];
    sources[1] = argv[2];
    seed = s != NULL ? strtoull(s, NULL, 10) : 1;
    made = scratch_make();
    cut = scratch_make();
    record(&log, made);
    prove_record(&log);
    judge_all(&log, strtoull(argv[3], NULL, 10), cut,
              argc > 4 ? argv[4] : NULL);
    cut_log_close(&log);
    for (unsigned k = 0; k <= STEPS; k++) {
        cut_state_release(&calm[k]);
    }
    scratch_remove(made);
    scratch_remove(cut);
    return print_counts() == 0 ? 0 : 1;
}
