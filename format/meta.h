/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta.h - between our structs and the protobuf of format.proto.
 *
 * Unpacking is bounded: protobuf-c takes lengths from the bytes themselves, so
 * the bytes left bound them, and an allocator that counts bounds the sum.
 */
#ifndef MRI_META_H
#define MRI_META_H

#include <format.pb-c.h>

#include <mri/bytes.h>
#include <mri/error.h>
#include <mri/record.h>
#include <mri/shard.h>

/* The allocator for protobuf-c: mri_alloc, at most `left` bytes in all. */
typedef struct mri_pb_alloc {
    ProtobufCAllocator base;
    uint64_t left;
    bool failed; /* the machine had no more: the message may be whole */
} mri_pb_alloc;
void mri_pb_alloc_init(mri_pb_alloc *a, uint64_t message_bytes);
/* Why nothing was unpacked: MR_ENOMEM, or `code` with its text. */
mr_err mri_pb_refuse(const mri_pb_alloc *a, mri_code code, uint64_t at,
                     const char *text, mr_diag *diag);

/* Append a packed message; false: no memory. */
bool mri_pb_pack(mri_bytes *out, const ProtobufCMessage *message);

/* The meta frame of a sample, all but its rows. */
typedef struct mri_meta_rows {
    const uint8_t *grids, *chunks, *moments, *stats, *labels;
    size_t grid_bytes, chunk_bytes, moment_bytes, stat_bytes, label_bytes;
    uint64_t row;
} mri_meta_rows;

/* The parts of Mri__PbMeta that do not depend on the sample's place. */
bool mri_meta_pack_fields(mri_bytes *out, const mri_sample_in *sample);
/* The rest of it: the same message goes on (protobuf concatenates). */
bool mri_meta_pack_rows(mri_bytes *out, const mri_meta_rows *rows);

/* errors  MR_ECORRUPT, MR_ENOMEM */
MR_USE_RESULT mr_err mri_meta_unpack(Mri__PbMeta **out, const uint8_t *p,
                                     size_t bytes, uint64_t at, mr_diag *diag);
void mri_meta_unpacked_free(Mri__PbMeta *m);
mr_err mri_meta_of(mri_meta **out, const Mri__PbMeta *pb, mr_diag *diag);

bool mri_schema_pack(mri_bytes *out, const mri_schema *schema);
MR_USE_RESULT mr_err mri_schema_unpack(Mri__PbSchema **out, const uint8_t *p,
                                       size_t bytes, uint64_t at,
                                       mr_diag *diag);
void mri_schema_unpacked_free(Mri__PbSchema *schema);

#endif
