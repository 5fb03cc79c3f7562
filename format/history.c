/* SPDX-License-Identifier: Apache-2.0 */
/* history.c - history.jsonl: who made a generation, when, where, with what. */
#include <mri/dataset.h>

#include <mri/error.h>

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

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
