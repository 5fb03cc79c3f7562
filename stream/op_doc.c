/* SPDX-License-Identifier: Apache-2.0 */
/* op_doc.c - the table of operations as a page. */
#include "op.h"

#include <mri/alloc.h>
#include <mri/pipeline.h>

#include <string.h>

static const char intro[] =
    "# Operations of a pipeline\n"
    "\n"
    "<!-- Made from stream/op_table.c by mri_operations_doc(); a test compares "
    "them. -->\n"
    "\n"
    "A pipeline is a YAML list. Each operation is named with a map of "
    "parameters; what is\n"
    "left out has its default. It works on the image field of a sample, whose "
    "values are\n"
    "f32: the stored value times slope plus intercept. A stored NaN or "
    "infinity counts as 0.\n"
    "Axes other than z, y, x (channels, time, samples) are one axis of "
    "channels in the order\n"
    "stored. What comes out is `image`, [channels, height, width] or "
    "[channels, depth, height,\n"
    "width], or after `multi_crop` `global` and `local`, [views, channels, "
    "height, width].\n"
    "\n"
    "```yaml\n"
    "- select: {channels: [DAPI, GFP]}\n"
    "- minmax: {per: channel}\n"
    "- multi_crop:\n"
    "    global: {count: 2, size: 224, scale: [0.4, 1.0]}\n"
    "    local: {count: 8, size: 96, scale: [0.05, 0.4]}\n"
    "- flip: {horizontal: 0.5, vertical: 0.5}\n"
    "- blur: {p: {global: [1.0, 0.1], local: 0.5}}\n"
    "- normalize: {from: dataset}\n"
    "```\n"
    "\n"
    "Every result is rounded to f32 after each +, -, * and /, left to right; "
    "sums over\n"
    "neighbours (crops with resampling, blur) go down the column first, then "
    "along the row,\n"
    "term by term from the first; weights are computed in f64 and rounded to "
    "f32. So the bits\n"
    "do not depend on CPU, threads or compiler. Random words: "
    "docs/stream-order.md, section 3.\n"
    "An operation's version changes whenever its bits do.\n";

static bool
put_range(mri_bytes *out, const mri_param *p)
{
    bool bounded = p->kind != MRI_PARAM_CHOICE && p->kind != MRI_PARAM_FLAG &&
                   p->kind != MRI_PARAM_CHANNELS && p->kind != MRI_PARAM_SPLIT;

    if (p->choices != NULL) {
        bool ok = true;

        for (const char *c = p->choices; ok && *c != '\0';) {
            size_t n = strcspn(c, "|");

            ok = mri_bytes_text(out, "%s`%.*s`", c > p->choices ? ", " : "",
                                (int)n, c);
            c += n + (c[n] == '|');
        }
        return ok;
    }
    if (p->kind == MRI_PARAM_FLAG) {
        return mri_bytes_text(out, "`true`, `false`");
    }
    if (!bounded || p->high >= 1e30) {
        return mri_bytes_text(out, bounded ? "any number" : "");
    }
    return mri_bytes_text(out, "%g .. %g", p->low, p->high);
}

static bool
put_param(mri_bytes *out, const mri_param *p)
{
    bool ok = mri_bytes_text(out, "| `%s` | ", p->name);

    if (p->initial == NULL) {
        ok = ok && mri_bytes_text(out, "needed");
    } else {
        ok = ok && mri_bytes_text(out, "`%s`", p->initial);
    }
    ok = ok && mri_bytes_text(out, " | ");
    ok = ok && put_range(out, p);
    return ok && mri_bytes_text(out, " | %s |\n", p->help);
}

static bool
put_op(mri_bytes *out, const mri_op_def *def)
{
    bool ok = mri_bytes_text(out, "\n## %s\n\n%s\n\nVersion %u. ", def->name,
                             def->summary, def->version);

    if (*def->words != '\0') {
        ok = ok && mri_bytes_text(out, "Random words: %s.\n\n", def->words);
    } else {
        ok = ok && mri_bytes_text(out, "Nothing random.\n\n");
    }
    ok = ok && mri_bytes_text(out, "| parameter | default | range | |\n"
                                   "|---|---|---|---|\n");
    for (unsigned i = 0; ok && i < def->count; i++) {
        ok = put_param(out, &def->params[i]);
    }
    return ok;
}

bool
mri_operations_doc(mri_bytes *out)
{
    size_t count;
    const mri_op_def *table = mri_op_table(&count);
    bool ok = mri_bytes_text(out, "%s", intro);

    for (size_t i = 0; ok && i < count; i++) {
        ok = put_op(out, &table[i]);
    }
    return ok;
}

mr_err
mri_pipeline_check(const char *text, size_t bytes, char **canonical,
                   mr_diag *diag)
{
    mri_json j = {0};
    mri_pipeline *p = mri_alloc(1, sizeof *p);
    const char *done;
    mr_err err;

    if (p == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    err = mri_pipeline_parse(p, text, bytes, diag);
    if (err == MR_OK && canonical != NULL) {
        mri_pipeline_json(p, &j);
        done = mri_json_done(&j);
        *canonical = mri_strdup(done);
        if (*canonical == NULL) {
            err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
        }
        mri_json_release(&j);
    }
    mri_pipeline_release(p);
    mri_free(p);
    return err;
}
