/* SPDX-License-Identifier: Apache-2.0 */
/* answer_say.c - what the server's state machine wants done, in order. */
#include "answer_in.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <string.h>

mri_deed *
mri_answer_do(mri_answer *a, mri_deed_kind kind)
{
    mri_deed *d;

    if (a->first + a->count == a->room) {
        size_t room = a->room != 0 ? a->room * 2 : 64;
        mri_deed *deeds = mri_resize(a->deeds, room, sizeof *deeds);

        if (deeds == NULL) {
            return NULL; /* the message is lost: it will be asked again */
        }
        a->deeds = deeds;
        a->room = room;
    }
    d = &a->deeds[a->first + a->count++];
    *d = (mri_deed){.kind = kind};
    return d;
}

void
mri_answer_let_boxes_go(mri_answer *a)
{
    for (size_t i = 0; i < a->box_count; i++) {
        mri_wire_box_free(a->boxes[i]);
    }
    a->box_count = 0;
}

void
mri_answer_next(mri_answer *a, mri_deed *deed)
{
    if (a->count == 0) {
        a->first = 0;
        a->text.len = 0;
        mri_answer_let_boxes_go(a);
        *deed = (mri_deed){0};
        return;
    }
    *deed = a->deeds[a->first++];
    a->count--;
    if (deed->kind == MRI_DEED_SEND) { /* the text moves as it grows */
        deed->descriptor = a->text.data + deed->text_at;
    }
}

mri_deed *
mri_answer_say(mri_answer *a, const mri_peer_id *peer, const mri_wire *head,
               const mri_bytes *descriptor, const uint8_t *payload,
               size_t bytes)
{
    mri_message m = {.head = *head, .payload = payload, .payload_bytes = bytes};
    size_t at = a->text.len;
    mri_deed *d;

    m.head.version = MRI_WIRE_LOW;
    if (descriptor != NULL) {
        m.descriptor = descriptor->data;
        m.descriptor_bytes = descriptor->len;
    }
    if (!mri_bytes_add(&a->text, m.descriptor, m.descriptor_bytes)) {
        return NULL;
    }
    d = mri_answer_do(a, MRI_DEED_SEND);
    if (d != NULL) {
        d->peer = *peer;
        d->descriptor_bytes = m.descriptor_bytes;
        d->text_at = at;
        d->payload = payload;
        d->payload_bytes = bytes;
        mri_wire_put(d->header, &m);
    }
    return d;
}

void
mri_answer_say_plain(mri_answer *a, const mri_peer_id *peer, mri_wire_type type)
{
    (void)mri_answer_say(a, peer, &(mri_wire){.type = (uint16_t)type}, NULL,
                         NULL, 0);
}

void
mri_answer_say_error(mri_answer *a, const mri_peer_id *peer, const mr_diag *why)
{
    mri_bytes d = {0};

    a->counts.refused++;
    if (mri_wire_put_error(&d, why)) {
        (void)mri_answer_say(a, peer, &(mri_wire){.type = MRI_WIRE_ERROR}, &d,
                             NULL, 0);
    }
    mri_bytes_release(&d);
}

/* We do not know the consumer, or that stream of it: after a restart, or when
 * it was silent too long. */
void
mri_answer_begin_again(mri_answer *a, const mri_peer_id *peer, uint64_t stream)
{
    mri_wire head = {.type = MRI_WIRE_ERROR,
                     .flags = MRI_WIRE_BEGIN_AGAIN,
                     .stream = stream};
    mri_bytes d = {0};
    mr_diag why = {0};

    (void)mri_fail(&why, MRI_E_WIRE_FOREIGN, MR_NOWHERE,
                   "this server does not know the consumer: HELLO is due");
    if (mri_wire_put_error(&d, &why)) {
        (void)mri_answer_say(a, peer, &head, &d, NULL, 0);
    }
    mri_bytes_release(&d);
}
