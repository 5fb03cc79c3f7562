/* SPDX-License-Identifier: Apache-2.0 */
/* opt.c - command-line options as data: parsing. */
#include <mri/opt.h>

#include <mri/alloc.h>
#include <mri/error.h>

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool
mri_texts_add(mri_texts *t, const char *text)
{
    const char **at = mri_resize((void *)t->at, t->count + 1, sizeof *t->at);

    if (at == NULL) {
        return false;
    }
    at[t->count++] = text;
    t->at = at;
    return true;
}

void
mri_texts_release(mri_texts *t)
{
    mri_free((void *)t->at);
    *t = (mri_texts){0};
}

bool
mri_parse_u64(const char *text, uint64_t *out)
{
    char *end;
    unsigned long long v;

    if (*text < '0' || *text > '9') { /* strtoull takes signs and blanks */
        return false;
    }
    errno = 0;
    v = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0') {
        return false;
    }
    *out = v;
    return true;
}

bool
mri_parse_f64(const char *text, double *out)
{
    /* The decimal sign is a point whatever the user's locale says. */
    locale_t c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    char *end = NULL;
    double v;

    if (c == (locale_t)0) {
        return false;
    }
    v = strtod_l(text, &end, c);
    freelocale(c);
    if (end == text || *end != '\0' || !isfinite(v)) {
        return false;
    }
    *out = v;
    return true;
}

bool
mri_parse_bytes(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    char number[32];
    size_t n = strspn(text, "0123456789.");
    const char *unit = text + n;
    double v, scale = 1;

    if (n == 0 || n >= sizeof number) {
        return false;
    }
    memcpy(number, text, n);
    number[n] = '\0';
    if (*unit != '\0' && *unit != 'B') {
        const char *at =
            strchr(units, *unit >= 'a' ? *unit - 'a' + 'A' : *unit);

        if (at == NULL) {
            return false;
        }
        for (const char *u = units; u <= at; u++) {
            scale *= 1024;
        }
        unit++;
        unit += *unit == 'i';
    }
    unit += *unit == 'B';
    if (*unit != '\0' || !mri_parse_f64(number, &v) || v * scale > 0x1p63) {
        return false;
    }
    *out = (uint64_t)(v * scale);
    return true;
}

/* Levenshtein distance, words of less than 64 bytes. */
static unsigned
distance(const char *a, const char *b)
{
    unsigned row[64];
    size_t n = strlen(a), m = strlen(b);

    if (n >= MRI_COUNT(row) || m >= MRI_COUNT(row)) {
        return 99;
    }
    for (unsigned j = 0; j <= m; j++) {
        row[j] = j;
    }
    for (unsigned i = 1; i <= n; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[m];
}

const char *
mri_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    unsigned least = 4;

    for (size_t i = 0; i < count; i++) {
        unsigned d = distance(word, candidates[i]);

        if (d < least && d < strlen(word)) {
            least = d;
            best = candidates[i];
        }
    }
    return best;
}

/* 0 .. choices - 1, or -1. `list` reads "auto|always|never". */
static int
choice(const char *list, const char *text)
{
    size_t n = strlen(text);
    int i = 0;

    for (const char *p = list; p != NULL; i++) {
        const char *bar = strchr(p, '|');
        size_t len = bar != NULL ? (size_t)(bar - p) : strlen(p);

        if (len == n && strncmp(p, text, n) == 0) {
            return i;
        }
        p = bar != NULL ? bar + 1 : NULL;
    }
    return -1;
}

static mr_err
bad_value(const mri_opt *o, const char *text, const char *expected,
          mr_diag *diag)
{
    return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                    "--%s cannot be '%s': expected %s", o->long_name, text,
                    expected);
}

static mr_err
store(mri_opt *o, const char *text, mr_diag *diag)
{
    int at;

    o->seen = true;
    switch (o->kind) {
    case MRI_OPT_FLAG:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            return bad_value(o, text, "true or false", diag);
        }
        *(bool *)o->value = text[0] == 't';
        return MR_OK;
    case MRI_OPT_U64:
        return mri_parse_u64(text, o->value)
                   ? MR_OK
                   : bad_value(o, text, "a whole number", diag);
    case MRI_OPT_F64:
        return mri_parse_f64(text, o->value)
                   ? MR_OK
                   : bad_value(o, text, "a number", diag);
    case MRI_OPT_BYTES:
        return mri_parse_bytes(text, o->value)
                   ? MR_OK
                   : bad_value(o, text, "bytes, such as 512M or 4G", diag);
    case MRI_OPT_TEXT:
        *(const char **)o->value = text;
        return MR_OK;
    case MRI_OPT_LIST:
        return mri_texts_add(o->value, text)
                   ? MR_OK
                   : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    case MRI_OPT_CHOICE:
        at = choice(o->arg, text);
        if (at < 0) {
            return bad_value(o, text, o->arg, diag);
        }
        *(int *)o->value = at;
        return MR_OK;
    case MRI_OPT_END:
        break;
    }
    return MR_OK;
}

