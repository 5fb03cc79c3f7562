/* SPDX-License-Identifier: Apache-2.0 */
/* tiff_span.c - numbers and names out of descriptions, and stacks of pages. */
#include "tiff_layout.h"

#include "decoder.h"

#include <mri/alloc.h>

#include <string.h>

void
tiff_stack_release(tiff_stack *stack)
{
    for (uint32_t i = 0; stack->channels != NULL && i < stack->channel_count;
         i++) {
        mri_free(stack->channels[i]);
    }
    mri_free(stack->channels);
    mri_free(stack->map);
    *stack = (tiff_stack){0};
}

void
tiff_plan_release(tiff_plan *plan)
{
    for (uint64_t i = 0; i < plan->count; i++) {
        tiff_stack_release(&plan->stacks[i]);
    }
    mri_free(plan->stacks);
    *plan = (tiff_plan){0};
}

bool
tiff_stack_axis(tiff_stack *stack, char letter, uint64_t length)
{
    if (length == 1) {
        return true;
    }
    if (stack->rank == TIFF_PAGE_AXES) {
        return false;
    }
    stack->axes[stack->rank] = letter;
    stack->shape[stack->rank] = length;
    stack->rank++;
    return true;
}

bool
span_u64(span s, uint64_t *out)
{
    uint64_t v = 0;

    if (s.len == 0 || s.len > 18) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
        v = 10 * v + (uint64_t)(s.p[i] - '0');
    }
    *out = v;
    return true;
}

/* Digits from *i on into *v; how many there were. */
static int
digits(span s, size_t *i, double *v)
{
    int n = 0;

    while (*i < s.len && s.p[*i] >= '0' && s.p[*i] <= '9') {
        *v = 10 * *v + (s.p[*i] - '0');
        ++*i;
        n++;
    }
    return n;
}

double
span_f64(span s)
{
    size_t i = 0;
    double v = 0, power = 0;
    bool minus, down;
    int whole, part = 0;

    minus = s.len != 0 && s.p[0] == '-';
    i += minus || (s.len != 0 && s.p[0] == '+');
    whole = digits(s, &i, &v);
    if (i < s.len && s.p[i] == '.') {
        i++;
        part = digits(s, &i, &v);
    }
    if (whole + part == 0) {
        return 0;
    }
    if (i < s.len && (s.p[i] == 'e' || s.p[i] == 'E')) {
        i++;
        down = i < s.len && s.p[i] == '-';
        i += down || (i < s.len && s.p[i] == '+');
        (void)digits(s, &i, &power);
        power = down ? -power : power;
    }
    if (i != s.len) {
        return 0;
    }
    power = power - part;
    power = power > 400 ? 400 : power < -400 ? -400 : power;
    /* One division keeps a decimal fraction as exact as strtod has it. */
    for (double scale = 1; power != 0;) {
        double step = power > 0 ? 1 : -1;
        int n = 0;

        for (scale = 1; power != 0 && n < 22; n++, power -= step) {
            scale *= 10;
        }
        v = step > 0 ? v * scale : v / scale;
    }
    return minus ? -v : v;
}

bool
span_is(span s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

span
span_find(span s, const char *text)
{
    const char *at = s.len != 0 ? memmem(s.p, s.len, text, strlen(text)) : NULL;

    if (at == NULL) {
        return (span){s.p, 0};
    }
    return (span){at, s.len - (size_t)(at - s.p)};
}

double
span_mm(double length, span unit)
{
    static const struct {
        const char *unit;
        double times, over;
    } units[] = {
        {"", 1, 1e3},          {"um", 1, 1e3},       {"\xc2\xb5m", 1, 1e3},
        {"\xce\xbcm", 1, 1e3}, {"\xb5m", 1, 1e3},    {"micron", 1, 1e3},
        {"microns", 1, 1e3},   {"\\u00B5m", 1, 1e3}, {"nm", 1, 1e6},
        {"mm", 1, 1},          {"cm", 10, 1},        {"m", 1e3, 1},
        {"\xc3\x85", 1, 1e7},
    };

    for (size_t i = 0; i < MRI_COUNT(units); i++) {
        if (span_is(unit, units[i].unit)) {
            return length * units[i].times / units[i].over;
        }
    }
    return 0;
}

/* One of XML's five named entities at s; its length, 0 if there is none. */
static size_t
entity(span s, char *out)
{
    static const struct {
        const char *text;
        char c;
    } known[] = {{"&amp;", '&'},
                 {"&lt;", '<'},
                 {"&gt;", '>'},
                 {"&quot;", '"'},
                 {"&apos;", '\''}};

    for (size_t i = 0; i < MRI_COUNT(known); i++) {
        size_t n = strlen(known[i].text);

        if (s.len >= n && memcmp(s.p, known[i].text, n) == 0) {
            *out = known[i].c;
            return n;
        }
    }
    return 0;
}

char *
span_copy(span s)
{
    char *copy = mri_alloc(s.len + 1, 1);
    size_t len = 0;

    if (copy == NULL || !text_is_utf8(s.p, s.len)) {
        return copy;
    }
    for (size_t i = 0; i < s.len;) {
        char c = s.p[i];
        size_t n = entity((span){s.p + i, s.len - i}, &c);

        copy[len++] = c;
        i += n != 0 ? n : 1;
    }
    return copy;
}
