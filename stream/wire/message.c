/* SPDX-License-Identifier: Apache-2.0 */
/* message.c - headers and descriptors of the wire. */
#include <mri/wire.h>

#include <mri/alloc.h>
#include <mri/crc32c.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <string.h>
#include <wire.pb-c.h>

#define MAGIC 0x3157524Du /* "MRW1" */

static uint32_t
sum_of(const uint8_t *header, const uint8_t *descriptor, size_t bytes)
{
    uint8_t copy[MRI_WIRE_HEADER];

    memcpy(copy, header, sizeof copy);
    memset(copy + 12, 0, 4);
    return mri_crc32c(mri_crc32c(0, copy, sizeof copy), descriptor, bytes);
}

void
mri_wire_put(uint8_t to[MRI_WIRE_HEADER], const mri_message *m)
{
    const mri_wire *h = &m->head;

    memset(to, 0, MRI_WIRE_HEADER);
    mri_put32(to, MAGIC);
    mri_put16(to + 4, h->version);
    mri_put16(to + 6, h->type);
    mri_put32(to + 8, h->flags);
    mri_put64(to + 16, h->stream);
    mri_put64(to + 24, h->request);
    mri_put32(to + 32, h->row_first);
    mri_put32(to + 36, h->row_count);
    mri_put64(to + 40, h->offset);
    mri_put64(to + 48, h->total);
    if (m->payload != NULL) {
        mri_put64(to + 56, mri_xxh3(m->payload, m->payload_bytes));
    }
    mri_put32(to + 12, sum_of(to, m->descriptor, m->descriptor_bytes));
}

static mr_err
damaged(mr_diag *diag, uint64_t at, const char *what)
{
    return mri_fail(diag, MRI_E_WIRE, at, "%s", what);
}

mr_err
mri_wire_get(mri_message *m, const uint8_t *header, size_t header_bytes,
             const uint8_t *descriptor, size_t descriptor_bytes,
             const uint8_t *payload, size_t payload_bytes, mr_diag *diag)
{
    mri_wire *h = &m->head;

    *m = (mri_message){.descriptor = descriptor,
                       .descriptor_bytes = descriptor_bytes,
                       .payload = payload,
                       .payload_bytes = payload_bytes};
    if (header_bytes != MRI_WIRE_HEADER || mri_get32(header) != MAGIC) {
        return mri_fail(diag, MRI_E_WIRE_FOREIGN, 0,
                        "a message that is not of this protocol");
    }
    if (descriptor_bytes > MRI_WIRE_DESCRIPTOR ||
        payload_bytes > MRI_WIRE_PAYLOAD) {
        return damaged(diag, 0, "a message over the size that is allowed");
    }
    if (mri_get32(header + 12) !=
        sum_of(header, descriptor, descriptor_bytes)) {
        return damaged(diag, 12, "a header fails its checksum");
    }
    h->version = mri_get16(header + 4);
    h->type = mri_get16(header + 6);
    h->flags = mri_get32(header + 8);
    h->stream = mri_get64(header + 16);
    h->request = mri_get64(header + 24);
    h->row_first = mri_get32(header + 32);
    h->row_count = mri_get32(header + 36);
    h->offset = mri_get64(header + 40);
    h->total = mri_get64(header + 48);
    if (payload != NULL &&
        mri_get64(header + 56) != mri_xxh3(payload, payload_bytes)) {
        return damaged(diag, 56, "a payload fails its checksum");
    }
    if (h->version < MRI_WIRE_LOW || h->version > MRI_WIRE_HIGH) {
        return mri_fail(diag, MRI_E_WIRE_VERSION, 4,
                        "protocol version %u; this millrace speaks %d to %d",
                        h->version, MRI_WIRE_LOW, MRI_WIRE_HIGH);
    }
    return MR_OK;
}

/* ---- descriptors ---- */

struct mri_wire_box {
    ProtobufCMessage *message;
    void *extra; /* a list that our struct points to */
};

typedef struct counted {
    ProtobufCAllocator base;
    uint64_t left;
    bool failed; /* for want of memory, not because of the message */
} counted;

static void *
take(void *data, size_t bytes)
{
    counted *c = data;
    void *p;

    if (bytes > c->left) {
        return NULL;
    }
    p = mri_alloc(bytes, 1);
    c->failed = c->failed || p == NULL;
    c->left -= bytes;
    return p;
}

static void
give_back(void *data, void *p)
{
    (void)data;
    mri_free(p);
}

/* The descriptor is small, and so is what it may become. */
static counted
allocator(void)
{
    return (counted){{take, give_back, NULL}, (uint64_t)16 << 20, false};
}

void
mri_wire_box_free(mri_wire_box *box)
{
    counted c = allocator();

    c.base.allocator_data = &c;
    if (box != NULL) {
        protobuf_c_message_free_unpacked(box->message, &c.base);
        mri_free(box->extra);
        mri_free(box);
    }
}

