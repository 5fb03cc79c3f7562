/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote.h - the feed that asks servers.
 */
#ifndef MRI_STREAM_REMOTE_H
#define MRI_STREAM_REMOTE_H

#include <mri/feed.h>

/* options->source is a list of endpoints (mri/endpoint.h). Waits until one of
 * them answers, or connect_ms have passed.
 * errors  MR_ETIME, MR_EVERSION, MR_EAUTH, MR_EARG, and what a server says */
MR_USE_RESULT mr_err mri_feed_remote(mri_feed **out,
                                     const mr_stream_options *options,
                                     mr_diag *diag);

#endif
