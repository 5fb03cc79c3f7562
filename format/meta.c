/* SPDX-License-Identifier: Apache-2.0 */
/* meta.c - between our structs and protobuf. */
#include "meta.h"

#include "level.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <string.h>

static void *
pb_alloc(void *data, size_t bytes)
{
    mri_pb_alloc *a = data;
    void *p;

    if (bytes > a->left) {
        return NULL;
    }
    p = mri_alloc(bytes, 1);
    a->failed = a->failed || p == NULL;
    a->left -= bytes;
    return p;
}

static void
pb_free(void *data, void *p)
{
    (void)data;
    mri_free(p);
}

void
mri_pb_alloc_init(mri_pb_alloc *a, uint64_t message_bytes)
{
    a->base = (ProtobufCAllocator){pb_alloc, pb_free, a};
    /* An empty submessage of two bytes becomes a struct of some 100. */
    a->left = 65536 + message_bytes * 128;
    a->failed = false;
}

mr_err
mri_pb_refuse(const mri_pb_alloc *a, mri_code code, uint64_t at,
              const char *text, mr_diag *diag)
{
    return a->failed ? mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory")
                     : mri_fail(diag, code, at, "%s", text);
}

bool
mri_pb_pack(mri_bytes *out, const ProtobufCMessage *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);

    if (!mri_bytes_reserve(out, bytes)) {
        return false;
    }
    (void)protobuf_c_message_pack(message, out->data + out->len);
    out->len += bytes;
    return true;
}

/* protobuf-c's structs have plain char * where nothing is written. */
static char *
text(const char *s)
{
    return (char *)(uintptr_t)(s != NULL ? s : "");
}

static ProtobufCBinaryData
binary(const void *p, size_t bytes)
{
    return (ProtobufCBinaryData){bytes, (uint8_t *)(uintptr_t)p};
}

static void
fill_geometry(Mri__PbGeometry *pb, mri_geometry *g, unsigned ndim)
{
    mri__pb_geometry__init(pb);
    pb->slope = g->slope;
    pb->inter = g->inter;
    pb->n_affine = g->has_affine ? 12 : 0;
    pb->affine = g->affine;
    for (unsigned i = 0; i < ndim; i++) {
        pb->n_spacing = g->spacing[i] != 0 ? ndim : pb->n_spacing;
    }
    pb->spacing = g->spacing;
    pb->orientation = g->orientation;
    pb->nifti = binary(g->nifti, g->nifti_bytes);
    pb->n_channels = g->channel_count;
    pb->channels = g->channels;
}

typedef struct field_pb {
    Mri__PbFieldMeta meta;
    Mri__PbGeometry geometry;
    mri_geometry copy; /* shallow: protobuf-c wants it writable */
    Mri__PbSource *sources;
    Mri__PbSource **source_list;
} field_pb;

static bool
fill_field(field_pb *pb, const mri_field_in *field)
{
    mri__pb_field_meta__init(&pb->meta);
    if (field->geometry != NULL) {
        pb->copy = *field->geometry;
    } else {
        mri_geometry_init(&pb->copy);
    }
    fill_geometry(&pb->geometry, &pb->copy, field->ndim);
    pb->meta.geometry = &pb->geometry;
    pb->sources = mri_alloc(field->source_count, sizeof *pb->sources);
    pb->source_list = mri_alloc(field->source_count, sizeof *pb->source_list);
    if (pb->sources == NULL || pb->source_list == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < field->source_count; i++) {
        const mri_provenance *from = &field->sources[i];
        Mri__PbSource *s = &pb->sources[i];

        mri__pb_source__init(s);
        s->name = text(from->name);
        s->sha256 = binary(from->sha256, 32);
        s->bytes = from->bytes;
        s->dropped = text(from->dropped);
        pb->source_list[i] = s;
    }
    pb->meta.n_sources = field->source_count;
    pb->meta.sources = pb->source_list;
    return true;
}

