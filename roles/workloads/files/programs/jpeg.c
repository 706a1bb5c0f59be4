/*
 * jpeg: compress an image to a JPEG file and decompress it, by the programs cjpeg and djpeg of libjpeg-turbo.
 *
 * A workload in the manner of the consumer suite of MiBench (Guthaus et al., WWC-4, 2001), written for rtvirt. The files lie
 * in a temporary folder, which is removed at the end. Both programs answer alike on every machine: their integer transforms
 * (islow) are exact. Checked: the image has kept its dimensions and most of its looks, and has become much smaller.
 *
 *   rtvirt-jpeg [--forever | --iterations N] [--size small|large] [--seed N] [--expect DIGEST]
 */
#define _POSIX_C_SOURCE 200809L
#include "workload.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALL_WIDTH = 192, SMALL_HEIGHT = 144, LARGE_WIDTH = 1024, LARGE_HEIGHT = 768 };
enum { COLOURS = 3, LARGE_BYTES = LARGE_WIDTH * LARGE_HEIGHT * COLOURS, HEADER_BYTES = 32, PATH_BYTES = 4096 };
enum { DISKS = 24 };
enum { LARGEST_MEAN_SQUARE_ERROR = 65 }; /* of 255 squared: a PSNR of 30 dB */
enum { LEAST_RATIO = 5 };                /* of the sizes before and after */

struct file {
    char path[PATH_BYTES];
    size_t bytes;
    uint8_t content[LARGE_BYTES + HEADER_BYTES];
};

extern char **environ;

static char cjpeg[PATH_BYTES], djpeg[PATH_BYTES];
static char folder[PATH_BYTES];
static struct file original, compressed, decompressed;
static int width, height;
static size_t header_bytes;

static void join(char *path, const char *first, size_t first_length, const char *name)
{
    if (snprintf(path, PATH_BYTES, "%.*s/%s", (int)first_length, first, name) >= PATH_BYTES)
        workload_refuse("the path of %s is too long.", name);
}

/* In the folder where the running program lies itself. */
static bool find_beside(char *path, const char *name)
{
    char own[PATH_BYTES];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    if (length <= 0)
        return false;
    own[length] = '\0';
    join(path, own, (size_t)(strrchr(own, '/') - own), name);
    return access(path, X_OK) == 0;
}

static bool find_in_path(char *path, const char *name)
{
    const char *folders = getenv("PATH");
    while (folders && *folders) {
        size_t length = strcspn(folders, ":");
        join(path, length ? folders : ".", length ? length : 1, name);
        if (access(path, X_OK) == 0)
            return true;
        folders += length + (folders[length] == ':');
    }
    return false;
}

static void find_program(char *path, const char *name, const char *variable)
{
    const char *given = getenv(variable);
    if (given && *given) {
        if (snprintf(path, PATH_BYTES, "%s", given) >= PATH_BYTES || access(path, X_OK) != 0)
            workload_refuse("%s, which %s names, is not a program that can be run.", given, variable);
    } else if (!find_beside(path, name) && !find_in_path(path, name)) {
        workload_refuse("%s is neither beside this program nor in PATH; install it or name its path in %s.", name, variable);
    }
}

static void remove_folder(void)
{
    unlink(original.path);
    unlink(compressed.path);
    unlink(decompressed.path);
    rmdir(folder);
}

static void make_folder(void)
{
    const char *parent = getenv("TMPDIR");
    if (!parent || !*parent)
        parent = "/tmp";
    join(folder, parent, strlen(parent), "rtvirt-jpeg-XXXXXX");
    if (!mkdtemp(folder))
        workload_refuse("no temporary folder could be made in %s: %s.", parent, strerror(errno));
    join(original.path, folder, strlen(folder), "original.ppm");
    join(compressed.path, folder, strlen(folder), "compressed.jpg");
    join(decompressed.path, folder, strlen(folder), "decompressed.ppm");
    atexit(remove_folder);
}

static bool is_inside(int x, int y)
{
    return x >= 0 && x < width && y >= 0 && y < height;
}

/* A disk in one colour, which gets darker towards its edge. */
static void draw_disk(uint8_t *pixels, uint32_t *state)
{
    int middle_x = (int)random_below(state, (uint32_t)width), middle_y = (int)random_below(state, (uint32_t)height);
    int radius = 4 + (int)random_below(state, (uint32_t)height / 4);
    int grey = 48 + (int)random_below(state, 160), colour[COLOURS]; /* near to grey, as JPEG blurs colours */
    for (int c = 0; c < COLOURS; c++)
        colour[c] = grey - 24 + (int)random_below(state, 49);
    for (int y = middle_y - radius; y <= middle_y + radius; y++)
        for (int x = middle_x - radius; x <= middle_x + radius; x++) {
            int square = (x - middle_x) * (x - middle_x) + (y - middle_y) * (y - middle_y);
            for (int c = 0; c < COLOURS && is_inside(x, y) && square < radius * radius; c++)
                pixels[(y * width + x) * COLOURS + c] = (uint8_t)(colour[c] - colour[c] / 2 * square / (radius * radius));
        }
}

