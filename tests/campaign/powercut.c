/* SPDX-License-Identifier: Apache-2.0 */
/*
 * powercut.c - the power goes at any moment of what makes generations.
 *
 *     powercut FIRST SECOND NEAR FAR STATES [NOTES]     run by powercut.sh
 *
 * FIRST and SECOND are folders of cells, the second with those of the first.
 * A dataset is made of them and changed, one command after the other, and all
 * that this does to the disk is recorded. Then for every prefix of the record
 * some of the states in which a disk may be found (cut_disk.h), all of them if
 * they are few, are put into a folder and judged: what was acknowledged is
 * there, what is visible is whole; and the command that was cut off, run again,
 * ends at the same bytes as the one that was not, with nothing beside them.
 *
 * Then the same after a kill: a command is ended before each of its calls and
 * run again, and then the power goes.
 *
 * STATES is about how many are looked at. NOTES is a file: prefixes that it
 * lists are not judged again. SEED in the environment.
 */
#include "cut_disk.h"
#include "cut_judge.h"
#include "cut_log.h"
#include "cut_steps.h"

#include <scratch.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRONG 5 /* that are told */

static void
empty(const char *root)
{
    char *dir = strdup(scratch_path(root, CUT_NAME));

    cut_must(dir != NULL, "no memory");
    scratch_remove(dir); /* frees it */
}

/* ---- which states ---- */

typedef struct counts {
    uint64_t calls, judged, distinct, wrong;
    double possible;
} counts;

