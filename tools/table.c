/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - rows of cells that stand under one another. */
#include "table.h"

#include <mri/alloc.h>

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

enum { CELL = 256 };

typedef struct column {
    size_t width; /* letters */
    bool text;
} column;

void
mri_table_cell(mri_table *t, const char *format, ...)
{
    char cell[CELL];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(cell, sizeof cell, format, args);
    va_end(args);
    t->starved =
        t->starved || !mri_bytes_add(&t->cells, cell, strlen(cell) + 1);
    t->count++;
}

void
mri_table_end_row(mri_table *t)
{
    t->columns = t->columns == 0 ? t->count : t->columns;
}

/* Letters, not bytes: those that go on in UTF-8 do not count. */
static size_t
letters(const char *cell)
{
    size_t n = 0;

    for (; *cell != '\0'; cell++) {
        n += ((unsigned char)*cell & 0xC0) != 0x80;
    }
    return n;
}

/* "-" stands for a number that is not there, "~" before one that is near. */
static bool
is_number(const char *cell)
{
    cell += strspn(cell, "~-+");
    return *cell == '\0' || isdigit((unsigned char)*cell) ||
           strcmp(cell, "nan") == 0 || strcmp(cell, "inf") == 0;
}

static void
measure(const mri_table *t, column *columns)
{
    const char *cell = (const char *)t->cells.data;

    for (size_t i = 0; i < t->count; i++, cell += strlen(cell) + 1) {
        column *c = &columns[i % t->columns];
        size_t n = letters(cell);

        c->width = n > c->width ? n : c->width;
        c->text = c->text || (i >= t->columns && !is_number(cell));
    }
}

bool
mri_table_print(const mri_table *t, FILE *to)
{
    const char *cell = (const char *)t->cells.data;
    column *columns = mri_alloc(t->columns, sizeof *columns);

    if (t->starved || columns == NULL) {
        mri_free(columns);
        return false;
    }
    measure(t, columns);
    for (size_t i = 0; i < t->count; i++, cell += strlen(cell) + 1) {
        const column *c = &columns[i % t->columns];
        bool last = (i + 1) % t->columns == 0;
        int pad = (int)(c->width - letters(cell));

        (void)fprintf(to, "%*s%s%*s%s", c->text ? 0 : pad, "", cell,
                      c->text && !last ? pad : 0, "", last ? "\n" : "  ");
    }
    mri_free(columns);
    return true;
}

void
mri_table_release(mri_table *t)
{
    mri_bytes_release(&t->cells);
    *t = (mri_table){0};
}