bool
mri_meta_pack_fields(mri_bytes *out, const mri_sample_in *sample)
{
    Mri__PbMeta pb;
    size_t n = sample->field_count;
    field_pb *fields = mri_alloc(n, sizeof *fields);
    Mri__PbFieldMeta **list = mri_alloc(n, sizeof *list);
    bool ok = fields != NULL && list != NULL;

    mri__pb_meta__init(&pb);
    for (size_t i = 0; ok && i < n; i++) {
        ok = fill_field(&fields[i], &sample->fields[i]);
        list[i] = &fields[i].meta;
    }
    if (ok) {
        pb.uid = binary(sample->uid, MR_UID_BYTES);
        pb.key = text(sample->key);
        pb.group = text(sample->group);
        pb.class_name = text(sample->class_name);
        pb.n_fields = n;
        pb.fields = list;
        ok = mri_pb_pack(out, &pb.base);
    }
    for (size_t i = 0; fields != NULL && i < n; i++) {
        mri_free(fields[i].sources);
        mri_free(fields[i].source_list);
    }
    mri_free(fields);
    mri_free(list);
    return ok;
}

bool
mri_meta_pack_rows(mri_bytes *out, const mri_meta_rows *rows)
{
    Mri__PbMeta pb;

    mri__pb_meta__init(&pb);
    pb.grid_rows = binary(rows->grids, rows->grid_bytes);
    pb.chunk_rows = binary(rows->chunks, rows->chunk_bytes);
    pb.moment_rows = binary(rows->moments, rows->moment_bytes);
    pb.stat_rows = binary(rows->stats, rows->stat_bytes);
    pb.label_rows = binary(rows->labels, rows->label_bytes);
    pb.row = rows->row;
    return mri_pb_pack(out, &pb.base);
}

mr_err
mri_meta_unpack(Mri__PbMeta **out, const uint8_t *p, size_t bytes, uint64_t at,
                mr_diag *diag)
{
    mri_pb_alloc a;

    mri_pb_alloc_init(&a, bytes);
    *out = mri__pb_meta__unpack(&a.base, bytes, p);
    if (*out == NULL || (*out)->uid.len != MR_UID_BYTES) {
        mri_meta_unpacked_free(*out);
        *out = NULL;
        return mri_pb_refuse(&a, MRI_E_SHARD_DAMAGED, at,
                             "a meta frame that cannot be read", diag);
    }
    return MR_OK;
}

void
mri_meta_unpacked_free(Mri__PbMeta *m)
{
    mri_pb_alloc a;

    mri_pb_alloc_init(&a, 0);
    if (m != NULL) {
        mri__pb_meta__free_unpacked(m, &a.base);
    }
}

/* mri_meta and all it points to, each list an allocation of its own. */
typedef struct meta_box {
    mri_meta meta;
    char *key, *group, *class_name;
    mri_geometry *geometry;
    mri_provenance **sources;
    uint32_t *source_count;
} meta_box;

void
mri_meta_free(mri_meta *meta)
{
    meta_box *b = (meta_box *)meta;

    if (b == NULL) {
        return;
    }
    for (uint32_t i = 0; i < b->meta.field_count; i++) {
        if (b->geometry != NULL) {
            mri_geometry_release(&b->geometry[i]);
        }
        for (uint32_t k = 0; b->sources != NULL && b->source_count != NULL &&
                             b->sources[i] != NULL && k < b->source_count[i];
             k++) {
            mri_free((void *)(uintptr_t)b->sources[i][k].name);
            mri_free((void *)(uintptr_t)b->sources[i][k].dropped);
        }
        if (b->sources != NULL) {
            mri_free(b->sources[i]);
        }
    }
    mri_free(b->geometry);
    mri_free(b->sources);
    mri_free(b->source_count);
    mri_free(b->key);
    mri_free(b->group);
    mri_free(b->class_name);
    mri_free(b);
}

static mr_err
geometry_of(mri_geometry *g, const Mri__PbGeometry *pb, mr_diag *diag)
{
    mri_geometry shallow;

    mri_geometry_init(&shallow);
    mri_geometry_init(g);
    if (pb == NULL) {
        return MR_OK;
    }
    shallow.slope = pb->slope;
    shallow.inter = pb->inter;
    shallow.has_affine = pb->n_affine == 12;
    if (shallow.has_affine) {
        memcpy(shallow.affine, pb->affine, sizeof shallow.affine);
    }
    for (size_t i = 0; i < pb->n_spacing && i < MR_MAX_RANK; i++) {
        shallow.spacing[i] = pb->spacing[i];
    }
    shallow.orientation = (uint8_t)pb->orientation;
    shallow.nifti = pb->nifti.len != 0 ? pb->nifti.data : NULL;
    shallow.nifti_bytes = (uint32_t)pb->nifti.len;
    shallow.channels = pb->channels;
    shallow.channel_count = (uint32_t)pb->n_channels;
    return mri_geometry_copy(g, &shallow, diag);
}

