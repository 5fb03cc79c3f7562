/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_batch.c - millrace batch: compute batches, and show or hash them. */
#include "cli.h"

#include "picture.h"

#include <millrace/stream.h>

#include <mri/alloc.h>
#include <mri/digest.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/safetensors.h>

#include <string.h>

typedef struct batch_run {
    mri_cli *cli;
    mr_stream_options o;
    const char *index, *hash, *png, *out;
    uint64_t epoch;
} batch_run;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* "3" is one batch, "0:20" those from 0 to 19. */
static mr_err
parse_index(const char *text, uint64_t *first, uint64_t *end, mr_diag *diag)
{
    char copy[64];
    char *colon;

    if (strlen(text) < sizeof copy) {
        strcpy(copy, text);
        colon = strchr(copy, ':');
        if (colon != NULL) {
            *colon = '\0';
        }
        if (mri_parse_u64(copy, first) &&
            (colon == NULL || mri_parse_u64(colon + 1, end))) {
            *end = colon == NULL ? *first + 1 : *end;
            if (*first < *end) {
                return MR_OK;
            }
        }
    }
    return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                    "--index cannot be '%s': expected I or I:J, I < J", text);
}

/* "r/R" */
static mr_err
parse_consumer(const char *text, mr_stream_options *o, mr_diag *diag)
{
    const char *slash = strchr(text, '/');
    char copy[32];
    uint64_t r, of;

    if (slash != NULL && (size_t)(slash - text) < sizeof copy) {
        memcpy(copy, text, (size_t)(slash - text));
        copy[slash - text] = '\0';
        if (mri_parse_u64(copy, &r) && mri_parse_u64(slash + 1, &of) &&
            r < of && of <= UINT32_MAX) {
            o->consumer = (uint32_t)r;
            o->consumers = (uint32_t)of;
            return MR_OK;
        }
    }
    return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                    "--consumer cannot be '%s': expected r/R, r < R, such as "
                    "0/3",
                    text);
}

static mr_err
print_hashes(const batch_run *b, const mr_batch *batch, mr_diag *diag)
{
    mri_bytes line = {0};
    bool rows = strcmp(b->hash, "rows") == 0;
    bool ok =
        rows ? mri_batch_row_lines(&line, batch) : mri_batch_line(&line, batch);

    if (ok) {
        (void)fwrite(line.data, 1, line.len, stdout);
        (void)fflush(stdout); /* one by one: somebody may be waiting */
    }
    mri_bytes_release(&line);
    return ok ? MR_OK : no_memory(diag);
}

static void
print_shapes(const batch_run *b, const mr_batch *batch)
{
    mri_json j = {0};

    if (!b->cli->json) {
        (void)printf("epoch %llu batch %llu: %llu rows\n",
                     (unsigned long long)mr_batch_epoch(batch),
                     (unsigned long long)mr_batch_index(batch),
                     (unsigned long long)mr_batch_valid_rows(batch));
        for (size_t i = 0; i < mr_batch_tensors(batch); i++) {
            const mr_tensor *t = mr_batch_tensor_at(batch, i);

            (void)printf("  %-8s %s %s\n", mr_batch_name_at(batch, i),
                         mr_dtype_name(t->dtype),
                         mri_text_shape(t->shape, t->rank));
        }
        return;
    }
    mri_json_object(&j);
    mri_json_put_text(&j, "schema", "millrace.batch.1");
    mri_json_put_u64(&j, "epoch", mr_batch_epoch(batch));
    mri_json_put_u64(&j, "index", mr_batch_index(batch));
    mri_json_put_u64(&j, "rows", mr_batch_valid_rows(batch));
    mri_json_key(&j, "tensors");
    mri_json_array(&j);
    for (size_t i = 0; i < mr_batch_tensors(batch); i++) {
        const mr_tensor *t = mr_batch_tensor_at(batch, i);

        mri_json_object(&j);
        mri_json_put_text(&j, "name", mr_batch_name_at(batch, i));
        mri_json_put_text(&j, "dtype", mr_dtype_name(t->dtype));
        mri_json_key(&j, "shape");
        mri_json_array(&j);
        for (uint32_t k = 0; k < t->rank; k++) {
            mri_json_u64(&j, t->shape[k]);
        }
        mri_json_end(&j);
        mri_json_end(&j);
    }
    mri_json_end(&j);
    mri_json_end(&j);
    (void)mri_cli_json(&j, NULL);
}

