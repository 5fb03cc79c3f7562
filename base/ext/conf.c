/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf.c - YAML events to a small tree.
 *
 * libyaml scans; what may stand in a config is decided here: core tags, unique
 * keys, bounded depth and size. Aliases are copied, and the copies count.
 */
#include <mri/conf.h>

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define MAX_BYTES (16u << 20)
#define MAX_DEPTH 64
#define MAX_NODES 100000

typedef struct anchor {
    char *name;
    mri_conf *node; /* a copy of its own: vectors move as they grow */
} anchor;

typedef struct reader {
    yaml_parser_t yaml;
    mr_diag *diag;
    size_t nodes;
    anchor *anchors;
    size_t anchor_count;
} reader;

static void
release(mri_conf *c)
{
    for (size_t i = 0; i < c->count; i++) {
        release(&c->items[i]);
        if (c->keys != NULL) {
            mri_free((void *)(uintptr_t)c->keys[i]);
        }
    }
    mri_free(c->items);
    mri_free((void *)c->keys);
    mri_free((void *)(uintptr_t)c->text);
    *c = (mri_conf){0};
}

void
mri_conf_free(mri_conf *root)
{
    if (root != NULL) {
        release(root);
        mri_free(root);
    }
}

static mr_err
fail_at(reader *r, const yaml_mark_t *at, const char *what, const char *detail)
{
    return mri_fail(r->diag, MRI_E_CONFIG, at->index,
                    "line %zu, column %zu: %s%s", at->line + 1, at->column + 1,
                    what, detail);
}

static mr_err
no_memory(reader *r)
{
    return mri_fail(r->diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
next(reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->yaml, event) == 1) {
        return MR_OK;
    }
    if (r->yaml.error == YAML_MEMORY_ERROR) {
        return no_memory(r);
    }
    if (r->yaml.error == YAML_READER_ERROR) {
        return mri_fail(r->diag, MRI_E_CONFIG, r->yaml.problem_offset, "%s",
                        r->yaml.problem);
    }
    return fail_at(r, &r->yaml.problem_mark,
                   r->yaml.problem != NULL ? r->yaml.problem : "not YAML", "");
}

static bool
tag_is(const yaml_char_t *tag, const char *name)
{
    return tag != NULL && strcmp((const char *)tag, name) == 0;
}

/* Only what YAML itself means by a scalar, list or map; a Python tuple is a
 * list. Anything else asks for a program to be run, or for a type we lack. */
static bool
tag_allowed(const yaml_char_t *tag)
{
    static const char *const core[] = {
        "!",
        "tag:yaml.org,2002:str",
        "tag:yaml.org,2002:int",
        "tag:yaml.org,2002:float",
        "tag:yaml.org,2002:bool",
        "tag:yaml.org,2002:null",
        "tag:yaml.org,2002:seq",
        "tag:yaml.org,2002:map",
        "tag:yaml.org,2002:python/tuple",
    };

    for (size_t i = 0; tag != NULL && i < MRI_COUNT(core); i++) {
        if (tag_is(tag, core[i])) {
            return true;
        }
    }
    return tag == NULL;
}

/* Deep copy, counted: this is where an alias bomb ends. */
static mr_err
copy(reader *r, mri_conf *to, const mri_conf *from, const yaml_mark_t *at)
{
    *to = (mri_conf){.kind = from->kind,
                     .quoted = from->quoted,
                     .line = from->line,
                     .column = from->column};
    if (++r->nodes > MAX_NODES) {
        return fail_at(r, at, "aliases expand to too many nodes", "");
    }
    if (from->text != NULL && (to->text = mri_strdup(from->text)) == NULL) {
        return no_memory(r);
    }
    if (from->count == 0) {
        return MR_OK;
    }
    to->items = mri_alloc(from->count, sizeof *to->items);
    to->keys =
        from->keys != NULL ? mri_alloc(from->count, sizeof *to->keys) : NULL;
    if (to->items == NULL || (from->keys != NULL && to->keys == NULL)) {
        return no_memory(r);
    }
    for (size_t i = 0; i < from->count; i++) {
        mr_err err;

        to->count = i + 1;
        if (from->keys != NULL &&
            (to->keys[i] = mri_strdup(from->keys[i])) == NULL) {
            return no_memory(r);
        }
        err = copy(r, &to->items[i], &from->items[i], at);
        if (err != MR_OK) {
            return err;
        }
    }
    return MR_OK;
}

