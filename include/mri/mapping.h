/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapping.h - a file's bytes in memory that may be read whatever becomes of it.
 *
 * A page of a mapped file that is no longer there (the file was cut short, the
 * disk or the server failed) is a SIGBUS, which ends the process. While a
 * mapping of ours is open, a handler puts a page of zeros in the place of one
 * that is lost, and remembers it; the thread reads on, and whoever reads asks
 * mri_mapping_lost before it believes what it saw. A SIGBUS elsewhere goes to
 * the handler that was there before, as if this one were not.
 *
 * Threads: any number may read a mapping and ask; open and close are one
 * thread's at a time for each mapping.
 */
#ifndef MRI_MAPPING_H
#define MRI_MAPPING_H

#include <mri/door.h>

MRI_BEGIN

typedef struct mri_mapping {
    const uint8_t *at; /* NULL: not open */
    size_t bytes;
    uint8_t end[8]; /* its last bytes, as they were */
    struct mri_mapping_slot *slot;
} mri_mapping;

/*
 * The first `bytes` > 0 of an open file; fd may be closed afterwards. False:
 * it cannot be mapped (then read it by pread), or memory is out.
 */
MR_USE_RESULT bool mri_mapping_open(mri_mapping *m, int fd, size_t bytes);
void mri_mapping_close(mri_mapping *m); /* zeroed or closed: accepted */

/* True if bytes were lost since it was opened, and from which offset on they
 * may be. The page in which a file was cut reads as zeros and is no SIGBUS, so
 * the last bytes are looked at: they must not all be zeros in a sound file. */
bool mri_mapping_lost(const mri_mapping *m, uint64_t *at);

/* Bytes that will be read soon: they are fetched meanwhile. A hint. */
void mri_mapping_want(const mri_mapping *m, uint64_t at, uint64_t bytes);

MRI_END

#endif
