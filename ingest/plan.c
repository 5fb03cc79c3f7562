/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - which files become which samples of which shards. */
#include "plan.h"

#include "pattern.h"

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/hash.h>
#include <mri/json.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

const char *
mri_layout_name(mri_layout layout)
{
    static const char *const names[] = {"auto", "flat", "folder", "split"};

    return names[layout];
}

char *
mri_plan_path(const mri_plan *plan, const mri_plan_file *file)
{
    const char *source = plan->options->sources[file->source];
    struct stat st;

    if (stat(source, &st) == 0 && S_ISREG(st.st_mode)) {
        return mri_strdup(source);
    }
    return mri_path_join(source, file->name);
}

/* ---- keys ---- */

/* Length of the UTF-8 sequence at p; 0 if there is none. */
static size_t
utf8(const char *p)
{
    const unsigned char *s = (const unsigned char *)p;
    size_t n = s[0] < 0x80                    ? 1
               : s[0] >= 0xC2 && s[0] <= 0xDF ? 2
               : (s[0] & 0xF0) == 0xE0        ? 3
               : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4
                                              : 0;

    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    if ((n == 3 &&
         ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F))) ||
        (n == 4 &&
         ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F)))) {
        return 0;
    }
    return n;
}

/* What is not UTF-8, control characters, and '%' itself, become %XX. */
static const char *
escaped(mri_arena *a, const char *name)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t extra = 0;
    char *out, *to;

    for (const char *p = name; *p != '\0';) {
        size_t n = utf8(p);
        bool plain = n != 0 && *p != '%' && (unsigned char)*p >= 0x20;

        extra += plain ? 0 : 2;
        p += plain ? n : 1;
    }
    if (extra == 0) {
        return name;
    }
    out = to = mri_arena_take(a, strlen(name) + extra + 1);
    for (const char *p = name; out != NULL && *p != '\0';) {
        size_t n = utf8(p);

        if (n != 0 && *p != '%' && (unsigned char)*p >= 0x20) {
            memcpy(to, p, n);
            to += n;
            p += n;
            continue;
        }
        *to++ = '%';
        *to++ = digits[(unsigned char)*p >> 4];
        *to++ = digits[(unsigned char)*p & 15];
        p++;
    }
    return out;
}

/* The last component of a SOURCE, without a closing '/'. */
static const char *
source_name(mri_arena *a, const char *source)
{
    size_t n = strlen(source);
    char *copy;

    while (n > 1 && source[n - 1] == '/') {
        n--;
    }
    copy = mri_arena_text(a, source, n);
    return copy != NULL ? mri_path_name(copy) : NULL;
}

static const char *
key_of(mri_plan *plan, const char *name, uint32_t source)
{
    const char *key = name;

    if (plan->options->source_count > 1) {
        const char *prefix =
            source_name(&plan->arena, plan->options->sources[source]);

        /* a file's own name is its last component already */
        if (prefix != NULL && strcmp(prefix, name) != 0) {
            key = mri_arena_join(&plan->arena, prefix, name);
        }
    }
    return key != NULL ? escaped(&plan->arena, key) : NULL;
}

/* ---- items from files ---- */