static bool
sources_of(mri_provenance *to, Mri__PbSource **from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        to[i].name = mri_strdup(from[i]->name);
        to[i].dropped = mri_strdup(from[i]->dropped);
        to[i].bytes = from[i]->bytes;
        if (to[i].name == NULL || to[i].dropped == NULL) {
            return false;
        }
        if (from[i]->sha256.len == 32) {
            memcpy(to[i].sha256, from[i]->sha256.data, 32);
        }
    }
    return true;
}

mr_err
mri_meta_of(mri_meta **out, const Mri__PbMeta *pb, mr_diag *diag)
{
    meta_box *b = mri_alloc(1, sizeof *b);
    size_t n = pb->n_fields;
    mr_err err = MR_OK;
    bool ok;

    *out = NULL;
    if (b == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    b->key = mri_strdup(pb->key);
    b->group = mri_strdup(pb->group);
    b->class_name = mri_strdup(pb->class_name);
    b->geometry = mri_alloc(n, sizeof *b->geometry);
    b->sources = mri_alloc(n, sizeof *b->sources);
    b->source_count = mri_alloc(n, sizeof *b->source_count);
    ok = b->key != NULL && b->group != NULL && b->class_name != NULL &&
         b->geometry != NULL && b->sources != NULL && b->source_count != NULL;
    for (size_t i = 0; ok && err == MR_OK && i < n; i++) {
        const Mri__PbFieldMeta *f = pb->fields[i];

        b->meta.field_count++;
        err = geometry_of(&b->geometry[i], f->geometry, diag);
        b->sources[i] = mri_alloc(f->n_sources, sizeof *b->sources[i]);
        b->source_count[i] = (uint32_t)f->n_sources;
        ok = b->sources[i] != NULL &&
             sources_of(b->sources[i], f->sources, b->source_count[i]);
    }
    if (!ok || err != MR_OK) {
        mri_meta_free(&b->meta);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    b->meta.key = b->key;
    b->meta.group = b->group;
    b->meta.class_name = b->class_name;
    b->meta.geometry = b->geometry;
    b->meta.sources = (const mri_provenance *const *)b->sources;
    b->meta.source_count = b->source_count;
    *out = &b->meta;
    return MR_OK;
}

bool
mri_schema_pack(mri_bytes *out, const mri_schema *schema)
{
    Mri__PbSchema pb;
    size_t n = schema->field_count;
    Mri__PbField *fields = mri_alloc(n, sizeof *fields);
    Mri__PbField **list = mri_alloc(n, sizeof *list);
    char writer[32] = "millrace ";
    bool ok = fields != NULL && list != NULL;

    mri__pb_schema__init(&pb);
    for (size_t i = 0; ok && i < n; i++) {
        mri__pb_field__init(&fields[i]);
        fields[i].name = text(schema->field_names[i]);
        fields[i].kind = schema->field_kinds[i];
        if (schema->field_levels != NULL) {
            mri_level_to_pb(&fields[i], &schema->field_levels[i]);
        }
        list[i] = &fields[i];
    }
    if (ok) {
        strncat(writer, mr_version(), sizeof writer - strlen(writer) - 1);
        pb.n_fields = n;
        pb.fields = list;
        pb.n_classes = schema->class_count;
        pb.classes = (char **)(uintptr_t)schema->classes;
        pb.config = text(schema->config);
        pb.writer = schema->writer != NULL ? text(schema->writer) : writer;
        ok = mri_pb_pack(out, &pb.base);
    }
    mri_free(fields);
    mri_free(list);
    return ok;
}

mr_err
mri_schema_unpack(Mri__PbSchema **out, const uint8_t *p, size_t bytes,
                  uint64_t at, mr_diag *diag)
{
    mri_pb_alloc a;

    mri_pb_alloc_init(&a, bytes);
    *out = mri__pb_schema__unpack(&a.base, bytes, p);
    if (*out != NULL && !mri_levels_hold(*out)) {
        mri_schema_unpacked_free(*out);
        *out = NULL;
    }
    return *out != NULL ? MR_OK
                        : mri_pb_refuse(&a, MRI_E_SHARD_DAMAGED, at,
                                        "a schema that cannot be read", diag);
}

void
mri_schema_unpacked_free(Mri__PbSchema *schema)
{
    mri_pb_alloc a;

    mri_pb_alloc_init(&a, 0);
    if (schema != NULL) {
        mri__pb_schema__free_unpacked(schema, &a.base);
    }
}
