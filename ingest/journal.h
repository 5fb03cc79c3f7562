/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.h - which shards of an ingest are finished, so that the next run
 * need not make them again.
 *
 * A shard is known by its plan tag, which follows from the conversion and from
 * the names and sizes of its inputs: a line is good for any plan that has that
 * shard. Lines that a power cut tore are skipped; their shard is made again.
 */
#ifndef MRI_JOURNAL_H
#define MRI_JOURNAL_H

#include <mri/shard.h>
#include <mri/store.h>

typedef struct mri_journal {
    mri_store_log log;
    mri_shard_ref *done;
    size_t count;
} mri_journal;

/*
 * Open journal/shards.jsonl and read it; shards whose file is not there,
 * or not of that size, are left out.
 */
MR_USE_RESULT mr_err mri_journal_open(mri_journal *j, const mri_store *store,
                                      mr_diag *diag);
/* A finished shard without bad inputs: one line, durable. */
MR_USE_RESULT mr_err mri_journal_add(mri_journal *j, const mri_shard_ref *ref,
                                     mr_diag *diag);
/* The shard of that tag, or NULL. */
const mri_shard_ref *mri_journal_find(const mri_journal *j,
                                      const uint8_t plan_tag[16]);
/* `remove`: nothing is left to resume. Zeroed: accepted. */
void mri_journal_close(mri_journal *j, bool remove);

#endif
