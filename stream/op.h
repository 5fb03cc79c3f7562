/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op.h - operations of a pipeline: one table, from which come parsing,
 * defaults, the canonical text and docs/operations.md.
 *
 * An operation is used in two steps. `fit` says what comes out for samples of
 * a form, or why that is impossible; `decide` turns its random draws into an
 * act: what exactly is to be done to one view of one sample (act.h). Acts are
 * carried out by exec.c, and by the reference in reference.c.
 */
#ifndef MRI_STREAM_OP_H
#define MRI_STREAM_OP_H

#include "act.h"

#include <millrace/dataset.h>
#include <mri/conf.h>
#include <mri/json.h>
#include <mri/selection.h>

#define MRI_MAX_OPS 64
#define MRI_MAX_VIEWS 64
#define MRI_MAX_SIDE 65535
#define MRI_MAX_PARAMS 12

typedef enum mri_param_kind {
    MRI_PARAM_NUMBER,   /* at[0]; "1/255" is a number too */
    MRI_PARAM_WHOLE,    /* at[0] */
    MRI_PARAM_FLAG,     /* at[0]: 0 or 1 */
    MRI_PARAM_PAIR,     /* at[0] <= at[1] */
    MRI_PARAM_SIZE2,    /* n or [h, w] */
    MRI_PARAM_SIZE3,    /* n or [d, h, w] */
    MRI_PARAM_CHOICE,   /* choice */
    MRI_PARAM_CHANCE,   /* at[0], or lists by view */
    MRI_PARAM_NUMBERS,  /* list */
    MRI_PARAM_CHANNELS, /* list, or names until they are resolved */
    MRI_PARAM_SPLIT,    /* names[0]; never in what a stream is known by */
} mri_param_kind;

/* A name with a dot stands for a map within the map: "global.size". */
typedef struct mri_param {
    const char *name;
    mri_param_kind kind;
    const char *initial; /* YAML; "~": none, may be left out; NULL: needed */
    double low, high;    /* of each number */
    const char *choices; /* "center|random" */
    const char *help;
} mri_param;

typedef struct mri_value {
    bool given;
    double at[3];
    unsigned choice;
    double *list; /* [count + locals] */
    uint32_t count;
    uint32_t locals; /* CHANCE: entries for local views, after `count` */
    char **names;    /* CHANNELS, SPLIT: [count], or NULL */
} mri_value;

typedef struct mri_op mri_op;

/* What a sample is at some point of the pipeline. */
typedef struct mri_form {
    uint32_t channels;
    uint64_t size[3]; /* z, y, x; z is 1 for a picture */
    bool volume;
    mr_dtype dtype; /* MR_F32, or what the last `to` makes of it */
} mri_form;

typedef mr_err mri_fit_fn(const mri_op *op, mri_form *form, mr_diag *diag);
typedef struct mri_decider mri_decider;
typedef void mri_decide_fn(const mri_op *op, mri_decider *d);

typedef struct mri_op_def {
    const char *name;
    unsigned version;
    const char *summary;
    const char *words; /* which random words it takes, in order; "" if none */
    const mri_param *params;
    unsigned count;
    mri_fit_fn *fit;
    mri_decide_fn *decide;
} mri_op_def;

struct mri_op {
    const mri_op_def *def;
    mri_value v[MRI_MAX_PARAMS];
    uint32_t word;    /* crc32c("name#k") */
    uint32_t globals; /* views of the first group; 0 before multi_crop */
    uint32_t line, column;
};

/* The table, and the places of parameters in it. */
const mri_op_def *mri_op_table(size_t *count);
enum { SELECT_CHANNELS };
enum { MINMAX_PER };
enum { CROP_SIZE, CROP_AT };
enum { RRC_SIZE, RRC_SCALE, RRC_RATIO, RRC_FILTER, RRC_ANTIALIAS };
enum {
    MULTI_GLOBAL_COUNT,
    MULTI_GLOBAL_SIZE,
    MULTI_GLOBAL_SCALE,
    MULTI_LOCAL_COUNT,
    MULTI_LOCAL_SIZE,
    MULTI_LOCAL_SCALE,
    MULTI_RATIO,
    MULTI_FILTER,
    MULTI_ANTIALIAS
};
enum { RESIZE_SIZE, RESIZE_FILTER, RESIZE_ANTIALIAS };
enum { FLIP_HORIZONTAL, FLIP_VERTICAL, FLIP_DEPTH };
enum { BRIGHT_P, BRIGHT_RANGE, BRIGHT_PER, BRIGHT_CLAMP };
enum { BLUR_P, BLUR_KERNEL, BLUR_SIGMA };
enum { SOLAR_P, SOLAR_THRESHOLD };
enum { NORM_MEAN, NORM_STD, NORM_FROM, NORM_SPLIT };
enum { CROP3D_SIZE, CROP3D_AT, CROP3D_PAD };
enum { TO_DTYPE, TO_SCALE };
enum { PER_CHANNEL, PER_SAMPLE };

/* True if the operation is the one of that name. */
bool mri_op_is(const mri_op *op, const char *name);
/* An error at an operation: "line 3, column 3: crop: ...". */
mr_err mri_op_fail(const mri_op *op, mri_code code, mr_diag *diag,
                   const char *fmt, ...) MRI_PRINTF(4, 5);

/* A parsed pipeline. Zeroed memory is an empty one. */
typedef struct mri_pipeline {
    mri_op ops[MRI_MAX_OPS];
    unsigned count;
    int multi; /* place of multi_crop, or -1 */
    uint32_t globals, locals;
} mri_pipeline;

/*
 * YAML (or the canonical JSON) to operations with every default filled in.
 * errors  MR_EARG, MR_EVERSION: line, column, what is wrong, nearest name
 */
MR_USE_RESULT mr_err mri_pipeline_parse(mri_pipeline *p, const char *text,
                                        size_t bytes, mr_diag *diag);
void mri_pipeline_release(mri_pipeline *p);
/* The canonical text, an array of one-key objects. */
void mri_pipeline_json(const mri_pipeline *p, mri_json *j);

/*
 * What depends on the dataset: names of channels become indices, `from:
 * dataset` becomes numbers. `field` is the index of the image field.
 */
MR_USE_RESULT mr_err mri_pipeline_bind(mri_pipeline *p,
                                       const mri_selection *split,
                                       uint32_t field, mr_diag *diag);

/*
 * Names of the channels that come out, by what the split's first sample has;
 * none if it has none. For a pipeline that is bound and fits.
 *
 * owner   *names is the caller's: mri_names_free, also after an error
 */
MR_USE_RESULT mr_err mri_pipeline_channels(const mri_pipeline *p,
                                           const mri_selection *split,
                                           uint32_t field, char ***names,
                                           uint32_t *count, mr_diag *diag);
void mri_names_free(char **names, uint32_t count);

/* The form after operations [first, end), for the first group of views
 * (local false) or the second. */
MR_USE_RESULT mr_err mri_pipeline_fit(const mri_pipeline *p, mri_form *form,
                                      bool local, mr_diag *diag);

#endif
