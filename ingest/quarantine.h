/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quarantine.h - the record of what could not be used, and why.
 */
#ifndef MRI_QUARANTINE_H
#define MRI_QUARANTINE_H

#include <mri/ingest.h>
#include <mri/json.h>
#include <mri/store.h>

/* Up to 64 bytes around `at`, as hex; NULL if there are none. mri_free. */
char *mri_bad_window(const uint8_t *data, size_t len, uint64_t at);

/* One record as a JSON object, without its braces' line. */
void mri_bad_json(mri_json *j, const mri_bad *bad);
/* Read one back. MR_ECORRUPT, MR_ENOMEM; *bad is zeroed on error. */
MR_USE_RESULT mr_err mri_bad_parse(mri_bad *bad, const char *json,
                                   mr_diag *diag);
void mri_bad_release(mri_bad *bad);

/*
 * Replace quarantine/quarantine.jsonl by `list`, sorted by key;
 * an empty list removes the file and its folder.
 */
MR_USE_RESULT mr_err mri_quarantine_store(const mri_store *store, mri_bad *list,
                                          uint64_t count, mr_diag *diag);

#endif
