/* SPDX-License-Identifier: Apache-2.0 */
/*
 * door.h - how the doors between rooms are declared.
 *
 * What stands between MRI_BEGIN and MRI_END may be called from other rooms,
 * and so from the other shared library: it is visible, but under the symbol
 * version MILLRACE_PRIVATE, which promises nothing (cmake/millrace.map).
 */
#ifndef MRI_DOOR_H
#define MRI_DOOR_H

#include <millrace/base.h>

#ifdef __cplusplus
#define MRI_BEGIN                                                              \
    extern "C" {                                                               \
    _Pragma("GCC visibility push(default)")
#define MRI_END                                                                \
    _Pragma("GCC visibility pop")                                              \
    }
#else
#define MRI_BEGIN _Pragma("GCC visibility push(default)")
#define MRI_END _Pragma("GCC visibility pop")
#endif

#define MRI_COUNT(array) (sizeof(array) / sizeof *(array))
#define MRI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#endif
