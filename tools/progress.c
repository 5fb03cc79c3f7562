/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.c - one line on stderr for whatever takes over a second: done,
 * rate, time left, what went wrong. On a terminal it stays in its place; else
 * there is a line every ten seconds.
 */
#include "cli.h"

#include <mri/clock.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define QUIET_FOR 1.0   /* seconds before the first line */
#define SHOW_EVERY 0.1  /* on a terminal */
#define LINE_EVERY 10.0 /* elsewhere */
#define RATE_WINDOW 1.0 /* the rate is measured over so long ... */
#define RATE_KEEP 0.8   /* ... and leans on what it was */

void
mri_progress_init(mri_progress_line *line, const char *verb, bool quiet)
{
    double now = mri_now_s();

    *line = (mri_progress_line){.verb = verb,
                                .began = now,
                                .last_at = now,
                                .last_line = now,
                                .quiet = quiet,
                                .terminal = isatty(2) != 0};
}

static void
update_rate(mri_progress_line *line, uint64_t done, double now)
{
    double passed = now - line->last_at, rate;

    if (passed < RATE_WINDOW && line->rate > 0) {
        return;
    }
    if (done < line->last_done) { /* another piece of work began */
        line->last_done = 0;
    }
    rate = passed > 0 ? (double)(done - line->last_done) / passed : 0;
    line->rate =
        line->rate > 0 ? RATE_KEEP * line->rate + (1 - RATE_KEEP) * rate : rate;
    line->last_done = done;
    line->last_at = now;
}

static void
format_line(const mri_progress_line *line, const mr_progress *now,
            double seconds, char *out, size_t bytes)
{
    size_t n = (size_t)snprintf(out, bytes, "%s: %s", line->verb,
                                mri_text_count(now->done));

    if (now->total != 0) {
        n += (size_t)snprintf(out + n, bytes - n, "/%s %s, %.0f %%",
                              mri_text_count(now->total), now->unit,
                              100.0 * (double)now->done / (double)now->total);
    } else {
        n += (size_t)snprintf(out + n, bytes - n, " %s", now->unit);
    }
    n += (size_t)snprintf(out + n, bytes - n, ", %.*f/s",
                          line->rate < 10 ? 1 : 0, line->rate);
    if (now->bytes != 0 && seconds > 0 && strcmp(now->unit, "bytes") != 0) {
        n += (size_t)snprintf(
            out + n, bytes - n, ", %s/s",
            mri_text_bytes((uint64_t)((double)now->bytes / seconds)));
    }
    if (now->total > now->done && line->rate > 0) {
        n += (size_t)snprintf(
            out + n, bytes - n, ", %s left",
            mri_text_seconds((double)(now->total - now->done) / line->rate));
    }
    if (now->bad != 0) {
        n += (size_t)snprintf(out + n, bytes - n, ", %s bad",
                              mri_text_count(now->bad));
    }
    if (now->note != NULL) {
        (void)snprintf(out + n, bytes - n, ", %s", now->note);
    }
}

void
mri_progress_show(mri_progress_line *line, const mr_progress *now)
{
    double at = mri_now_s();
    char text[256];
    size_t n;

    if (line->quiet || at - line->began < QUIET_FOR) {
        return;
    }
    update_rate(line, now->done, at);
    if (at - (line->terminal ? line->last_shown : line->last_line) <
        (line->terminal ? SHOW_EVERY : LINE_EVERY)) {
        return;
    }
    line->last_shown = line->last_line = at;
    format_line(line, now, at - line->began, text, sizeof text);
    n = strlen(text);
    if (!line->terminal) {
        (void)fprintf(stderr, "%s\n", text);
        return;
    }
    (void)fprintf(stderr, "\r%s%*s", text,
                  line->width > n ? (int)(line->width - n) : 0, "");
    (void)fflush(stderr);
    line->width = n;
    line->shown = true;
}

void
mri_progress_clear(mri_progress_line *line)
{
    if (line->shown) {
        (void)fprintf(stderr, "\r%*s\r", (int)line->width, "");
        (void)fflush(stderr);
        line->shown = false;
        line->width = 0;
    }
}
