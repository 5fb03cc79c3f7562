/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opt.h - command-line options as data.
 *
 * One table a command gives parsing, --help, the man page, shell completion
 * and the names that a config file may use.
 */
#ifndef MRI_OPT_H
#define MRI_OPT_H

#include <mri/bytes.h>
#include <mri/door.h>

MRI_BEGIN

typedef enum mri_opt_kind {
    MRI_OPT_END = 0,
    MRI_OPT_FLAG,  /* bool */
    MRI_OPT_U64,   /* uint64_t */
    MRI_OPT_F64,   /* double */
    MRI_OPT_TEXT,  /* const char *, points into argv */
    MRI_OPT_BYTES, /* uint64_t; 64K, 1.5G, 2GiB */
    MRI_OPT_LIST,  /* mri_texts; may be given several times */
    MRI_OPT_CHOICE /* int: index into `arg`, which reads "auto|always|never" */
} mri_opt_kind;

typedef struct mri_texts {
    const char **at;
    size_t count;
} mri_texts;

typedef struct mri_opt {
    mri_opt_kind kind;
    char short_name;       /* 0: none */
    const char *long_name; /* "batch-size" */
    void *value;           /* keeps its default if the option is absent */
    const char *arg;       /* "N"; "[=rows]" makes the value optional (TEXT) */
    const char *help;      /* one line */
    bool seen;             /* set by the parser */
} mri_opt;

typedef struct mri_cmd_doc {
    const char *name;     /* "ingest" */
    const char *args;     /* "SOURCE... -o DATASET" */
    const char *summary;  /* one sentence */
    const char *details;  /* paragraphs for --help and the man page, or NULL */
    const char *examples; /* lines "command\n    what it does\n", or NULL */
    const char *kinds; /* what its first argument may be, parted by blanks, if
                          the verb has kinds; for pages and completion */
} mri_cmd_doc;

/*
 * Parse argv[1..]; options stand anywhere, "--" ends them. What is left is
 * gathered in `rest` (points into argv, release with mri_texts_release).
 *
 * errors  MR_EARG  unknown option (with the nearest known one), missing or
 *                  malformed value, value given to a flag
 */
MR_USE_RESULT mr_err mri_opt_parse(int argc, char **argv, mri_opt *opts,
                                   mri_texts *rest, mr_diag *diag);
/* Set one option by its long name, as a config file does. */
MR_USE_RESULT mr_err mri_opt_set(mri_opt *opts, const char *name,
                                 const char *value, mr_diag *diag);
void mri_opt_release(mri_opt *opts); /* the lists */
void mri_texts_release(mri_texts *t);
bool mri_texts_add(mri_texts *t, const char *text);

/* Usage, options and examples as plain text, or a man page as roff. */
bool mri_opt_help(mri_bytes *out, const mri_cmd_doc *doc, const mri_opt *opts);
bool mri_opt_roff(mri_bytes *out, const mri_cmd_doc *doc, const mri_opt *opts,
                  const char *date);

/* Numbers as users write them. False if anything is left over. */
bool mri_parse_u64(const char *text, uint64_t *out);
bool mri_parse_f64(const char *text, double *out);
bool mri_parse_bytes(const char *text, uint64_t *out);

/* The candidate nearest to `word` (edit distance <= 3 and less than its
 * length), or NULL. */
const char *mri_nearest(const char *word, const char *const *candidates,
                        size_t count);

MRI_END

#endif
