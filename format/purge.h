/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purge.h - the names of the withdrawn, out of what lies beside the shards.
 */
#ifndef MRI_PURGE_H
#define MRI_PURGE_H

#include "dataset_read.h"

/*
 * Lines of history.jsonl and of the quarantine that name a withdrawn sample,
 * or a group of which nobody is left, are taken out or rewritten without it,
 * and an unfinished ingest loses its journal. Before the commit that forgets
 * the list: after it nobody would know whom to look for.
 *
 * errors  MR_EIO, MR_ECORRUPT, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_purge_names(const mr_dataset *ds, bool dry_run,
                                     uint64_t *lines, bool *unfinished,
                                     mr_diag *diag);

#endif
