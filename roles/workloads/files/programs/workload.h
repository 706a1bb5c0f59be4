/*
 * The frame of the workloads: what a program says of itself, and what all of them share.
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

enum workload_size { SMALL, LARGE, SIZES };

struct workload {
    const char *name;
    const char *summary;       /* what it computes and how it checks itself, lines for --help */
    const char *inputs[SIZES]; /* what small and large are, for --help */
    void (*setup)(enum workload_size size, uint32_t seed);
    uint64_t (*iterate)(void); /* computes the whole answer anew; returns its digest */
    void (*check)(void);       /* calls workload_wrong unless the last answer is right */
    uint64_t known[SIZES];     /* the digests for seed 1 */
};

/* Runs the workload as its command line says; returns the exit status. */
int workload_main(const struct workload *workload, int argc, char **argv);

/* Says in one sentence what is wrong with an answer: the program will end with status 1. */
void workload_wrong(const char *format, ...);

/* Says in one sentence why the program cannot work, and ends it with status 2. */
void workload_refuse(const char *format, ...);

/* Random numbers from a state that is not 0, the same on every machine. */
uint32_t random_next(uint32_t *state);
uint32_t random_below(uint32_t *state, uint32_t limit);

/* A digest starts as DIGEST_START; each function returns it with something more taken in. */
#define DIGEST_START UINT64_C(0xcbf29ce484222325)
uint64_t digest_bytes(uint64_t digest, const void *bytes, size_t count);
uint64_t digest_u32(uint64_t digest, uint32_t value);
uint64_t digest_u64(uint64_t digest, uint64_t value);
uint64_t digest_double(uint64_t digest, double value);

#endif
