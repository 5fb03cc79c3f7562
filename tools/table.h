/* SPDX-License-Identifier: Apache-2.0 */
/* table.h - rows of cells that stand under one another. */
#ifndef MRI_TABLE_H
#define MRI_TABLE_H

#include <mri/bytes.h>

#include <stdio.h>

/* Begins zeroed. The first row is the head; every row has as many cells. */
typedef struct mri_table {
    mri_bytes cells; /* each with its closing zero, row after row */
    size_t count;
    size_t columns; /* of the first row */
    bool starved;   /* no memory: nothing is printed */
} mri_table;

/* UTF-8 of less than 256 bytes; what is longer is cut. */
MRI_PRINTF(2, 3) void mri_table_cell(mri_table *t, const char *format, ...);
void mri_table_end_row(mri_table *t);
/* Columns of nothing but numbers are flush right, the others flush left.
 * False: no memory. */
bool mri_table_print(const mri_table *t, FILE *to);
void mri_table_release(mri_table *t);

#endif
