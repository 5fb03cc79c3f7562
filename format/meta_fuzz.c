/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_fuzz.c - any bytes as the meta frame of a sample or as a schema: what
 * is unpacked can be read, and memory stays in proportion.
 */
#include "meta.h"

#include <fuzz_bytes.h>

static void
visit_geometry(const mri_geometry *g)
{
    fuzz_touch(g->nifti, g->nifti_bytes);
    for (uint32_t i = 0; i < g->channel_count; i++) {
        fuzz_touch(g->channels[i], strlen(g->channels[i]));
    }
}

static void
visit_meta(const mri_meta *m)
{
    fuzz_touch(m->key, strlen(m->key));
    fuzz_touch(m->group, strlen(m->group));
    fuzz_touch(m->class_name, strlen(m->class_name));
    for (uint32_t i = 0; i < m->field_count; i++) {
        visit_geometry(&m->geometry[i]);
        for (uint32_t k = 0; k < m->source_count[i]; k++) {
            fuzz_touch(m->sources[i][k].name, strlen(m->sources[i][k].name));
            fuzz_touch(m->sources[i][k].sha256, 32);
        }
    }
}

static void
read_meta(const uint8_t *p, size_t size)
{
    mr_diag diag = {0};
    Mri__PbMeta *pb = NULL;
    mri_meta *meta = NULL;

    if (fuzz_ok(mri_meta_unpack(&pb, p, size, 0, &diag), &diag)) {
        hold(pb->uid.len == MR_UID_BYTES);
        if (fuzz_ok(mri_meta_of(&meta, pb, &diag), &diag)) {
            visit_meta(meta);
        }
    }
    mri_meta_free(meta);
    mri_meta_unpacked_free(pb);
}

static void
read_schema(const uint8_t *p, size_t size)
{
    mr_diag diag = {0};
    Mri__PbSchema *pb = NULL;

    if (fuzz_ok(mri_schema_unpack(&pb, p, size, 0, &diag), &diag)) {
        for (size_t i = 0; i < pb->n_fields; i++) {
            fuzz_touch(pb->fields[i]->name, strlen(pb->fields[i]->name));
        }
        for (size_t i = 0; i < pb->n_classes; i++) {
            fuzz_touch(pb->classes[i], strlen(pb->classes[i]));
        }
    }
    mri_schema_unpacked_free(pb);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *p;

    if (size < 1) {
        return 0;
    }
    p = fuzz_exact(data + 1, size - 1);
    fuzz_begin();
    if ((data[0] & 1) != 0) {
        read_schema(p, size - 1);
    } else {
        read_meta(p, size - 1);
    }
    fuzz_end((128 << 10) + 1024 * size);
    free(p);
    return 0;
}
