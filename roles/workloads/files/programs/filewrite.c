/*
 * filewrite: write a file in large pieces, wait until it is stored, read it back, and cut it to nothing again.
 *
 * A load of the kernel, for the comparison of kernels with and without PREEMPT_RT: nearly all of its time is spent in system
 * calls that copy much or free many pages at once. The file is in the working folder, $TMPDIR, and has no name.
 *
 *   rtvirt-filewrite [--forever | --iterations N] [--size small|large] [--seed N] [--expect DIGEST]
 */
#define _POSIX_C_SOURCE 200809L
#include "workload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { PIECE_BYTES = 1 << 20, SMALL_PIECES = 4, LARGE_PIECES = 32, PATH_BYTES = 4096 };

static uint32_t piece[PIECE_BYTES / sizeof(uint32_t)], again[PIECE_BYTES / sizeof(uint32_t)];
static int pieces, file;

static void setup(enum workload_size size, uint32_t seed)
{
    char path[PATH_BYTES];
    const char *folder = getenv("TMPDIR");
    pieces = size == SMALL ? SMALL_PIECES : LARGE_PIECES;
    for (size_t i = 0; i < sizeof piece / sizeof piece[0]; i++)
        piece[i] = random_next(&seed);
    snprintf(path, sizeof path, "%s/rtvirt-filewrite.XXXXXX", folder ? folder : "/tmp");
    file = mkstemp(path);
    if (file < 0)
        workload_refuse("the file %s cannot be made: %s.", path, strerror(errno));
    unlink(path);
}

/* Transfers a whole piece by read or write, which may do less than they are asked for. */
static void transfer(ssize_t (*call)(int, void *, size_t), void *bytes, const char *what)
{
    for (size_t done = 0; done < PIECE_BYTES;) {
        ssize_t count = call(file, (char *)bytes + done, PIECE_BYTES - done);
        if (count <= 0 && !(count < 0 && errno == EINTR))
            workload_refuse("the file cannot be %s: %s.", what, count ? strerror(errno) : "it ends early");
        done += count > 0 ? (size_t)count : 0;
    }
}

static ssize_t write_bytes(int descriptor, void *bytes, size_t count)
{
    return write(descriptor, bytes, count);
}

static void rewind_file(void)
{
    if (lseek(file, 0, SEEK_SET) != 0)
        workload_refuse("the file cannot be rewound: %s.", strerror(errno));
}

static uint64_t iterate(void)
{
    uint64_t digest = DIGEST_START;
    rewind_file();
    for (int i = 0; i < pieces; i++) {
        piece[0] = (uint32_t)i;
        transfer(write_bytes, piece, "written");
    }
    if (fsync(file))
        workload_refuse("the file cannot be stored: %s.", strerror(errno));
    rewind_file();
    for (int i = 0; i < pieces; i++) {
        transfer(read, again, "read");
        digest = digest_u32(digest, again[0]);
        digest = digest_u32(digest, again[sizeof again / sizeof again[0] - 1]);
    }
    if (ftruncate(file, 0))
        workload_refuse("the file cannot be cut: %s.", strerror(errno));
    return digest;
}

/* Of the last piece, each byte. */
static void check(void)
{
    if (memcmp(piece, again, sizeof piece))
        workload_wrong("what was read is not what was written.");
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "filewrite",
        .summary = "Writes a file in pieces of 1 MiB, waits until it is stored, reads it back, and cuts it to nothing.\n"
                   "What is read must be what was written.",
        .inputs = {"4 MiB", "32 MiB"},
        .setup = setup,
        .iterate = iterate,
        .check = check,
        .known = {UINT64_C(0x744c1ad19835c72d), UINT64_C(0x10fd7364d3a25225)},
    };
    return workload_main(&workload, argc, argv);
}
