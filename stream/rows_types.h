/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows_types.h - what is inside mri_rows and its workers.
 */
#ifndef MRI_STREAM_ROWS_TYPES_H
#define MRI_STREAM_ROWS_TYPES_H

#include "exec.h"
#include "load.h"
#include "op.h"
#include "order.h"

#include <mri/rows.h>
#include <mri/selection.h>

#define MRI_AHEAD 64 /* rows that are looked ahead */

/* What stands behind each tensor. */
typedef enum mri_tensor_role {
    MRI_ROLE_IMAGE,  /* of the pipeline */
    MRI_ROLE_GLOBAL, /* views of the first group */
    MRI_ROLE_LOCAL,
    MRI_ROLE_FIELD, /* a field as it is stored */
    MRI_ROLE_LABEL,
    MRI_ROLE_UID,
    MRI_ROLE_VALID
} mri_tensor_role;

struct mri_rows {
    const mr_dataset *ds;
    mri_selection split;
    mr_order order;
    bool piped;        /* with a pipeline */
    uint32_t field;    /* its image field, index in the dataset */
    bool wants_ranges; /* a minmax may use the stored moments */
    mri_pipeline pipeline;
    mri_rows_facts facts;
    mr_stream_tensor tensors[MRI_ROWS_TENSORS];
    mri_tensor_role roles[MRI_ROWS_TENSORS];
    uint32_t fields[MRI_ROWS_TENSORS]; /* FIELD: index in the dataset */
    char *names[MRI_ROWS_TENSORS];     /* names that were made */
    char *open;
    const char **classes;
    char **channels;
    uint32_t channel_count;
};

/* Which samples stand at the next positions. */
typedef struct mri_ahead {
    const mri_rows *rows; /* NULL: nothing is known */
    mri_row_name first;   /* position of ranks[0] */
    uint64_t end;         /* position after the last that will be computed */
    size_t count;
    uint64_t ranks[MRI_AHEAD];
} mri_ahead;

struct mri_rows_worker {
    mri_loader loader;
    mri_exec exec;
    mri_room base, base_places, acts, pool, ranges;
    uint64_t augment_ns;
    mri_order order; /* that was used last */
    mri_ahead ahead;
};

/*
 * The sample at a position. If it was foreseen, those after it are on their
 * way when this returns.
 */
MR_USE_RESULT mr_err mri_rows_rank(const mri_rows *rows, mri_rows_worker *w,
                                   const mri_row_name *name, uint64_t *rank,
                                   mr_diag *diag);

/* Index of field `name` within a sample, and its facts; MR_FINISHED if it has
 * none. */
MR_USE_RESULT mr_err mri_rows_field(const mr_dataset *ds, uint64_t rank,
                                    const mr_sample *s, uint32_t name,
                                    uint32_t *index, mr_field *f,
                                    mr_diag *diag);
/* The tensors of one sample, if they differ from those announced:
 * MRI_E_ROW_SHAPE. */
MR_USE_RESULT mr_err mri_rows_fits(const mri_rows *rows, const mri_form *form,
                                   mr_diag *diag);

#endif
