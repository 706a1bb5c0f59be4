/*
 * reader: in the guest, reads its disk past its cache, so that QEMU's threads of the board are never without work.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
    const size_t size = 1 << 20;
    void *buffer;
    const int disk = open("/dev/vda", O_RDONLY | O_DIRECT);
    if (disk < 0 || posix_memalign(&buffer, 4096, size) != 0) {
        perror("/dev/vda");
        return 1;
    }
    for (;;)
        if (pread(disk, buffer, size, 0) != (ssize_t)size)
            return 1;
}