static void draw_image(uint8_t *pixels, uint32_t *state)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *pixel = &pixels[(y * width + x) * COLOURS];
            pixel[0] = (uint8_t)(64 + 128 * x / width);
            pixel[1] = (uint8_t)(64 + 128 * y / height);
            pixel[2] = (uint8_t)(192 - 128 * x / width);
        }
    for (int i = 0; i < DISKS; i++)
        draw_disk(pixels, state);
    for (int i = 0; i < width * height * COLOURS; i++)
        pixels[i] = (uint8_t)(pixels[i] + random_below(state, 7) - 3); /* noise */
}

static void write_file(const struct file *file)
{
    FILE *stream = fopen(file->path, "wb");
    bool written = stream && fwrite(file->content, 1, file->bytes, stream) == file->bytes;
    if (stream && fclose(stream) != 0)
        written = false;
    if (!written)
        workload_refuse("%s could not be written: %s.", file->path, strerror(errno));
}

/* A file that is missing has no bytes; one that is too long lacks its end. Both are found wrong. */
static void read_file(struct file *file)
{
    file->bytes = 0;
    FILE *stream = fopen(file->path, "rb");
    if (!stream)
        return;
    file->bytes = fread(file->content, 1, sizeof file->content, stream);
    fclose(stream);
}

static void setup(enum workload_size size, uint32_t seed)
{
    find_program(cjpeg, "rtvirt-cjpeg", "RTVIRT_CJPEG");
    find_program(djpeg, "rtvirt-djpeg", "RTVIRT_DJPEG");
    width = size == SMALL ? SMALL_WIDTH : LARGE_WIDTH;
    height = size == SMALL ? SMALL_HEIGHT : LARGE_HEIGHT;
    header_bytes = (size_t)sprintf((char *)original.content, "P6\n%d %d\n255\n", width, height);
    original.bytes = header_bytes + (size_t)(width * height * COLOURS);
    draw_image(original.content + header_bytes, &seed);
    make_folder();
    write_file(&original);
}

/* Signals that end this program after the iteration are kept from the children, which would not finish theirs. */
static int spawn(pid_t *child, char **arguments)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGHUP);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &blocked);
    int error = posix_spawn(child, arguments[0], NULL, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    return error;
}

/* Whether it went well. */
static bool run(char **arguments)
{
    pid_t child;
    int status = 0, error = spawn(&child, arguments);
    if (error)
        workload_refuse("%s could not be started: %s.", arguments[0], strerror(error));
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFSIGNALED(status))
        workload_wrong("%s was ended by signal %d.", arguments[0], WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        workload_wrong("%s ended with status %d.", arguments[0], WEXITSTATUS(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static uint64_t iterate(void)
{
    char *compress[] = {cjpeg, "-dct", "int", "-quality", "75", "-outfile", compressed.path, original.path, NULL};
    char *decompress[] = {djpeg, "-dct", "int", "-pnm", "-outfile", decompressed.path, compressed.path, NULL};
    unlink(compressed.path); /* what the last iteration left is no answer of this one */
    unlink(decompressed.path);
    if (!run(compress) || !run(decompress))
        return DIGEST_START;
    read_file(&compressed);
    read_file(&decompressed);
    uint64_t digest = digest_bytes(DIGEST_START, compressed.content, compressed.bytes);
    return digest_bytes(digest, decompressed.content, decompressed.bytes);
}

static double mean_square_error(void)
{
    double sum = 0;
    for (size_t i = header_bytes; i < original.bytes; i++) {
        int difference = original.content[i] - decompressed.content[i];
        sum += difference * difference;
    }
    return sum / (double)(original.bytes - header_bytes);
}

static void check(void)
{
    if (compressed.bytes == 0 || compressed.bytes * LEAST_RATIO > original.bytes)
        workload_wrong("cjpeg has made %lu bytes from %lu, expected at most a fifth.",
                       (unsigned long)compressed.bytes, (unsigned long)original.bytes);
    if (decompressed.bytes != original.bytes || memcmp(decompressed.content, original.content, header_bytes))
        workload_wrong("djpeg has not given back an image of %d x %d pixels.", width, height);
    else if (mean_square_error() > LARGEST_MEAN_SQUARE_ERROR)
        workload_wrong("the image given back has a mean square error of %.1f, expected at most %d (a PSNR of 30 dB).",
                       mean_square_error(), LARGEST_MEAN_SQUARE_ERROR);
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "jpeg",
        .summary = "Has an image compressed by rtvirt-cjpeg and decompressed by rtvirt-djpeg (libjpeg-turbo). They are looked\n"
                   "for beside this program and in PATH, unless the variables RTVIRT_CJPEG and RTVIRT_DJPEG name them; files\n"
                   "lie in TMPDIR or /tmp. Checks the image given back against the original, and the file between for size.",
        .inputs = {"192 x 144 pixels", "1024 x 768 pixels"},
        .setup = setup,
        .iterate = iterate,
        .check = check,
        .known = {UINT64_C(0x4e82007024d4ef4f), UINT64_C(0xc297032b8e845fed)},
    };
    return workload_main(&workload, argc, argv);
}