static mr_err
remember(reader *r, const yaml_char_t *name, const mri_conf *node,
         const yaml_mark_t *at)
{
    anchor *grown, *a;

    if (name == NULL) {
        return MR_OK;
    }
    grown = mri_resize(r->anchors, r->anchor_count + 1, sizeof *grown);
    if (grown == NULL) {
        return no_memory(r);
    }
    r->anchors = grown;
    a = &grown[r->anchor_count++];
    a->name = mri_strdup((const char *)name);
    a->node = mri_alloc(1, sizeof *a->node);
    if (a->name == NULL || a->node == NULL) {
        return no_memory(r);
    }
    return copy(r, a->node, node, at);
}

static mr_err
recall(reader *r, const yaml_event_t *event, mri_conf *out)
{
    const char *name = (const char *)event->data.alias.anchor;

    for (size_t i = r->anchor_count; i-- > 0;) { /* the latest of a name */
        if (strcmp(r->anchors[i].name, name) == 0) {
            return copy(r, out, r->anchors[i].node, &event->start_mark);
        }
    }
    return fail_at(r, &event->start_mark, "no such anchor: ", name);
}

static mr_err
read_scalar(reader *r, const yaml_event_t *event, mri_conf *out)
{
    const char *text = (const char *)event->data.scalar.value;
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

    if (strlen(text) != event->data.scalar.length) {
        return fail_at(r, &event->start_mark, "a zero byte in a text", "");
    }
    out->quoted = !plain;
    if (plain && (*text == '\0' || strcmp(text, "~") == 0 ||
                  strcmp(text, "null") == 0)) {
        out->kind = MRI_CONF_NULL;
        return MR_OK;
    }
    out->kind = MRI_CONF_TEXT;
    out->text = mri_strdup(text);
    return out->text != NULL ? MR_OK : no_memory(r);
}

/* Room for one more item, and the key that goes with it. */
static mr_err
grow(reader *r, mri_conf *c, char *key)
{
    mri_conf *items = mri_resize(c->items, c->count + 1, sizeof *items);

    if (items == NULL) {
        return no_memory(r);
    }
    c->items = items;
    if (key != NULL) {
        const char **keys =
            mri_resize((void *)c->keys, c->count + 1, sizeof *keys);

        if (keys == NULL) {
            return no_memory(r);
        }
        c->keys = keys;
        keys[c->count] = key;
    }
    items[c->count++] = (mri_conf){0};
    return MR_OK;
}

static mr_err read_node(reader *r, const yaml_event_t *event, mri_conf *out,
                        unsigned depth);

static mr_err
read_list(reader *r, mri_conf *out, unsigned depth)
{
    out->kind = MRI_CONF_LIST;
    for (;;) {
        yaml_event_t event;
        mr_err err = next(r, &event);
        bool end;

        if (err != MR_OK) {
            return err;
        }
        end = event.type == YAML_SEQUENCE_END_EVENT;
        if (!end) {
            err = grow(r, out, NULL);
        }
        if (!end && err == MR_OK) {
            err = read_node(r, &event, &out->items[out->count - 1], depth + 1);
        }
        yaml_event_delete(&event);
        if (end || err != MR_OK) {
            return err;
        }
    }
}

/* Takes the event of a key; a fresh copy of its text comes out. */
static mr_err
read_key(reader *r, const mri_conf *map, const yaml_event_t *event, char **key)
{
    const char *text;

    if (event->type != YAML_SCALAR_EVENT) {
        return fail_at(r, &event->start_mark, "a key must be a plain text", "");
    }
    text = (const char *)event->data.scalar.value;
    if (mri_conf_get(map, text) != NULL) {
        return fail_at(r, &event->start_mark, "key given twice: ", text);
    }
    *key = mri_strdup(text);
    return *key != NULL ? MR_OK : no_memory(r);
}

static mr_err
read_pair(reader *r, const yaml_event_t *key_event, mri_conf *out,
          unsigned depth)
{
    yaml_event_t event;
    char *key = NULL;
    mr_err err = read_key(r, out, key_event, &key);

    if (err != MR_OK) {
        return err;
    }
    err = grow(r, out, key);
    if (err != MR_OK) {
        mri_free(key);
        return err;
    }
    err = next(r, &event);
    if (err != MR_OK) {
        return err;
    }
    err = read_node(r, &event, &out->items[out->count - 1], depth + 1);
    yaml_event_delete(&event);
    return err;
}

