/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fmath.h - exp, log, pow, sin, cos with the same bits on every machine.
 *
 * libm's differ with the CPU that it finds at run time; a batch must not. Only
 * + - * / sqrt and fma-free polynomials are used here, in f64.
 *
 * bound   2 units in the last place of f64 over the stated range
 *         (fmath_test.c compares with libm in long double)
 */
#ifndef MRI_FMATH_H
#define MRI_FMATH_H

#include <mri/door.h>

MRI_BEGIN

double mri_exp(double x);           /* -745 .. 709; 0 and inf outside */
double mri_log(double x);           /* x > 0; -inf at 0, NaN below */
double mri_pow(double x, double y); /* exp(y log x): x > 0, |y log x| < 700 */
void mri_sincos(double x, double *s, double *c); /* |x| <= 2^20 */

MRI_END

#endif
