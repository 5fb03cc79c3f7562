/* SPDX-License-Identifier: Apache-2.0 */
#include <mr_test.h>
int
main(void)
{
    return 0;
}