static mr_err
read_map(reader *r, mri_conf *out, unsigned depth)
{
    out->kind = MRI_CONF_MAP;
    for (;;) {
        yaml_event_t event;
        mr_err err = next(r, &event);
        bool end;

        if (err != MR_OK) {
            return err;
        }
        end = event.type == YAML_MAPPING_END_EVENT;
        if (!end) {
            err = read_pair(r, &event, out, depth);
        }
        yaml_event_delete(&event);
        if (end || err != MR_OK) {
            return err;
        }
    }
}

static mr_err
read_node(reader *r, const yaml_event_t *event, mri_conf *out, unsigned depth)
{
    const yaml_char_t *tag = NULL, *name = NULL;
    mr_err err;

    if (event->type == YAML_ALIAS_EVENT) {
        return recall(r, event, out);
    }
    if (event->type == YAML_SCALAR_EVENT) {
        tag = event->data.scalar.tag;
        name = event->data.scalar.anchor;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        tag = event->data.sequence_start.tag;
        name = event->data.sequence_start.anchor;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        tag = event->data.mapping_start.tag;
        name = event->data.mapping_start.anchor;
    } else {
        return fail_at(r, &event->start_mark, "a value is missing", "");
    }
    if (!tag_allowed(tag)) {
        return fail_at(r, &event->start_mark,
                       "tag not allowed in a config: ", (const char *)tag);
    }
    if (depth > MAX_DEPTH) {
        return fail_at(r, &event->start_mark, "nested too deeply", "");
    }
    if (++r->nodes > MAX_NODES) {
        return fail_at(r, &event->start_mark, "too many nodes", "");
    }
    out->line = (uint32_t)event->start_mark.line + 1;
    out->column = (uint32_t)event->start_mark.column + 1;
    err = event->type == YAML_SCALAR_EVENT ? read_scalar(r, event, out)
          : event->type == YAML_SEQUENCE_START_EVENT ? read_list(r, out, depth)
                                                     : read_map(r, out, depth);
    return err != MR_OK ? err : remember(r, name, out, &event->start_mark);
}

/* Stream start, at most one document, stream end. */
static mr_err
read_stream(reader *r, mri_conf *root)
{
    bool seen = false;

    for (;;) {
        yaml_event_t event;
        mr_err err = next(r, &event);
        yaml_event_type_t type;

        if (err != MR_OK) {
            return err;
        }
        type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT && seen) {
            err = fail_at(r, &event.start_mark, "a second document", "");
        } else if (type == YAML_DOCUMENT_START_EVENT) {
            seen = true;
        } else if (type != YAML_STREAM_START_EVENT &&
                   type != YAML_DOCUMENT_END_EVENT &&
                   type != YAML_STREAM_END_EVENT) {
            err = read_node(r, &event, root, 0);
        }
        yaml_event_delete(&event);
        if (err != MR_OK || type == YAML_STREAM_END_EVENT) {
            return err;
        }
    }
}

mr_err
mri_conf_parse(mri_conf **out, const char *text, size_t bytes, mr_diag *diag)
{
    reader r = {.diag = diag};
    mri_conf *root;
    mr_err err;

    *out = NULL;
    if (bytes > MAX_BYTES) {
        return mri_fail(diag, MRI_E_CONFIG, MR_NOWHERE,
                        "%zu bytes are too many for a config", bytes);
    }
    root = mri_alloc(1, sizeof *root);
    if (root == NULL || yaml_parser_initialize(&r.yaml) != 1) {
        mri_free(root);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    yaml_parser_set_input_string(&r.yaml, (const unsigned char *)text, bytes);
    err = read_stream(&r, root);
    yaml_parser_delete(&r.yaml);
    for (size_t i = 0; i < r.anchor_count; i++) {
        mri_free(r.anchors[i].name);
        mri_conf_free(r.anchors[i].node);
    }
    mri_free(r.anchors);
    if (err != MR_OK) {
        mri_conf_free(root);
        return err;
    }
    *out = root;
    return MR_OK;
}

mr_err
mri_conf_load(mri_conf **root, const char *path, mr_diag *diag)
{
    mri_bytes b = {0};
    mr_err err = mri_file_load(path, MAX_BYTES, &b, diag);

    *root = NULL;
    if (err == MR_OK) {
        err = mri_conf_parse(root, (const char *)b.data, b.len, diag);
        mri_diag_in(err != MR_OK ? diag : NULL, path);
    }
    mri_bytes_release(&b);
    return err;
}