/* F.safetensors, and with several batches F.3.safetensors. */
static mr_err
write_tensors(const batch_run *b, const mr_batch *batch, bool several,
              mr_diag *diag)
{
    size_t n = mr_batch_tensors(batch);
    mri_st_item *items = mri_alloc(n, sizeof *items);
    const char *dot = strrchr(b->out, '.');
    size_t stem = dot != NULL ? (size_t)(dot - b->out) : strlen(b->out);
    char numbers[2][24];
    const mri_st_meta meta[] = {{"epoch", numbers[0]}, {"index", numbers[1]}};
    mri_bytes path = {0};
    mr_err err = MR_OK;

    (void)snprintf(numbers[0], sizeof numbers[0], "%llu",
                   (unsigned long long)mr_batch_epoch(batch));
    (void)snprintf(numbers[1], sizeof numbers[1], "%llu",
                   (unsigned long long)mr_batch_index(batch));
    if (items == NULL ||
        !mri_bytes_text(&path, "%.*s%s%s%s", (int)stem, b->out,
                        several ? "." : "", several ? numbers[1] : "",
                        b->out + stem)) {
        err = no_memory(diag);
    }
    for (size_t i = 0; err == MR_OK && i < n; i++) {
        const mr_tensor *t = mr_batch_tensor_at(batch, i);

        items[i] = (mri_st_item){.name = mr_batch_name_at(batch, i),
                                 .dtype = t->dtype,
                                 .rank = t->rank,
                                 .data = t->data};
        memcpy(items[i].shape, t->shape, sizeof items[i].shape);
    }
    if (err == MR_OK) {
        err = mri_st_write((const char *)path.data, items, n, meta, 2, diag);
    }
    mri_bytes_release(&path);
    mri_free(items);
    return err;
}

static mr_err
show_batch(batch_run *b, const mr_batch *batch, bool first, bool several,
           mr_diag *diag)
{
    mr_err err = MR_OK;

    if (b->hash != NULL) {
        err = print_hashes(b, batch, diag);
    }
    if (err == MR_OK && b->out != NULL) {
        err = write_tensors(b, batch, several, diag);
    }
    if (err == MR_OK && b->png != NULL && first) {
        err = mri_batch_picture(batch, b->png, diag);
    }
    if (err == MR_OK && b->hash == NULL && b->out == NULL && b->png == NULL) {
        print_shapes(b, batch);
    }
    return err;
}

static mr_err
run_batches(batch_run *b, mr_diag *diag)
{
    uint64_t first = 0, end = 1;
    mr_stream *s = NULL;
    mr_err err = MR_OK;

    if (b->index != NULL) {
        err = parse_index(b->index, &first, &end, diag);
    }
    if (err == MR_OK) {
        err = mr_stream_open(&s, &b->o, diag);
    }
    if (err == MR_OK && b->index == NULL && b->hash != NULL) {
        end = mr_stream_batches(s); /* an epoch */
    }
    for (uint64_t i = first; err == MR_OK && i < end; i++) {
        mr_batch *batch;

        err = mr_stream_get(s, b->epoch, i, &batch, diag);
        if (err == MR_OK) {
            err = show_batch(b, batch, i == first, end - first > 1, diag);
            mr_batch_unref(batch);
        }
        if (err == MR_OK && mri_signals_stop()) {
            err = mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
        }
    }
    mr_stream_close(s);
    return err;
}

static const mri_cmd_doc doc = {
    .name = "batch",
    .args = "SOURCE",
    .summary = "compute batches: shapes, hashes, pictures, tensors",
    .examples =
        "  millrace batch cells.mr --pipeline cells.pipe.yaml\n"
        "      shapes and types of the first batch\n"
        "  millrace batch cells.mr --pipeline p.yaml --png seen.png\n"
        "      what the model will see\n"
        "  millrace batch cells.mr --index 0:20 --hash\n"
        "      a line a batch: the same from any server, any number of "
        "threads\n"
        "  millrace batch tcp://127.0.0.1:5570,ipc:///run/m.sock --hash\n"
        "      from two servers\n"
        "  millrace batch cells.mr --index 3 -o b.safetensors\n"
        "      the tensors of batch 3\n",
    .details =
        "SOURCE is a dataset (NAME.mr, NAME.mr@GENERATION) or servers\n"
        "(ENDPOINT[#NAME],...). A batch is a function of dataset, split, "
        "pipeline, seed,\nepoch and index; nothing else changes a bit "
        "of it. Operations of a pipeline:\ndocs/operations.md.\n",
};

/* What the command line says that is not yet in b->o. */
typedef struct flags {
    const char *pipeline, *consumer;
    uint64_t size, threads;
    double connect, patience;
    int tail, order, damage;
} flags;

