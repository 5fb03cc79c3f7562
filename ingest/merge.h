/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge.h - datasets as sources: their shards by reference.
 */
#ifndef MRI_MERGE_H
#define MRI_MERGE_H

#include <mri/dataset.h>
#include <mri/ingest.h>

/*
 * True if the SOURCE is a dataset (also x.mr@N).
 * errors  one that is damaged, or lacks that generation: it is not to be
 *         taken for a folder of images; MR_EIO, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_merge_is_dataset(const char *source, bool *out,
                                          mr_diag *diag);

/*
 * Make a generation of the output that has the samples of these datasets as
 * well. Their shards are linked, or copied where the file system is another
 * one; labels and splits stay; what is withdrawn there stays out. Samples that
 * the output has are left alone; with nothing new there is no generation.
 *
 * errors  MR_EARG  two different samples with one uid or one key, or one that
 *                  is withdrawn here and alive there; other fields or splits
 *         MR_EBUSY, MR_EIO, MR_ECORRUPT, MR_ENOMEM, MR_ESTOP
 */
MR_USE_RESULT mr_err mri_merge(const char *const *sources, size_t count,
                               const mri_ingest_options *options,
                               mri_ingest_report *report, mr_diag *diag);

#endif