static mri_opt *
by_name(mri_opt *opts, const char *name, size_t len)
{
    for (mri_opt *o = opts; o->kind != MRI_OPT_END; o++) {
        if (strlen(o->long_name) == len &&
            strncmp(o->long_name, name, len) == 0) {
            return o;
        }
    }
    return NULL;
}

static mr_err
unknown(mri_opt *opts, const char *arg, mr_diag *diag)
{
    const char *names[64];
    char word[64];
    size_t n = 0;
    const char *near;

    (void)snprintf(word, sizeof word, "%.*s", (int)strcspn(arg + 2, "="),
                   arg[1] == '-' ? arg + 2 : "");
    for (mri_opt *o = opts; o->kind != MRI_OPT_END && n < MRI_COUNT(names);
         o++) {
        names[n++] = o->long_name;
    }
    near = mri_nearest(word, names, n);
    return mri_fail(diag, MRI_E_OPTION, MR_NOWHERE, "unknown option '%s'%s%s%s",
                    arg, near != NULL ? "; did you mean '--" : "",
                    near != NULL ? near : "", near != NULL ? "'?" : "");
}

static bool
value_is_optional(const mri_opt *o)
{
    return o->arg != NULL && o->arg[0] == '[';
}

/* "--name", "--name=value" or "--name value"; *i moves past a value. */
static mr_err
long_option(int argc, char **argv, int *i, mri_opt *opts, mr_diag *diag)
{
    const char *arg = argv[*i];
    size_t len = strcspn(arg + 2, "=");
    const char *value = arg[2 + len] == '=' ? arg + 3 + len : NULL;
    mri_opt *o = by_name(opts, arg + 2, len);

    if (o == NULL) {
        return unknown(opts, arg, diag);
    }
    if (o->kind == MRI_OPT_FLAG && value == NULL) {
        return store(o, "true", diag);
    }
    if (value == NULL && value_is_optional(o)) {
        return store(o, "", diag);
    }
    if (value == NULL && *i + 1 < argc) {
        value = argv[++*i];
    }
    if (value == NULL) {
        return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                        "--%s needs a value (%s)", o->long_name, o->arg);
    }
    return store(o, value, diag);
}

/* "-q", "-qv", "-j4" or "-j 4" */
static mr_err
short_options(int argc, char **argv, int *i, mri_opt *opts, mr_diag *diag)
{
    const char *arg = argv[*i];

    for (const char *p = arg + 1; *p != '\0'; p++) {
        mri_opt *o = opts;

        while (o->kind != MRI_OPT_END && o->short_name != *p) {
            o++;
        }
        if (o->kind == MRI_OPT_END) {
            bool alone = arg[2] == '\0';

            return mri_fail(
                diag, MRI_E_OPTION, MR_NOWHERE, "unknown option '-%c'%s%s%s",
                *p, alone ? "" : " in '", alone ? "" : arg, alone ? "" : "'");
        }
        if (o->kind == MRI_OPT_FLAG || value_is_optional(o)) {
            mr_err err = store(o, o->kind == MRI_OPT_FLAG ? "true" : "", diag);

            if (err != MR_OK) {
                return err;
            }
            continue;
        }
        if (p[1] != '\0') {
            return store(o, p + 1, diag);
        }
        if (*i + 1 >= argc) {
            return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                            "-%c needs a value (%s)", *p, o->arg);
        }
        return store(o, argv[++*i], diag);
    }
    return MR_OK;
}

mr_err
mri_opt_parse(int argc, char **argv, mri_opt *opts, mri_texts *rest,
              mr_diag *diag)
{
    bool options = true;

    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        mr_err err = MR_OK;

        if (options && strcmp(arg, "--") == 0) {
            options = false;
        } else if (options && arg[0] == '-' && arg[1] == '-') {
            err = long_option(argc, argv, &i, opts, diag);
        } else if (options && arg[0] == '-' && arg[1] != '\0') {
            err = short_options(argc, argv, &i, opts, diag);
        } else if (!mri_texts_add(rest, arg)) {
            err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
        }
        if (err != MR_OK) {
            return err;
        }
    }
    return MR_OK;
}

mr_err
mri_opt_set(mri_opt *opts, const char *name, const char *value, mr_diag *diag)
{
    mri_opt *o = by_name(opts, name, strlen(name));

    if (o == NULL) {
        char arg[80];

        (void)snprintf(arg, sizeof arg, "--%s", name);
        return unknown(opts, arg, diag);
    }
    return store(o, value, diag);
}

void
mri_opt_release(mri_opt *opts)
{
    for (mri_opt *o = opts; o->kind != MRI_OPT_END; o++) {
        if (o->kind == MRI_OPT_LIST) {
            mri_texts_release(o->value);
        }
    }
}
