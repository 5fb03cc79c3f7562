/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_export.c - millrace export: a dataset back to ordinary files. */
#include "cli.h"

#include "npy.h"

#include <mri/alloc.h>
#include <mri/cpu.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/selection.h>
#include <mri/thread.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { AS_NPY, AS_JPEG };

typedef struct export_run {
    mri_cli *cli;
    const mr_dataset *ds;
    const char *out;
    int as;
    mri_selection split;
    pthread_mutex_t lock;
    uint64_t done, total, bytes, skipped;
} export_run;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* A key may hold folders, but none that leads out of the output. */
static bool
safe_key(const char *key)
{
    if (key[0] == '/' || key[0] == '\0') {
        return false;
    }
    for (const char *p = key; p != NULL; p = strchr(p, '/')) {
        p += *p == '/';
        if (strncmp(p, "../", 3) == 0 || strcmp(p, "..") == 0) {
            return false;
        }
    }
    return true;
}

static mr_err
make_folders(const char *path, size_t from, mr_diag *diag)
{
    char *copy = mri_strdup(path);
    mr_err err = copy != NULL ? MR_OK : no_memory(diag);

    for (char *p = copy != NULL ? copy + from : NULL;
         err == MR_OK && (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        err = mri_dir_make(copy, diag);
        *p = '/';
    }
    mri_free(copy);
    return err;
}

/* out/KEY[.FIELD]END, its folders made; mri_free. */
static mr_err
target(const export_run *x, const char *key, const char *field, const char *end,
       char **path, mr_diag *diag)
{
    mri_bytes b = {0};
    bool several = mr_dataset_fields(x->ds) > 1;

    *path = NULL;
    if (!safe_key(key)) {
        return mri_fail(diag, MRI_E_EXPORT, MR_NOWHERE,
                        "the key '%.200s' would leave the folder", key);
    }
    if (!mri_bytes_text(&b, "%s/%s%s%s%s", x->out, key, several ? "." : "",
                        several ? field : "", end)) {
        mri_bytes_release(&b);
        return no_memory(diag);
    }
    *path = (char *)b.data;
    return make_folders(*path, strlen(x->out) + 1, diag);
}

static void
json_list(mri_json *j, const char *key, const double *v, uint32_t n)
{
    mri_json_key(j, key);
    mri_json_array(j);
    for (uint32_t i = 0; i < n; i++) {
        mri_json_f64(j, v[i]);
    }
    mri_json_end(j);
}

static mr_err
write_json(const char *path, const mr_dataset *ds, uint64_t rank,
           const mr_field *f, const mri_meta *meta, uint32_t i, mr_diag *diag)
{
    const mri_geometry *g = &meta->geometry[i];
    mri_json j = {.pretty = true};
    mr_sample s;
    mr_err err = mr_dataset_sample(ds, rank, &s, diag);

    if (err != MR_OK) {
        return err;
    }
    mri_json_object(&j);
    mri_json_put_text(&j, "key", meta->key);
    mri_json_put_text(&j, "uid", mri_text_hex(s.uid, 16));
    mri_json_put_text(&j, "class", meta->class_name);
    mri_json_put_text(&j, "group", meta->group);
    mri_json_put_text(&j, "dtype", mr_dtype_name(f->dtype));
    mri_json_put_text(&j, "axes", f->axes);
    mri_json_put_f64(&j, "slope", g->slope);
    mri_json_put_f64(&j, "intercept", g->inter);
    json_list(&j, "spacing", g->spacing, f->rank);
    if (g->has_affine) {
        json_list(&j, "affine", g->affine, 12);
    } else {
        mri_json_key(&j, "affine");
        mri_json_null(&j);
    }
    mri_json_put_u64(&j, "orientation", g->orientation);
    mri_json_key(&j, "channels");
    mri_json_array(&j);
    for (uint32_t k = 0; k < g->channel_count; k++) {
        mri_json_text(&j, g->channels[k]);
    }
    mri_json_end(&j);
    mri_json_end(&j);
    err = mri_json_done(&j) != NULL
              ? mri_file_put(path, j.out.data, j.out.len - 1, MRI_PUT_REPLACE,
                             diag)
              : no_memory(diag);
    mri_json_release(&j);
    return err;
}

static mr_err
export_npy(export_run *x, uint64_t rank, uint32_t i, const mr_field *f,
           const mri_meta *meta, mr_diag *diag)
{
    const char *field = mr_dataset_field_name(x->ds, f->name);
    char *path = NULL, *json = NULL;
    mri_bytes file = {0};
    mr_tensor t;
    mr_err err = target(x, meta->key, field, ".npy", &path, diag);

    if (err == MR_OK && (!mri_npy_header(&file, f->dtype, f->shape, f->rank) ||
                         !mri_bytes_reserve(&file, (size_t)f->bytes))) {
        err = no_memory(diag);
    }
    if (err == MR_OK) {
        t = mr_tensor_of(file.data + file.len, f->dtype, f->rank, f->shape);
        err = mr_dataset_read(x->ds, rank, i, NULL, &t, NULL, diag);
        file.len += (size_t)f->bytes;
    }
    if (err == MR_OK) {
        err = mri_file_put(path, file.data, file.len, MRI_PUT_REPLACE, diag);
    }
    if (err == MR_OK) {
        err = target(x, meta->key, field, ".json", &json, diag);
    }
    if (err == MR_OK) {
        err = write_json(json, x->ds, rank, f, meta, i, diag);
    }
    mri_bytes_release(&file);
    mri_free(path);
    mri_free(json);
    return err;
}

static mr_err
export_jpeg(export_run *x, uint64_t rank, uint32_t i, const mr_field *f,
            const mri_meta *meta, mr_diag *diag)
{
    const char *field = mr_dataset_field_name(x->ds, f->name);
    const char *dot = strrchr(meta->key, '.');
    bool named = dot != NULL && (strcasecmp(dot, ".jpg") == 0 ||
                                 strcasecmp(dot, ".jpeg") == 0);
    mr_scratch *scratch = mr_scratch_open();
    const uint8_t *p;
    size_t bytes;
    char *path = NULL;
    mr_err err = scratch != NULL ? MR_OK : no_memory(diag);

    if (err == MR_OK) {
        err = mr_dataset_bytes(x->ds, rank, i, &p, &bytes, scratch, diag);
    }
    if (err == MR_OK) {
        err = target(x, meta->key, field, named ? "" : ".jpg", &path, diag);
    }
    if (err == MR_OK) {
        err = mri_file_put(path, p, bytes, MRI_PUT_REPLACE, diag);
    }
    mr_scratch_close(scratch);
    mri_free(path);
    return err;
}

static void
tell(export_run *x, uint64_t bytes, bool skipped)
{
    mr_progress now;

    pthread_mutex_lock(&x->lock);
    x->done++;
    x->bytes += bytes;
    x->skipped += skipped;
    now = (mr_progress){.unit = "samples",
                        .done = x->done,
                        .total = x->total,
                        .bytes = x->bytes};
    x->cli->watch.progress(x->cli->watch.user, &now);
    pthread_mutex_unlock(&x->lock);
}

static mr_err
export_sample(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    export_run *x = arg;
    uint64_t rank, bytes = 0;
    bool wrote = false;
    mri_meta *meta = NULL;
    mr_sample s;
    mr_err err = mri_selection_at(&x->split, task, &rank, diag);

    (void)worker;
    if (mri_signals_stop()) {
        return mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
    }
    if (err == MR_OK) {
        err = mr_dataset_sample(x->ds, rank, &s, diag);
    }
    if (err == MR_OK) {
        err = mri_dataset_meta(x->ds, rank, &meta, diag);
    }
    for (uint32_t i = 0; err == MR_OK && i < s.fields; i++) {
        mr_field f;

        err = mr_dataset_field(x->ds, rank, i, &f, diag);
        if (err != MR_OK ||
            (x->as == AS_NPY) != (f.encoding == MR_ENC_CHUNKS)) {
            continue;
        }
        err = x->as == AS_NPY ? export_npy(x, rank, i, &f, meta, diag)
                              : export_jpeg(x, rank, i, &f, meta, diag);
        wrote = true;
        bytes += f.bytes;
    }
    mri_meta_free(meta);
    if (err == MR_OK) {
        tell(x, bytes, !wrote);
    }
    return err;
}

static mr_err
export_all(export_run *x, unsigned workers, mr_diag *diag)
{
    mri_pool *pool;
    mr_err err = mri_dir_make(x->out, diag);

    if (err == MR_OK) {
        err = mri_pool_open(&pool, workers, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    x->total = x->split.count;
    err = mri_pool_run(pool, (size_t)x->total, export_sample, x, diag);
    mri_pool_close(pool);
    mri_progress_clear(&x->cli->line);
    if (err == MR_OK && x->cli->json) {
        mri_json j = {0};

        mri_json_object(&j);
        mri_json_put_text(&j, "schema", "millrace.export.1");
        mri_json_put_u64(&j, "samples", x->total - x->skipped);
        mri_json_put_u64(&j, "skipped", x->skipped);
        mri_json_put_u64(&j, "bytes", x->bytes);
        mri_json_end(&j);
        err = mri_cli_json(&j, diag);
    } else if (err == MR_OK) {
        (void)printf("%s: %s written\n", x->out,
                     mri_text_plural(x->total - x->skipped, "sample"));
        if (x->skipped != 0) {
            mri_cli_warn(x->cli,
                         "%s without a field that can be "
                         "written as %s",
                         mri_text_plural(x->skipped, "sample"),
                         x->as == AS_NPY ? "npy (they are kept as JPEG: --as "
                                           "jpeg)"
                                         : "jpeg (--as npy)");
        }
    }
    return err;
}

int
mri_cmd_export(int argc, char **argv)
{
    static const mri_cmd_doc doc = {
        .name = "export",
        .args = "DATASET -o DIR",
        .summary = "bring a dataset back to ordinary files",
        .examples =
            "  millrace export brain.mr -o out/ --as npy\n"
            "      the stored values, and beside each a JSON with axes, "
            "affine,\n      spacing, slope and intercept\n"
            "  millrace export photos.mr -o out/ --as jpeg --split test\n"
            "      the JPEG files as they were kept\n",
    };
    export_run x = {.as = AS_NPY};
    const char *split = "all";
    uint64_t workers = mri_cpu_count();
    const mri_opt opts[] = {
        {MRI_OPT_TEXT, 'o', "output", &x.out, "DIR", "where to", false},
        {MRI_OPT_CHOICE, 0, "as", &x.as, "npy|jpeg", "the form (npy)", false},
        {MRI_OPT_TEXT, 0, "split", &split, "NAME",
         "only this split, or some: fold0+fold1, '!fold2' (all)", false},
        {MRI_OPT_U64, 'j', "threads", &workers, "N", "threads (all CPUs)",
         false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_cli cli;
    int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    mr_dataset *ds = NULL;
    mr_diag diag = {0};
    mr_err err;

    if (rc >= 0) {
        return mri_cli_end(&cli, rc);
    }
    x.cli = &cli;
    pthread_mutex_init(&x.lock, NULL);
    err = mri_cli_args(&cli, 1, 1, &diag);
    if (err == MR_OK && x.out == NULL) {
        err = mri_fail(&diag, MRI_E_USAGE, MR_NOWHERE, "export needs -o DIR");
    }
    if (err == MR_OK) {
        err = mri_cli_number("threads", workers, 0, MRI_CLI_THREADS, &diag);
    }
    if (err == MR_OK) {
        err = mr_dataset_open(&ds, cli.rest.at[0], &diag);
    }
    if (err == MR_OK) {
        err = mri_selection_open(&x.split, ds, split, &diag);
    }
    if (err == MR_OK) {
        x.ds = ds;
        err = export_all(&x, workers != 0 ? (unsigned)workers : 1, &diag);
    }
    mri_selection_release(&x.split);
    mr_dataset_close(ds);
    pthread_mutex_destroy(&x.lock);
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
