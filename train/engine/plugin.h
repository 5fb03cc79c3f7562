/* SPDX-License-Identifier: Apache-2.0 */
/* plugin.h - back ends that live in a module of their own. */
#ifndef ENGINE_PLUGIN_H
#define ENGINE_PLUGIN_H

#include <mri/backend.h>

/*
 * Load libmillrace_<name>.so from the folder MILLRACE_LIB, or else from
 * `lib`, once in a process; it stays loaded.
 */
MR_USE_RESULT mr_err plugin_load(const mri_backend **out, const char *name,
                                 const char *lib, mr_diag *diag);

#endif
