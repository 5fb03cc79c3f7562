/* SPDX-License-Identifier: Apache-2.0 */
/* opt_help.c - the same table as --help and as a man page. */
#include <mri/opt.h>

#include <stdio.h>
#include <string.h>

#define COLUMN 28 /* where the help texts begin */

/* "-j, --threads N", without leading blanks. */
static void
left_side(const mri_opt *o, char *out, size_t bytes)
{
    char letter[8] = "";
    bool optional = o->arg != NULL && o->arg[0] == '[';

    if (o->short_name != 0) {
        (void)snprintf(letter, sizeof letter, "-%c, ", o->short_name);
    }
    (void)snprintf(out, bytes, "%s--%s%s%s", letter, o->long_name,
                   o->arg != NULL && !optional ? " " : "",
                   o->arg != NULL ? o->arg : "");
}

static bool
help_option(mri_bytes *out, const mri_opt *o)
{
    char left[96];
    int pad;

    left_side(o, left, sizeof left);
    pad = COLUMN - 2 - (int)strlen(left);
    if (pad < 2) {
        return mri_bytes_text(out, "  %s\n%*s%s\n", left, COLUMN, "", o->help);
    }
    return mri_bytes_text(out, "  %s%*s%s\n", left, pad, "", o->help);
}

bool
mri_opt_help(mri_bytes *out, const mri_cmd_doc *doc, const mri_opt *opts)
{
    bool ok = mri_bytes_text(out, "millrace %s - %s\n\nusage: millrace %s %s\n",
                             doc->name, doc->summary, doc->name, doc->args);

    if (doc->examples != NULL) {
        ok = ok && mri_bytes_text(out, "\nexamples:\n%s", doc->examples);
    }
    ok = ok && mri_bytes_text(out, "\noptions:\n");
    for (const mri_opt *o = opts; o->kind != MRI_OPT_END; o++) {
        ok = ok && help_option(out, o);
    }
    if (doc->details != NULL) {
        ok = ok && mri_bytes_text(out, "\n%s", doc->details);
    }
    return ok;
}

/* roff reads '-' as a hyphen, '\' as an escape and a leading '.' as a
 * request; a text must not be able to say any of these. */
static bool
roff_text(mri_bytes *out, const char *text)
{
    bool ok = true, at_start = true;

    for (const char *p = text; *p != '\0' && ok; p++) {
        if (at_start && (*p == '.' || *p == '\'')) {
            ok = mri_bytes_add(out, "\\&", 2);
        }
        at_start = *p == '\n';
        if (*p == '-') {
            ok = ok && mri_bytes_add(out, "\\-", 2);
        } else if (*p == '\\') {
            ok = ok && mri_bytes_add(out, "\\e", 2);
        } else {
            ok = ok && mri_bytes_add(out, p, 1);
        }
    }
    return ok;
}

static bool
roff_section(mri_bytes *out, const char *title, const char *text)
{
    return mri_bytes_text(out, ".SH %s\n", title) && roff_text(out, text) &&
           (text[0] != '\0' && text[strlen(text) - 1] == '\n'
                ? true
                : mri_bytes_add(out, "\n", 1));
}

/* Words as they are, line breaks kept. */
static bool
roff_verbatim(mri_bytes *out, const char *title, const char *text)
{
    return mri_bytes_text(out, ".SH %s\n.nf\n", title) &&
           roff_text(out, text) && mri_bytes_text(out, ".fi\n");
}

/* "eval knn" has the page millrace-eval-knn(1). */
static bool
roff_name(mri_bytes *out, const char *name, const char *hyphen, bool upper)
{
    bool ok = true;

    for (const char *p = name; *p != '\0' && ok; p++) {
        char c = upper && *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;

        ok = c == ' ' ? mri_bytes_text(out, "%s", hyphen)
                      : mri_bytes_add(out, &c, 1);
    }
    return ok;
}

bool
mri_opt_roff(mri_bytes *out, const mri_cmd_doc *doc, const mri_opt *opts,
             const char *date)
{
    bool ok =
        mri_bytes_text(out, ".TH MILLRACE-") &&
        roff_name(out, doc->name, "-", true) &&
        mri_bytes_text(out, " 1 \"%s\" millrace\n", date) &&
        mri_bytes_text(out, ".SH NAME\nmillrace\\-") &&
        roff_name(out, doc->name, "\\-", false) &&
        mri_bytes_text(out, " \\- ") && roff_text(out, doc->summary) &&
        mri_bytes_text(out, "\n.SH SYNOPSIS\n.B millrace %s\n", doc->name) &&
        roff_text(out, doc->args) && mri_bytes_add(out, "\n", 1);
    if (doc->details != NULL) {
        ok = ok && roff_verbatim(out, "DESCRIPTION", doc->details);
    }
    ok = ok && mri_bytes_text(out, ".SH OPTIONS\n");
    for (const mri_opt *o = opts; o->kind != MRI_OPT_END; o++) {
        char left[96];

        left_side(o, left, sizeof left);
        ok = ok && mri_bytes_text(out, ".TP\n.B ") && roff_text(out, left) &&
             mri_bytes_add(out, "\n", 1) && roff_text(out, o->help) &&
             mri_bytes_add(out, "\n", 1);
    }
    if (doc->examples != NULL) {
        ok = ok && roff_verbatim(out, "EXAMPLES", doc->examples);
    }
    return ok && roff_section(out, "SEE ALSO", "millrace(1)");
}
