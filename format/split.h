/* SPDX-License-Identifier: Apache-2.0 */
/*
 * split.h - which samples train, validate and test: whole groups, by a hash.
 * The rule in words: docs/shard-format.md, "Splits".
 */
#ifndef MRI_SPLIT_H
#define MRI_SPLIT_H

#include <millrace/dataset.h>
#include <mri/dataset.h>

/* A live sample on its way into an index. */
typedef struct mri_unit {
    uint8_t uid[MR_UID_BYTES];
    uint32_t shard, row;
    uint64_t group;  /* hash of its name, 0 if it has none */
    uint64_t key;    /* hash */
    uint64_t pixels; /* hash of the image, 0 if it is constant */
    uint64_t content;
    uint32_t class_index;
    uint32_t split; /* in: given or MRI_SPLIT_BY_HASH; out: assigned */
} mri_unit;

typedef struct mri_split_rule {
    const char *salt;
    const double *shares; /* [count], sum 1 */
    uint32_t count;
    uint32_t classes;
    bool repair; /* the first generation, by hash */
} mri_split_rule;

typedef struct mri_split_result {
    uint64_t groups; /* distinct names; 0 if none was given */
    uint64_t joined; /* groups that were joined for sharing pixels */
    uint64_t torn;   /* units that given splits keep apart from their bloc */
} mri_split_result;

/*
 * Assign every unit. A group never parts unless its units came with different
 * splits, which are kept (and counted).
 * errors  MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_split_assign(mri_unit *units, uint64_t count,
                                      const mri_split_rule *rule,
                                      mri_split_result *out, mr_diag *diag);

#endif
