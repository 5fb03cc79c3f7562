/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shutdown_fs.c - end a file system as a power cut does: nothing that is not
 * on the disk yet, its journal included, gets there any more.
 *
 *     shutdown_fs MOUNT_POINT     as root; ext4 and xfs can do it
 */
#include <fcntl.h>
#include <linux/ioctl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

/* EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are the same one. */
#define GOING_DOWN _IOR('X', 125, uint32_t)
#define NO_LOG_FLUSH 2u

int
main(int argc, char **argv)
{
    uint32_t how = NO_LOG_FLUSH;
    int fd = argc == 2 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd < 0 || ioctl(fd, GOING_DOWN, &how) != 0) {
        perror("shutdown_fs");
        return 1;
    }
    return 0;
}
