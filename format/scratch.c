/* SPDX-License-Identifier: Apache-2.0 */
/* scratch.c - the memory of one reader, and whether its reads had to wait. */
#include "shard_read.h"

#include <mri/alloc.h>

#define SEEN_BYTES 65536u /* between two looks at how often a thread waits */

mr_scratch *
mr_scratch_open(void)
{
    return mri_alloc(1, sizeof(mr_scratch));
}

void
mr_scratch_close(mr_scratch *scratch)
{
    if (scratch != NULL) {
        mri_bytes_release(&scratch->stored);
        mri_bytes_release(&scratch->shuffle);
        mri_bytes_release(&scratch->piece);
        mri_free(scratch);
    }
}

/* Asking costs time that is lost when all is in memory already, so it is done
 * only while reads make the thread wait. */
void
mri_scratch_note(mr_scratch *scratch, uint64_t bytes)
{
    uint64_t waits;

    scratch->unseen += bytes;
    if (scratch->unseen < SEEN_BYTES) {
        return;
    }
    waits = mri_thread_waits();
    /* Reads that were asked for in time do not wait either: a few calm looks
     * more, before that is taken for memory. */
    if (waits != scratch->waits || waits == UINT64_MAX) {
        scratch->calm = 0;
    } else if (scratch->calm < MRI_CALM) {
        scratch->calm++;
    }
    scratch->waits = waits;
    scratch->unseen = 0;
}

void
mri_scratch_settle(mr_scratch *scratch)
{
    scratch->waits = mri_thread_waits();
    scratch->unseen = 0;
}
