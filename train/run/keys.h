/* SPDX-License-Identifier: Apache-2.0 */
/* keys.h - what the table of keys gives to the rest of config. */
#ifndef MRI_RUN_KEYS_H
#define MRI_RUN_KEYS_H

#include "config.h"

#include <millrace/train.h>

void run_config_defaults(run_config *c);
/* The table, pointing into c; mri_free. NULL: no memory. */
mri_opt *run_config_table(run_config *c);

#endif