static mr_err
take_flags(batch_run *b, const flags *f, mr_diag *diag)
{
    mr_err err;

    if (b->hash != NULL && b->hash[0] != '\0' && strcmp(b->hash, "rows") != 0) {
        return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                        "--hash cannot be '%s': expected nothing, or rows",
                        b->hash);
    }
    err = mri_cli_number("batch-size", f->size, 1, UINT32_MAX, diag);
    if (err == MR_OK) {
        err = mri_cli_number("threads", f->threads, 0, MRI_CLI_THREADS, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    b->o.batch_size = (uint32_t)f->size;
    b->o.threads = (uint32_t)f->threads;
    b->o.tail = (mr_tail)f->tail;
    b->o.order = (mr_order)f->order;
    b->o.on_damage = (mr_on_damage)f->damage;
    if (f->consumer != NULL) {
        err = parse_consumer(f->consumer, &b->o, diag);
    }
    if (err == MR_OK) {
        err = mri_cli_ms("connect-timeout", f->connect, &b->o.connect_ms, diag);
    }
    return err == MR_OK
               ? mri_cli_ms("patience", f->patience, &b->o.patience_ms, diag)
               : err;
}

/* With the text of the pipeline, which must live as long as b->o. */
static mr_err
run_with(batch_run *b, const char *pipeline, mr_diag *diag)
{
    mri_bytes yaml = {0};
    mr_err err = MR_OK;

    if (pipeline != NULL) {
        err = mri_file_load(pipeline, 16u << 20, &yaml, diag);
        b->o.pipeline =
            err == MR_OK && yaml.len != 0 ? (const char *)yaml.data : NULL;
        b->o.pipeline_bytes = yaml.len;
    }
    if (err == MR_OK) {
        err = run_batches(b, diag);
        mri_cli_blame_pipeline(diag, pipeline);
    }
    mri_bytes_release(&yaml);
    return err;
}

int
mri_cmd_batch(int argc, char **argv)
{
    batch_run b = {.o = mr_stream_defaults()};
    flags f = {.size = b.o.batch_size, .connect = 5, .patience = 60};
    const mri_opt opts[] = {
        {MRI_OPT_TEXT, 0, "split", &b.o.split, "NAME",
         "train; or some: fold0+fold1, or all but some: '!fold2'", false},
        {MRI_OPT_TEXT, 0, "pipeline", &f.pipeline, "FILE",
         "YAML list of operations (none: the stored fields)", false},
        {MRI_OPT_U64, 0, "seed", &b.o.seed, "N", "0", false},
        {MRI_OPT_U64, 0, "epoch", &b.epoch, "N", "0", false},
        {MRI_OPT_TEXT, 0, "index", &b.index, "I[:J]",
         "which batches (0; with --hash a whole epoch)", false},
        {MRI_OPT_U64, 0, "batch-size", &f.size, "N", "rows of a batch (64)",
         false},
        {MRI_OPT_TEXT, 0, "consumer", &f.consumer, "r/R",
         "the rows of consumer r of R", false},
        {MRI_OPT_CHOICE, 0, "tail", &f.tail, "mask|drop|wrap",
         "the end of an epoch", false},
        {MRI_OPT_CHOICE, 0, "order", &f.order, "random|uid",
         "order of the samples", false},
        {MRI_OPT_TEXT, 0, "hash", &b.hash, "[=rows]",
         "print hashes, a line a batch or a line a row", false},
        {MRI_OPT_TEXT, 0, "png", &b.png, "FILE", "draw the first batch", false},
        {MRI_OPT_TEXT, 'o', "output", &b.out, "F.safetensors",
         "write the tensors", false},
        {MRI_OPT_CHOICE, 0, "on-damage", &f.damage, "stop|mask",
         "a record that cannot be read", false},
        {MRI_OPT_U64, 'j', "threads", &f.threads, "N",
         "threads that compute (all CPUs)", false},
        {MRI_OPT_F64, 0, "connect-timeout", &f.connect, "SECONDS",
         "until a server answers (5)", false},
        {MRI_OPT_F64, 0, "patience", &f.patience, "SECONDS",
         "while all servers are silent (60)", false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_cli cli;
    int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    mr_diag diag = {0};
    mr_err err;

    if (rc >= 0) {
        return mri_cli_end(&cli, rc);
    }
    b.cli = &cli;
    err = mri_cli_args(&cli, 1, 1, &diag);
    if (err == MR_OK) {
        err = take_flags(&b, &f, &diag);
    }
    if (err == MR_OK) {
        b.o.source = cli.rest.at[0];
        err = run_with(&b, f.pipeline, &diag);
    }
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