static mr_err
open_box(mri_wire_box **box, const ProtobufCMessageDescriptor *kind,
         const mri_message *m, mr_diag *diag)
{
    counted c = allocator();

    c.base.allocator_data = &c;
    *box = mri_alloc(1, sizeof **box);
    if (*box == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    (*box)->message = protobuf_c_message_unpack(
        kind, &c.base, m->descriptor_bytes, m->descriptor);
    if ((*box)->message == NULL) {
        mri_free(*box);
        *box = NULL;
        return c.failed ? mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory")
                        : damaged(diag, MRI_WIRE_HEADER,
                                  "a descriptor that cannot be read");
    }
    return MR_OK;
}

/* Nonsense in a box: empty it and say so. */
static mr_err
refuse_box(mri_wire_box **box, const char *what, mr_diag *diag)
{
    mri_wire_box_free(*box);
    *box = NULL;
    return damaged(diag, MRI_WIRE_HEADER, what);
}

static bool
pack(mri_bytes *out, const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);

    if (!mri_bytes_reserve(out, n)) {
        return false;
    }
    (void)protobuf_c_message_pack(m, out->data + out->len);
    out->len += n;
    return true;
}

static char *
text(const char *s)
{
    return (char *)(uintptr_t)(s != NULL ? s : "");
}

static ProtobufCBinaryData
id16(const uint8_t *id)
{
    return (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)id};
}

/* False unless it has 16 bytes. */
static bool
take_id(uint8_t out[16], const ProtobufCBinaryData *b)
{
    if (b->len != 16) {
        return false;
    }
    memcpy(out, b->data, 16);
    return true;
}

bool
mri_wire_put_hello(mri_bytes *out, const mri_wire_hello *d)
{
    Mri__WpHello pb;

    mri__wp_hello__init(&pb);
    pb.version_low = d->version_low;
    pb.version_high = d->version_high;
    pb.build = text(d->build);
    pb.fingerprint = id16(d->fingerprint);
    return pack(out, &pb.base);
}

mr_err
mri_wire_get_hello(mri_wire_hello *d, mri_wire_box **box, const mri_message *m,
                   mr_diag *diag)
{
    mr_err err = open_box(box, &mri__wp_hello__descriptor, m, diag);
    const Mri__WpHello *pb;

    if (err != MR_OK) {
        return err;
    }
    pb = (const Mri__WpHello *)(*box)->message;
    d->version_low = pb->version_low;
    d->version_high = pb->version_high;
    d->build = pb->build;
    return take_id(d->fingerprint, &pb->fingerprint)
               ? MR_OK
               : refuse_box(box, "a HELLO without a fingerprint", diag);
}

bool
mri_wire_put_welcome(mri_bytes *out, const mri_wire_welcome *d)
{
    Mri__WpWelcome pb;
    Mri__WpDataset *sets = mri_alloc(d->dataset_count, sizeof *sets);
    Mri__WpDataset **list = mri_alloc(d->dataset_count, sizeof *list);
    bool ok = sets != NULL && list != NULL;

    mri__wp_welcome__init(&pb);
    for (uint32_t i = 0; ok && i < d->dataset_count; i++) {
        mri__wp_dataset__init(&sets[i]);
        sets[i].name = text(d->datasets[i].name);
        sets[i].dataset_id = id16(d->datasets[i].dataset_id);
        sets[i].content_id = id16(d->datasets[i].content_id);
        sets[i].generation = d->datasets[i].generation;
        sets[i].samples = d->datasets[i].samples;
        list[i] = &sets[i];
    }
    if (ok) {
        pb.version = d->version;
        pb.build = text(d->build);
        pb.fingerprint = id16(d->fingerprint);
        pb.limit_bytes = d->limit_bytes;
        pb.n_datasets = d->dataset_count;
        pb.datasets = list;
        ok = pack(out, &pb.base);
    }
    mri_free(sets);
    mri_free(list);
    return ok;
}

