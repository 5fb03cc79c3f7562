/* SPDX-License-Identifier: Apache-2.0 */
/* history.c - history.jsonl: who made a generation, when, where, with what. */
#include <mri/dataset.h>

#include <mri/error.h>
#include <mri/store.h>

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define NAME "history.jsonl"
#define LIMIT ((uint64_t)1 << 32)

/* All lines there are, and one more. */
static mr_err
add_line(const mri_store *s, mri_bytes *all, const char *json, mr_diag *diag)
{
    bool there;
    mr_err err = mri_store_has(s, NAME, &there, diag);

    if (err == MR_OK && there) {
        err = mri_store_load(s, NAME, LIMIT, all, diag);
    }
    if (err == MR_OK && !mri_crc_line_add(all, json)) {
        err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    return err;
}

/* As a whole, not by adding to its end: a power cut would leave half a line,
 * and then nobody could tell it from one that was damaged. */
mr_err
mri_history_add(const char *dir, const char *json, mr_diag *diag)
{
    mri_store s;
    mri_bytes all = {0};
    mr_err err = mri_store_open(&s, dir, diag);

    if (err == MR_OK) {
        err = add_line(&s, &all, json, diag);
    }
    if (err == MR_OK) {
        err = mri_store_put(&s, NAME, &all, MRI_PUT_REPLACE, diag);
    }
    mri_bytes_release(&all);
    mri_store_close(&s);
    return err;
}

void
mri_history_begin(mri_json *j, const char *what, uint64_t generation,
                  const char *command)
{
    char host[64] = "", when[32] = "";
    time_t now = time(NULL);
    struct tm utc;

    (void)gethostname(host, sizeof host - 1);
    if (gmtime_r(&now, &utc) != NULL) {
        (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    mri_json_object(j);
    mri_json_put_text(j, "what", what);
    mri_json_put_u64(j, "generation", generation);
    mri_json_put_text(j, "when", when);
    mri_json_put_text(j, "host", host);
    mri_json_put_text(j, "user", getenv("USER"));
    mri_json_put_text(j, "version", mr_version());
    mri_json_put_text(j, "command", command);
}

mr_err
mri_history_end(mri_json *j, const char *dir, mr_diag *diag)
{
    mr_err err;

    mri_json_end(j);
    err = mri_json_done(j) != NULL
              ? mri_history_add(dir, (const char *)j->out.data, diag)
              : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    mri_json_release(j);
    return err;
}
