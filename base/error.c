/* SPDX-License-Identifier: Apache-2.0 */
/* error.c - the table of errors, and how one is raised. */
#include <mri/error.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const mri_error_info table[] = {
#define MRI_ERROR(number, name, err, id, cause, help)                          \
    {number, err, id, cause, help},
#include <mri/errors.def>
#undef MRI_ERROR
};

static const struct {
    mr_err err;
    const char *name;
    int exit_code;
} kinds[] = {
    {MR_OK, "OK", 0},
    {MR_AGAIN, "AGAIN", 1},
    {MR_FINISHED, "FINISHED", 1},
    {MR_EARG, "EARG", 2},
    {MR_ENOMEM, "ENOMEM", 8},
    {MR_EIO, "EIO", 5},
    {MR_EFORMAT, "EFORMAT", 3},
    {MR_EVERSION, "EVERSION", 9},
    {MR_ECORRUPT, "ECORRUPT", 3},
    {MR_ELIMIT, "ELIMIT", 4},
    {MR_ECLOSED, "ECLOSED", 6},
    {MR_EDEVICE, "EDEVICE", 8},
    {MR_EAUTH, "EAUTH", 7},
    {MR_ETIME, "ETIME", 6},
    {MR_EBUSY, "EBUSY", 1},
    {MR_ESTOP, "ESTOP", 75},
};

const char *
mr_err_name(mr_err err)
{
    for (size_t i = 0; i < MRI_COUNT(kinds); i++) {
        if (kinds[i].err == err) {
            return kinds[i].name;
        }
    }
    return "?";
}

int
mr_err_exit(mr_err err)
{
    for (size_t i = 0; i < MRI_COUNT(kinds); i++) {
        if (kinds[i].err == err) {
            return kinds[i].exit_code;
        }
    }
    return 1;
}

const char *
mr_version(void)
{
#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)
    return TEXT(MR_VERSION_MAJOR) "." TEXT(MR_VERSION_MINOR) "." TEXT(
        MR_VERSION_PATCH);
}

const mri_error_info *
mri_error_table(size_t *count)
{
    *count = MRI_COUNT(table);
    return table;
}

const mri_error_info *
mri_error_find(uint16_t number)
{
    for (size_t i = 0; i < MRI_COUNT(table); i++) {
        if (table[i].number == number) {
            return &table[i];
        }
    }
    return NULL;
}

const char *
mr_code_help(uint16_t code)
{
    const mri_error_info *info = mri_error_find(code);

    return info != NULL ? info->help : "";
}

mr_err
mri_fail(mr_diag *diag, mri_code code, uint64_t at, const char *fmt, ...)
{
    const mri_error_info *info = mri_error_find((uint16_t)code);
    mr_err err = info != NULL ? info->err : MR_EARG;
    va_list args;

    if (diag == NULL) {
        return err;
    }
    diag->err = err;
    diag->code = (uint16_t)code;
    diag->at = at;
    va_start(args, fmt);
    (void)vsnprintf(diag->text, sizeof diag->text, fmt, args);
    va_end(args);
    return err;
}

void
mri_diag_in(mr_diag *diag, const char *path)
{
    size_t n;

    if (diag == NULL || diag->path[0] != '\0' || path == NULL) {
        return;
    }
    n = strlen(path);
    if (n < sizeof diag->path) {
        memcpy(diag->path, path, n + 1);
        return;
    }
    /* The end of a long path tells more than its beginning. */
    memcpy(diag->path, "...", 3);
    memcpy(diag->path + 3, path + n + 4 - sizeof diag->path,
           sizeof diag->path - 3);
}

void
mri_diag_clear(mr_diag *diag)
{
    if (diag != NULL) {
        memset(diag, 0, sizeof *diag);
    }
}

int
mri_diag_line(const mr_diag *diag, char *out, size_t bytes)
{
    char at[32] = "";
    int n;

    if (diag->at != MR_NOWHERE) {
        (void)snprintf(at, sizeof at, "@%" PRIu64, diag->at);
    }
    n = diag->path[0] == '\0'
            ? snprintf(out, bytes, "error[E%04u]: %s", diag->code, diag->text)
            : snprintf(out, bytes, "error[E%04u]: %s%s: %s", diag->code,
                       diag->path, at, diag->text);
    /* A name may hold a line feed, or what a terminal takes for a command. */
    for (size_t i = 0; bytes != 0 && out[i] != '\0'; i++) {
        out[i] = (unsigned char)out[i] < 0x20 || out[i] == 0x7F ? '?' : out[i];
    }
    return n;
}