mr_err
mri_wire_get_welcome(mri_wire_welcome *d, mri_wire_box **box,
                     const mri_message *m, mr_diag *diag)
{
    mr_err err = open_box(box, &mri__wp_welcome__descriptor, m, diag);
    const Mri__WpWelcome *pb;
    mri_wire_dataset *sets;

    if (err != MR_OK) {
        return err;
    }
    pb = (const Mri__WpWelcome *)(*box)->message;
    sets = mri_alloc(pb->n_datasets, sizeof *sets);
    if (sets == NULL) {
        return refuse_box(box, "no memory", diag);
    }
    (*box)->extra = sets;
    for (size_t i = 0; i < pb->n_datasets; i++) {
        const Mri__WpDataset *from = pb->datasets[i];

        sets[i].name = from->name;
        sets[i].generation = from->generation;
        sets[i].samples = from->samples;
        if (!take_id(sets[i].dataset_id, &from->dataset_id) ||
            !take_id(sets[i].content_id, &from->content_id)) {
            return refuse_box(box, "a WELCOME with ids of another length",
                              diag);
        }
    }
    d->version = pb->version;
    d->build = pb->build;
    d->limit_bytes = pb->limit_bytes;
    d->datasets = sets;
    d->dataset_count = (uint32_t)pb->n_datasets;
    return take_id(d->fingerprint, &pb->fingerprint)
               ? MR_OK
               : refuse_box(box, "a WELCOME without a fingerprint", diag);
}

bool
mri_wire_put_open(mri_bytes *out, const mri_wire_open *d)
{
    Mri__WpOpen pb;

    mri__wp_open__init(&pb);
    pb.dataset = text(d->dataset);
    if (d->has_content_id) {
        pb.content_id = id16(d->content_id);
    }
    pb.generation = d->generation;
    pb.split = text(d->split);
    pb.pipeline = text(d->pipeline);
    pb.order = text(d->order);
    pb.tail = text(d->tail);
    return pack(out, &pb.base);
}

mr_err
mri_wire_get_open(mri_wire_open *d, mri_wire_box **box, const mri_message *m,
                  mr_diag *diag)
{
    mr_err err = open_box(box, &mri__wp_open__descriptor, m, diag);
    const Mri__WpOpen *pb;

    if (err != MR_OK) {
        return err;
    }
    pb = (const Mri__WpOpen *)(*box)->message;
    *d = (mri_wire_open){.dataset = pb->dataset,
                         .split = pb->split,
                         .pipeline = pb->pipeline,
                         .order = pb->order,
                         .tail = pb->tail,
                         .generation = pb->generation};
    d->has_content_id = take_id(d->content_id, &pb->content_id);
    if (!d->has_content_id && pb->content_id.len != 0) {
        return refuse_box(box, "an OPEN with an id of another length", diag);
    }
    return MR_OK;
}

bool
mri_wire_put_opened(mri_bytes *out, const mri_wire_opened *d)
{
    Mri__WpOpened pb;
    Mri__WpTensor tensors[MRI_WIRE_TENSORS];
    Mri__WpTensor *list[MRI_WIRE_TENSORS];
    uint32_t hints[MRI_WIRE_HINTS];

    mri__wp_opened__init(&pb);
    for (uint32_t i = 0; i < d->tensor_count; i++) {
        mri__wp_tensor__init(&tensors[i]);
        tensors[i].name = text(d->tensors[i].name);
        tensors[i].dtype = d->tensors[i].dtype;
        tensors[i].n_shape = d->tensors[i].rank;
        tensors[i].shape = (uint64_t *)(uintptr_t)d->tensors[i].shape;
        list[i] = &tensors[i];
    }
    pb.stream_id = id16(d->stream_id);
    pb.samples = d->samples;
    pb.n_tensors = d->tensor_count;
    pb.tensors = list;
    pb.canonical = text(d->canonical);
    pb.n_classes = d->class_count;
    pb.classes = (char **)(uintptr_t)d->classes;
    pb.n_channels = d->channel_count;
    pb.channels = (char **)(uintptr_t)d->channels;
    for (int i = 0; i < MRI_WIRE_HINTS; i++) {
        hints[i] = d->hints[i];
    }
    pb.n_hints = MRI_WIRE_HINTS;
    pb.hints = hints;
    return pack(out, &pb.base);
}

/* One tensor of a row; its bytes are bounded before they are multiplied. */
static bool
take_tensor(mri_wire_tensor *t, const Mri__WpTensor *pb)
{
    uint64_t bytes = mr_dtype_bytes((mr_dtype)pb->dtype);

    if (bytes == 0 || pb->n_shape > MR_MAX_RANK || pb->name[0] == '\0') {
        return false;
    }
    t->name = pb->name;
    t->dtype = (mr_dtype)pb->dtype;
    t->rank = (uint32_t)pb->n_shape;
    for (size_t i = 0; i < pb->n_shape; i++) {
        t->shape[i] = pb->shape[i];
        if (t->shape[i] == 0 || !mri_mul(bytes, t->shape[i], &bytes)) {
            return false;
        }
    }
    t->row_bytes = bytes;
    return true;
}