static counts of_step[CUT_STEPS];
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
        cut_must(more.at != NULL, "no memory");
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
tell_wrong(const cut_disk *d, const uint32_t *value, const cut_moment *m)
{
    if (told++ >= WRONG) {
        return;
    }
    printf("WRONG, cut before call %zu (in %s): %s\n", d->prefix,
           cut_steps[m->acked < CUT_STEPS ? m->acked : CUT_STEPS - 1].what,
           cut_why);
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

/* What states are looked at for. */
typedef struct job {
    const char *root; /* an empty folder for one after the other */
    uint64_t most;    /* of a prefix */
    counts *c;
    seen before; /* those that were found good, with their moment */
} job;

static void
judge_state(job *j, const cut_disk *d, const uint32_t *value, uint64_t tear,
            const cut_moment *m)
{
    cut_state s;

    cut_state_of(&s, d, value, tear);
    j->c->judged++;
    if (is_new(&j->before, s.hash + m->acked * 1000003u + m->lines)) {
        j->c->distinct++;
        cut_state_write(&s, j->root);
        if (!cut_judge(&s, j->root, m) || !cut_go_on(&s, j->root, m)) {
            j->c->wrong++;
            tell_wrong(d, value, m);
        }
        empty(j->root);
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

/* Some states of the disk after `prefix` calls. */
static void
judge_prefix(job *j, const cut_log *log, size_t prefix, const cut_moment *m)
{
    uint64_t random = seed * 1000003 + prefix, states, tries;
    uint32_t *value;
    cut_disk d;

    cut_disk_at(&d, log, prefix);
    states = cut_disk_states(&d);
    j->c->calls++;
    j->c->possible += states == UINT64_MAX ? 1.8e19 : (double)states;
    value = calloc(d.dial_count + 1, sizeof *value);
    cut_must(value != NULL, "no memory");
    tries = has_write(&d) || states > j->most ? j->most : states;
    for (uint64_t k = 0; k < tries; k++) {
        set_dials(value, &d, k, j->most, &random);
        judge_state(j, &d, value, scratch_random(&random), m);
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
    for (unsigned k = 0; k < CUT_STEPS; k++) {
        cut_log_start(log);
        if (cut_steps[k].run(scratch_path(root, CUT_NAME), &reused, &diag) !=
            MR_OK) {
            cut_must(false, diag.text);
        }
        cut_log_stop();
        cut_log_mark(log, (int)k + 1);
        cut_scan(&cut_calm[k + 1], root);
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
    cut_must(value != NULL, "no memory");
    for (size_t i = 0; i < d.dial_count; i++) {
        value[i] = d.dials[i].now;
    }
    cut_state_of(&s, &d, value, 0);
    cut_must(cut_missing(&s, &cut_calm[CUT_STEPS]) == NULL &&
                 cut_missing(&cut_calm[CUT_STEPS], &s) == NULL,
             "the record is not what was done");
    free(value);
    cut_state_release(&s);
    cut_disk_release(&d);
}

/* Where the commands are after one more call. A file that is begun after a
 * line of the journal says that the line is relied on. */
typedef struct progress {
    cut_moment now;
    uint32_t journal; /* inode */
    unsigned written; /* lines */
} progress;

static void
move_on(progress *p, const cut_log *log, const cut_op *op)
{
    const char *name =
        op->kind == CUT_ENTRY ? log->entries[op->entry].name : "";

    if (op->kind == CUT_MARK) {
        *p = (progress){
            .now = {.acked = (unsigned)op->mark, .told = (unsigned)op->mark},
            .journal = CUT_NONE};
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
        if (of_seed == seed && prefix <= count && step < CUT_STEPS &&
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
    job j = {.root = root, .most = states / (log->count + 1)};
    progress p = {.journal = CUT_NONE};

    cut_must(done != NULL, "no memory");
    read_notes(notes_path, log->count, done);
    j.most = j.most > 2 ? j.most : 2;
    for (size_t prefix = 0;; prefix++) {
        unsigned step = p.now.acked < CUT_STEPS ? p.now.acked : CUT_STEPS - 1;
        counts was = of_step[step];

        j.c = &of_step[step];
        if (!done[prefix]) {
            judge_prefix(&j, log, prefix, &p.now);
            note(notes, prefix, step, &was);
        }
        if (prefix == log->count) {
            break;
        }
        move_on(&p, log, &log->ops[prefix]);
    }
    free(j.before.at);
    free(done);
    if (notes != NULL) {
        (void)fclose(notes);
    }
}

/* ---- killed first ---- */

/* What a killed one left, the next one cannot go on from: no cut is needed. */
static void
tell_stuck(job *j, unsigned k, uint64_t n, const char *why)
{
    j->c->wrong++;
    if (told++ < WRONG) {
        printf("WRONG, killed before call %" PRIu64
               " (in %s), it does not go on: %s\n",
               n, cut_steps[k].what, why);
    }
}

/*
 * The program is killed before its n-th call of step `k`, and run again; then
 * the power goes. What the killed one had not synced may be lost now, and the
 * second must not take it for safe because it is there. False: there is no
 * n-th call.
 */
static bool
killed(job *j, unsigned k, uint64_t n, const char *made)
{
    char dir[1024];
    uint64_t random = seed * 7919 + n;
    uint32_t reused;
    mr_diag diag = {0};
    cut_log log;
    size_t from;
    mr_err err;
    bool died;

    (void)snprintf(dir, sizeof dir, "%s/" CUT_NAME, made);
    cut_log_open(&log, made);
    for (size_t i = 0; i < cut_calm[k].count; i++) {
        const cut_node *node = &cut_calm[k].nodes[i];

        cut_log_found(&log, node->path, node->folder, node->data, node->bytes);
    }
    cut_state_write(&cut_calm[k], made);
    cut_log_die(&log, n);
    cut_log_start(&log);
    err = cut_steps[k].run(dir, &reused, &diag);
    died = log.dead;
    cut_log_revive(&log);
    from = log.count;
    err = died ? cut_steps[k].run(dir, &reused, &diag) : err;
    cut_log_stop();
    cut_must(err == MR_OK || died, diag.text);
    if (err != MR_OK) {
        tell_stuck(j, k, n, diag.text);
    }
    cut_log_mark(&log, (int)k + 1);
    for (unsigned i = 0; err == MR_OK && died && i < 4; i++) {
        size_t prefix =
            i == 0 ? log.count
                   : from + scratch_random(&random) % (log.count - from);

        /* killed between manifest and history, it leaves no line */
        judge_prefix(j, &log, prefix,
                     &(cut_moment){.acked = k + (i == 0), .told = k});
    }
    cut_log_close(&log);
    empty(made);
    return died;
}

/* Every STRIDE-th call of each step, from a number on that the seed gives. */
static uint64_t
judge_killed(uint64_t stride, const char *made, const char *root)
{
    counts c = {0};
    job j = {.root = root, .most = 8, .c = &c};
    uint64_t kills = 0;

    for (unsigned k = 0; k < CUT_STEPS; k++) {
        for (uint64_t n = seed % stride; killed(&j, k, n, made); n += stride) {
            kills++;
        }
    }
    free(j.before.at);
    printf("\nKilled before %" PRIu64
           " of these calls, run again, and then the "
           "power cut: %" PRIu64 " states looked at, %" PRIu64
           " of them distinct, %" PRIu64 " wrong.\n",
           kills, c.judged, c.distinct, c.wrong);
    return c.wrong;
}

static uint64_t
print_counts(void)
{
    uint64_t wrong = 0;

    printf("| command | calls | states possible | looked at | of these "
           "distinct | wrong |\n"
           "|---|---|---|---|---|---|\n");
    for (unsigned k = 0; k < CUT_STEPS; k++) {
        const counts *c = &of_step[k];

        printf("| %s | %" PRIu64 " | %.3g | %" PRIu64 " | %" PRIu64
               " | %" PRIu64 " |\n",
               cut_steps[k].what, c->calls, c->possible, c->judged, c->distinct,
               c->wrong);
        wrong += c->wrong;
    }
    return wrong;
}

int
main(int argc, char **argv)
{
    const char *s = getenv("SEED");
    char *made, *cut;
    uint64_t states, wrong;
    cut_log log;

    if (argc < 6) {
        (void)fprintf(stderr, "usage: powercut FIRST SECOND NEAR FAR STATES "
                              "[NOTES]\n");
        return 2;
    }
    for (int i = 0; i < 4; i++) {
        cut_sources[i] = argv[i + 1];
    }
    seed = s != NULL ? strtoull(s, NULL, 10) : 1;
    made = scratch_make();
    cut = scratch_make();
    record(&log, made);
    prove_record(&log);
    empty(made);
    states = strtoull(argv[5], NULL, 10);
    judge_all(&log, states, cut, argc > 6 ? argv[6] : NULL);
    wrong = print_counts();
    wrong += judge_killed(states < 10000 ? 47 : 1, made, cut);
    printf("\nSeed %" PRIu64 ".\n", seed);
    cut_log_close(&log);
    for (unsigned k = 0; k <= CUT_STEPS; k++) {
        cut_state_release(&cut_calm[k]);
    }
    scratch_remove(made);
    scratch_remove(cut);
    return wrong == 0 ? 0 : 1;
}