static int
found_by_name(const void *a, const void *b)
{
    const mri_found *x = a, *y = b;

    if (x->source != y->source) {
        return x->source < y->source ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static bool
ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n >= m && strcasecmp(name + n - m, end) == 0;
}

static const mri_found *
find(const mri_found *files, uint64_t count, uint32_t source, const char *name)
{
    const mri_found key = {name, 0, source};

    return bsearch(&key, files, (size_t)count, sizeof *files, found_by_name);
}

/* The other half of x.hdr: x.img or x.img.gz, in the case that x.hdr has. */
static const mri_found *
other_half(mri_plan *plan, const mri_walk *w, const mri_found *f,
           const char *from, const char *to)
{
    static const char *const ends[] = {"", ".gz", ".GZ"};
    const char *name = f->name;
    size_t n = strlen(name), cut;

    n -= ends_with(name, ".gz") ? 3 : 0;
    if (n < 4 || strncasecmp(name + n - 4, from, 4) != 0) {
        return NULL;
    }
    cut = n - 4;
    for (size_t i = 0; i < 2 * MRI_COUNT(ends); i++) {
        char *other = mri_arena_take(&plan->arena, n + 8);
        const mri_found *got;

        if (other == NULL) {
            return NULL;
        }
        memcpy(other, name, cut);
        for (size_t k = 0; k < 4; k++) {
            bool upper = i >= MRI_COUNT(ends) && to[k] != '.';

            other[cut + k] = (char)(upper ? to[k] - 32 : to[k]);
        }
        strcpy(other + cut + 4, ends[i % MRI_COUNT(ends)]);
        got = find(w->files, w->count, f->source, other);
        if (got != NULL) {
            return got;
        }
    }
    return NULL;
}

static mr_err
add_item(mri_plan *plan, uint64_t *room, const mri_found *const *files,
         uint32_t count, const char *key, mr_diag *diag)
{
    mri_plan_item *item;

    if (plan->count == *room) {
        uint64_t more = *room != 0 ? *room * 2 : 1024;
        mri_plan_item *items =
            mri_resize(plan->items, (size_t)more, sizeof *items);

        if (items == NULL) {
            return no_memory(diag);
        }
        plan->items = items;
        *room = more;
    }
    item = &plan->items[plan->count];
    *item = (mri_plan_item){.key = key,
                            .file_count = count,
                            .split = MRI_SPLIT_BY_HASH,
                            .class_index = MR_NO_CLASS,
                            .group = ""};
    item->files = mri_arena_take(&plan->arena, count * sizeof *item->files);
    if (item->files == NULL || key == NULL) {
        return no_memory(diag);
    }
    for (uint32_t i = 0; i < count; i++) {
        item->files[i] =
            (mri_plan_file){files[i]->name, files[i]->bytes, files[i]->source};
        item->bytes += files[i]->bytes;
    }
    plan->count++;
    return MR_OK;
}

static mr_err
one_item_a_file(mri_plan *plan, const mri_walk *w, mr_diag *diag)
{
    uint64_t room = 0;
    mr_err err = MR_OK;

    for (uint64_t i = 0; err == MR_OK && i < w->count; i++) {
        const mri_found *pair[2] = {&w->files[i], NULL};

        if (other_half(plan, w, pair[0], ".img", ".hdr") != NULL) {
            continue; /* the header brings it along */
        }
        pair[1] = other_half(plan, w, pair[0], ".hdr", ".img");
        err = add_item(plan, &room, pair, pair[1] != NULL ? 2 : 1,
                       key_of(plan, pair[0]->name, pair[0]->source), diag);
        if (err == MR_OK) {
            plan->items[plan->count - 1].pair = pair[1] != NULL;
        }
    }
    return err;
}

/* A file of a stack: its name without the channel, and the channel. */
typedef struct layer {
    const mri_found *file;
    const char *stem;
    const char *channel;
} layer;

static int
layer_order(const void *a, const void *b)
{
    const layer *x = a, *y = b;
    int order;

    if (x->file->source != y->file->source) {
        return x->file->source < y->file->source ? -1 : 1;
    }
    order = strcmp(x->stem, y->stem);
    return order != 0 ? order : strcmp(x->channel, y->channel);
}

static bool
cut_layer(mri_plan *plan, const mri_found *f, layer *out)
{
    size_t first, bytes, n = strlen(f->name);
    char *stem;

    *out = (layer){f, f->name, ""};
    if (!mri_pattern_match(plan->options->stack, f->name, &first, &bytes)) {
        plan->unmatched++;
        return true;
    }
    stem = mri_arena_take(&plan->arena, n - bytes + 1);
    out->channel = mri_arena_text(&plan->arena, f->name + first, bytes);
    if (stem == NULL || out->channel == NULL) {
        return false;
    }
    memcpy(stem, f->name, first);
    memcpy(stem + first, f->name + first + bytes, n - first - bytes);
    out->stem = stem;
    return true;
}

/* Files whose names differ in the channel alone become one item. */
static mr_err
one_item_a_stack(mri_plan *plan, const mri_walk *w, mr_diag *diag)
{
    layer *layers = mri_alloc((size_t)w->count, sizeof *layers);
    const mri_found **files = mri_alloc((size_t)w->count, sizeof *files);
    uint64_t room = 0;
    mr_err err = MR_OK;

    if (layers == NULL || files == NULL) {
        err = no_memory(diag);
    }
    for (uint64_t i = 0; err == MR_OK && i < w->count; i++) {
        err =
            cut_layer(plan, &w->files[i], &layers[i]) ? MR_OK : no_memory(diag);
    }
    if (err == MR_OK) {
        qsort(layers, (size_t)w->count, sizeof *layers, layer_order);
    }
    for (uint64_t i = 0, n; err == MR_OK && i < w->count; i += n) {
        const char **channels = NULL;

        for (n = 0; i + n < w->count &&
                    layers[i + n].file->source == layers[i].file->source &&
                    strcmp(layers[i + n].stem, layers[i].stem) == 0;
             n++) {
            files[n] = layers[i + n].file;
        }
        err = add_item(plan, &room, files, (uint32_t)n,
                       key_of(plan, layers[i].stem, layers[i].file->source),
                       diag);
        if (err == MR_OK && layers[i].channel[0] != '\0') {
            channels = mri_arena_take(&plan->arena, n * sizeof *channels);
            err = channels != NULL ? MR_OK : no_memory(diag);
        }
        for (uint64_t k = 0; channels != NULL && k < n; k++) {
            channels[k] = layers[i + k].channel;
        }
        if (err == MR_OK) {
            plan->items[plan->count - 1].channels = channels;
        }
    }
    mri_free(layers);
    mri_free(files);
    return err;
}

/* ---- layout: classes, splits, groups ---- */

/* The n-th folder of a name (from 0), or false. */
static bool
folder_at(const char *name, unsigned n, const char **first, size_t *bytes)
{
    for (;; n--) {
        const char *slash = strchr(name, '/');

        if (slash == NULL) {
            return false;
        }
        if (n == 0) {
            *first = name;
            *bytes = (size_t)(slash - name);
            return true;
        }
        name = slash + 1;
    }
}

static uint32_t
split_named(const char *name, size_t bytes)
{
    static const struct {
        const char *name;
        uint32_t split;
    } known[] = {{"train", 0},  {"training", 0},   {"val", 1},
                 {"valid", 1},  {"validation", 1}, {"test", 2},
                 {"testing", 2}};

    for (size_t i = 0; i < MRI_COUNT(known); i++) {
        if (strlen(known[i].name) == bytes &&
            strncasecmp(known[i].name, name, bytes) == 0) {
            return known[i].split;
        }
    }
    return MRI_SPLIT_BY_HASH;
}

static mri_layout
guess_layout(const mri_plan *plan)
{
    bool splits = true, train = false, other = false, shared = false;
    uint64_t in_folders = 0;
    const char *last = NULL;
    size_t last_bytes = 0;

    for (uint64_t i = 0; i < plan->count; i++) {
        const char *first;
        size_t bytes;
        uint32_t split;

        if (!folder_at(plan->items[i].files[0].name, 0, &first, &bytes)) {
            splits = false;
            continue;
        }
        in_folders++;
        split = split_named(first, bytes);
        splits = splits && split != MRI_SPLIT_BY_HASH;
        train = train || split == 0;
        other = other || split == 1 || split == 2;
        shared = shared || (last != NULL && last_bytes == bytes &&
                            strncmp(last, first, bytes) == 0);
        last = first;
        last_bytes = bytes;
    }
    if (in_folders == 0 && plan->options->source_count < 2) {
        return MRI_LAYOUT_FLAT;
    }
    if (splits && train && other) {
        return MRI_LAYOUT_SPLIT;
    }
    /* A folder of its own for every sample is a patient, not a class. */
    return shared || in_folders == 0 ? MRI_LAYOUT_FOLDER : MRI_LAYOUT_FLAT;
}

static mr_err
set_class(mri_plan *plan, mri_plan_item *item, bool by_source, mr_diag *diag)
{
    const char *first, *name = item->files[0].name;
    size_t bytes;
    unsigned level = plan->layout == MRI_LAYOUT_SPLIT ? 1 : 0;
    char *copy;

    if (plan->layout == MRI_LAYOUT_SPLIT &&
        folder_at(name, 0, &first, &bytes)) {
        item->split = split_named(first, bytes);
    }
    if (by_source) { /* several SOURCES without folders: each is a class */
        first = source_name(&plan->arena,
                            plan->options->sources[item->files[0].source]);
        if (first == NULL) {
            return no_memory(diag);
        }
        bytes = strlen(first);
    } else if (!folder_at(name, level, &first, &bytes)) {
        return MR_OK;
    }
    copy = mri_arena_text(&plan->arena, first, bytes);
    item->class_name = copy != NULL ? escaped(&plan->arena, copy) : NULL;
    return item->class_name != NULL ? MR_OK : no_memory(diag);
}

static mr_err
set_group(mri_plan *plan, mri_plan_item *item, mr_diag *diag)
{
    const char *pattern = plan->options->group;
    const char *name = item->files[0].name;
    size_t first, bytes;
    char *copy;

    if (pattern == NULL) {
        return MR_OK;
    }
    if (!mri_pattern_match(pattern, name, &first, &bytes)) {
        plan->unmatched++;
        return MR_OK;
    }
    copy = mri_arena_text(&plan->arena, name + first, bytes);
    item->group = copy != NULL ? escaped(&plan->arena, copy) : NULL;
    return item->group != NULL ? MR_OK : no_memory(diag);
}

static mr_err
apply_layout(mri_plan *plan, mr_diag *diag)
{
    bool by_source = plan->options->source_count > 1;
    mr_err err = MR_OK;

    plan->layout = plan->options->layout != MRI_LAYOUT_AUTO
                       ? plan->options->layout
                       : guess_layout(plan);
    for (uint64_t i = 0; i < plan->count; i++) {
        by_source =
            by_source && strchr(plan->items[i].files[0].name, '/') == NULL;
    }
    for (uint64_t i = 0; err == MR_OK && i < plan->count; i++) {
        if (plan->layout != MRI_LAYOUT_FLAT) {
            err = set_class(plan, &plan->items[i], by_source, diag);
        }
        if (err == MR_OK) {
            err = set_group(plan, &plan->items[i], diag);
        }
    }
    return err;
}

static int
item_by_key(const void *a, const void *b)
{
    return strcmp(((const mri_plan_item *)a)->key,
                  ((const mri_plan_item *)b)->key);
}

static mr_err
sort_items(mri_plan *plan, mr_diag *diag)
{
    qsort(plan->items, (size_t)plan->count, sizeof *plan->items, item_by_key);
    for (uint64_t i = 1; i < plan->count; i++) {
        if (item_by_key(&plan->items[i - 1], &plan->items[i]) == 0) {
            return mri_fail(diag, MRI_E_KEY_CLASH, MR_NOWHERE,
                            "two inputs would both have the key '%.200s'",
                            plan->items[i].key);
        }
    }
    return MR_OK;
}

static mr_err
check_options(const mri_ingest_options *o, mr_diag *diag)
{
    mr_err err = MR_OK;

    if (o->group != NULL) {
        err = mri_pattern_check(o->group, "group", "group", diag);
    }
    if (err == MR_OK && o->stack != NULL) {
        err = mri_pattern_check(o->stack, "channel", "stack", diag);
    }
    return err;
}

mr_err
mri_plan_make(mri_plan *plan, const mri_ingest_options *options, mr_diag *diag)
{
    mri_walk w = {.arena = &plan->arena, .output = options->output};
    mr_err err = check_options(options, diag);

    *plan = (mri_plan){.options = options};
    for (size_t i = 0; err == MR_OK && i < options->source_count; i++) {
        err = mri_walk_source(&w, options->sources[i], (uint32_t)i, diag);
    }
    plan->ignored = w.ignored;
    if (err == MR_OK && w.count == 0) {
        err = mri_fail(diag, MRI_E_NO_INPUT, MR_NOWHERE,
                       "nothing in it could be an image (%llu other files)",
                       (unsigned long long)w.ignored);
        mri_diag_in(diag, options->sources[0]);
    }
    if (err == MR_OK) {
        qsort(w.files, (size_t)w.count, sizeof *w.files, found_by_name);
        err = options->stack != NULL ? one_item_a_stack(plan, &w, diag)
                                     : one_item_a_file(plan, &w, diag);
    }
    mri_free(w.files);
    if (err == MR_OK) {
        err = apply_layout(plan, diag);
    }
    if (err == MR_OK) {
        err = sort_items(plan, diag);
    }
    for (uint64_t i = 0; err == MR_OK && i < plan->count; i++) {
        plan->bytes += plan->items[i].bytes;
    }
    return err;
}

void
mri_plan_filter(mri_plan *plan, const bool *keep)
{
    uint64_t n = 0;

    plan->bytes = 0;
    for (uint64_t i = 0; i < plan->count; i++) {
        if (keep[i]) {
            plan->bytes += plan->items[i].bytes;
            plan->items[n++] = plan->items[i];
        }
    }
    plan->count = n;
}

/* ---- classes and shards ---- */

static int
text_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static uint32_t
class_at(const mri_plan *plan, const char *name, uint32_t known)
{
    const char **at;

    for (uint32_t i = 0; i < known; i++) {
        if (strcmp(plan->classes[i], name) == 0) {
            return i;
        }
    }
    if (plan->class_count == known) {
        return MR_NO_CLASS;
    }
    at = bsearch(&name, plan->classes + known, plan->class_count - known,
                 sizeof *plan->classes, text_order);
    return at != NULL ? (uint32_t)(at - plan->classes) : MR_NO_CLASS;
}

/* The dataset's classes first, in its order; new ones after them, by name. */
static mr_err
number_classes(mri_plan *plan, const mr_dataset *ds, mr_diag *diag)
{
    uint32_t known = ds != NULL ? mr_dataset_classes(ds) : 0, n = known;
    const char **names = mri_alloc((size_t)plan->count + known, sizeof *names);

    if (names == NULL) {
        return no_memory(diag);
    }
    plan->classes = names;
    for (uint32_t i = 0; i < known; i++) {
        names[i] =
            mri_arena_join(&plan->arena, "", mr_dataset_class_name(ds, i));
        if (names[i] == NULL) {
            return no_memory(diag);
        }
    }
    plan->class_count = known;
    for (uint64_t i = 0; i < plan->count; i++) {
        const char *name = plan->items[i].class_name;

        if (name != NULL && class_at(plan, name, known) == MR_NO_CLASS) {
            names[n++] = name;
        }
    }
    if (n > known) {
        qsort(names + known, n - known, sizeof *names, text_order);
        plan->class_count = known + 1;
    }
    for (uint32_t i = known + 1; i < n; i++) {
        if (strcmp(names[i], names[plan->class_count - 1]) != 0) {
            names[plan->class_count++] = names[i];
        }
    }
    for (uint64_t i = 0; i < plan->count; i++) {
        mri_plan_item *item = &plan->items[i];

        if (item->class_name != NULL) {
            item->class_index = class_at(plan, item->class_name, known);
        }
    }
    return MR_OK;
}

/* Everything that decides what a given file becomes. */
static bool
write_config(mri_plan *plan)
{
    static const char *const pages[] = {"auto", "depth", "channel", "sample"};
    const mri_ingest_options *o = plan->options;
    mri_json j = {0};

    mri_json_object(&j);
    mri_json_put_text(&j, "converter", "millrace-ingest-1");
    mri_json_put_text(&j, "layout", mri_layout_name(plan->layout));
    mri_json_put_text(&j, "group", o->group);
    mri_json_put_text(&j, "stack", o->stack);
    mri_json_put_text(&j, "pages", pages[o->source.pages]);
    mri_json_put_text(&j, "codec", mri_coding_name(o->coding));
    mri_json_put_bool(&j, "keep_text", o->source.keep_text);
    mri_json_put_bool(&j, "lenient", o->source.lenient);
    mri_json_key(&j, "classes");
    mri_json_array(&j);
    for (uint32_t i = 0; i < plan->class_count; i++) {
        mri_json_text(&j, plan->classes[i]);
    }
    mri_json_end(&j);
    mri_json_end(&j);
    plan->config = mri_strdup(mri_json_done(&j));
    mri_json_release(&j);
    return plan->config != NULL;
}

static mr_err
cut_shards(mri_plan *plan, mr_diag *diag)
{
    uint64_t filled = 0;

    plan->shard_first =
        mri_alloc((size_t)plan->count + 1, sizeof *plan->shard_first);
    if (plan->shard_first == NULL) {
        return no_memory(diag);
    }
    for (uint64_t i = 0; i < plan->count; i++) {
        if (i == 0 || filled >= plan->options->shard_bytes) {
            plan->shard_first[plan->shards++] = i;
            filled = 0;
        }
        filled += plan->items[i].bytes;
    }
    plan->shard_first[plan->shards] = plan->count;
    return MR_OK;
}

mr_err
mri_plan_pack(mri_plan *plan, const mr_dataset *dataset, mr_diag *diag)
{
    mr_err err = number_classes(plan, dataset, diag);

    if (err == MR_OK && !write_config(plan)) {
        err = no_memory(diag);
    }
    return err == MR_OK ? cut_shards(plan, diag) : err;
}

bool
mri_plan_tag(const mri_plan *plan, uint32_t shard, uint8_t tag[16])
{
    static const char label[] = "millrace-plan-1";
    mri_sha256 *s = mri_sha256_begin();
    uint8_t digest[32];

    if (s == NULL) {
        return false;
    }
    mri_sha256_add(s, label, sizeof label - 1);
    mri_sha256_u64(s, strlen(plan->config));
    mri_sha256_add(s, plan->config, strlen(plan->config));
    for (uint64_t i = plan->shard_first[shard];
         i < plan->shard_first[shard + 1]; i++) {
        const mri_plan_item *item = &plan->items[i];

        mri_sha256_u64(s, strlen(item->key));
        mri_sha256_add(s, item->key, strlen(item->key));
        mri_sha256_u64(s, item->bytes);
    }
    mri_sha256_end(s, digest);
    mri_sha256_free(s);
    memcpy(tag, digest, 16);
    return true;
}

void
mri_plan_release(mri_plan *plan)
{
    mri_free(plan->items);
    mri_free((void *)plan->classes);
    mri_free(plan->shard_first);
    mri_free(plan->config);
    mri_arena_release(&plan->arena);
    *plan = (mri_plan){0};
}