mr_err
mri_wire_get_opened(mri_wire_opened *d, mri_wire_box **box,
                    const mri_message *m, mr_diag *diag)
{
    mr_err err = open_box(box, &mri__wp_opened__descriptor, m, diag);
    const Mri__WpOpened *pb;

    if (err != MR_OK) {
        return err;
    }
    pb = (const Mri__WpOpened *)(*box)->message;
    *d = (mri_wire_opened){.samples = pb->samples,
                           .canonical = pb->canonical,
                           .classes = (const char **)(uintptr_t)pb->classes,
                           .class_count = (uint32_t)pb->n_classes,
                           .channels = (const char **)(uintptr_t)pb->channels,
                           .channel_count = (uint32_t)pb->n_channels,
                           .tensor_count = (uint32_t)pb->n_tensors};
    for (size_t i = 0; i < pb->n_hints && i < MRI_WIRE_HINTS; i++) {
        d->hints[i] = (uint16_t)pb->hints[i];
    }
    if (pb->n_tensors == 0 || pb->n_tensors > MRI_WIRE_TENSORS ||
        !take_id(d->stream_id, &pb->stream_id)) {
        return refuse_box(box, "an OPENED without id or tensors", diag);
    }
    for (size_t i = 0; i < pb->n_tensors; i++) {
        if (!take_tensor(&d->tensors[i], pb->tensors[i]) ||
            !mri_add(d->row_bytes, d->tensors[i].row_bytes, &d->row_bytes)) {
            return refuse_box(box, "an OPENED with a tensor that cannot be",
                              diag);
        }
    }
    return MR_OK;
}

bool
mri_wire_put_want(mri_bytes *out, const mri_wire_want *d)
{
    Mri__WpWant pb;

    mri__wp_want__init(&pb);
    pb.seed = d->seed;
    pb.epoch = d->epoch;
    pb.position = d->position;
    return pack(out, &pb.base);
}

mr_err
mri_wire_get_want(mri_wire_want *d, const mri_message *m, mr_diag *diag)
{
    mri_wire_box *box;
    mr_err err = open_box(&box, &mri__wp_want__descriptor, m, diag);
    const Mri__WpWant *pb;

    if (err != MR_OK) {
        return err;
    }
    pb = (const Mri__WpWant *)box->message;
    *d = (mri_wire_want){pb->seed, pb->epoch, pb->position};
    mri_wire_box_free(box);
    return MR_OK;
}

bool
mri_wire_put_miss(mri_bytes *out, const uint8_t uid[16], const mr_diag *why)
{
    Mri__WpMiss pb;

    mri__wp_miss__init(&pb);
    pb.uid = id16(uid);
    pb.code = why->code;
    pb.text = text(why->text);
    return pack(out, &pb.base);
}

static void
copy_text(char *to, size_t room, const char *from)
{
    size_t n = strlen(from);

    n = n < room ? n : room - 1;
    memcpy(to, from, n);
    to[n] = '\0';
}

mr_err
mri_wire_get_miss(uint8_t uid[16], mr_diag *why, const mri_message *m,
                  mr_diag *diag)
{
    mri_wire_box *box;
    mr_err err = open_box(&box, &mri__wp_miss__descriptor, m, diag);
    const Mri__WpMiss *pb;
    const mri_error_info *info;

    if (err != MR_OK) {
        return err;
    }
    pb = (const Mri__WpMiss *)box->message;
    if (!take_id(uid, &pb->uid)) {
        return refuse_box(&box, "a MISS without a uid", diag);
    }
    info = mri_error_find((uint16_t)pb->code);
    *why = (mr_diag){.err = info != NULL ? info->err : MR_ECORRUPT,
                     .code = (uint16_t)pb->code,
                     .at = MR_NOWHERE};
    copy_text(why->text, sizeof why->text, pb->text);
    mri_wire_box_free(box);
    return MR_OK;
}

bool
mri_wire_put_error(mri_bytes *out, const mr_diag *why)
{
    Mri__WpError pb;

    mri__wp_error__init(&pb);
    pb.err = why->err;
    pb.code = why->code;
    pb.text = text(why->text);
    pb.version_low = MRI_WIRE_LOW;
    pb.version_high = MRI_WIRE_HIGH;
    return pack(out, &pb.base);
}

mr_err
mri_wire_get_error(mr_diag *why, uint32_t *version_low, uint32_t *version_high,
                   const mri_message *m, mr_diag *diag)
{
    mri_wire_box *box;
    mr_err err = open_box(&box, &mri__wp_error__descriptor, m, diag);
    const Mri__WpError *pb;
    const mri_error_info *info;

    if (err != MR_OK) {
        return err;
    }
    pb = (const Mri__WpError *)box->message;
    info = mri_error_find((uint16_t)pb->code);
    *why = (mr_diag){.err = info != NULL ? info->err : MR_ECLOSED,
                     .code = (uint16_t)pb->code,
                     .at = MR_NOWHERE};
    copy_text(why->text, sizeof why->text, pb->text);
    *version_low = pb->version_low;
    *version_high = pb->version_high;
    mri_wire_box_free(box);
    return MR_OK;
}
