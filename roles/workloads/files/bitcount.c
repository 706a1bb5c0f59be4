/*
 * bitcount: count the bits that are set in an array of integers, in several ways, over and over.
 *
 * A CPU-bound workload in the manner of the automotive suite of MiBench (Guthaus et al., WWC-4, 2001), written for rtvirt from
 * the methods' public descriptions. Every method counts the same seeded array, so each checks the others: a wrong sum ends the
 * program with status 1. Prints one line of JSON at the end, also after SIGTERM.
 *
 *   rtvirt-bitcount [--forever] [--iterations N] [--seed N]
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VALUES = 4096 };

static volatile sig_atomic_t stopped;
static uint8_t bits_of_byte[256];

static void stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

/* Xorshift (Marsaglia, 2003): the same sequence on every machine. */
static uint32_t next_random(uint32_t *state)
{
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

static unsigned count_by_shift(uint32_t x)
{
    unsigned n = 0;
    for (; x; x >>= 1)
        n += x & 1u;
    return n;
}

/* x & (x - 1) clears the lowest set bit (Wegner, CACM 3(5), 1960). */
static unsigned count_by_clearing(uint32_t x)
{
    unsigned n = 0;
    for (; x; x &= x - 1)
        n++;
    return n;
}

/* Sums of neighbouring fields of 1, 2, 4, 8 and 16 bits (HAKMEM 169 and its descendants). */
static unsigned count_by_fields(uint32_t x)
{
    x = x - ((x >> 1) & 0x55555555u);
    x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0fu;
    return (x * 0x01010101u) >> 24;
}

static unsigned count_by_byte_table(uint32_t x)
{
    return bits_of_byte[x & 0xff] + bits_of_byte[x >> 8 & 0xff] + bits_of_byte[x >> 16 & 0xff] + bits_of_byte[x >> 24];
}

static unsigned count_by_nibble_table(uint32_t x)
{
    unsigned n = 0;
    for (; x; x >>= 4)
        n += bits_of_byte[x & 0xf];
    return n;
}

static unsigned (*const methods[])(uint32_t) = {
    count_by_shift, count_by_clearing, count_by_fields, count_by_byte_table, count_by_nibble_table,
};
enum { METHODS = sizeof methods / sizeof methods[0] };

static uint64_t sum_with(unsigned (*count)(uint32_t), const uint32_t *values)
{
    uint64_t sum = 0;
    for (int i = 0; i < VALUES; i++)
        sum += count(values[i]);
    return sum;
}

static uint64_t read_number(const char *option, const char *text)
{
    char *end = NULL;
    uint64_t number = text ? strtoull(text, &end, 10) : 0;
    if (!text || end == text || *end || number == 0) {
        fprintf(stderr, "rtvirt-bitcount: %s expects a number above 0, not \"%s\"\n", option, text ? text : "");
        exit(2);
    }
    return number;
}

int main(int argc, char **argv)
{
    uint64_t iterations = 1000;
    uint32_t seed = 1;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--forever")) {
            iterations = UINT64_MAX;
        } else if (!strcmp(argv[i], "--iterations")) {
            iterations = read_number(argv[i], argv[i + 1]), i++;
        } else if (!strcmp(argv[i], "--seed")) {
            seed = (uint32_t)read_number(argv[i], argv[i + 1]), i++;
        } else {
            fprintf(stderr, "usage: rtvirt-bitcount [--forever] [--iterations N] [--seed N]\n");
            return 2;
        }
    }

    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = stop;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    for (int i = 0; i < 256; i++)
        bits_of_byte[i] = (uint8_t)count_by_shift((uint32_t)i);
    static uint32_t values[VALUES];
    for (int i = 0; i < VALUES; i++)
        values[i] = next_random(&seed);
    const uint64_t expected = sum_with(count_by_shift, values);

    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    uint64_t done = 0;
    for (; done < iterations && !stopped; done++) {
        uint64_t sum = sum_with(methods[done % METHODS], values);
        if (sum != expected) {
            fprintf(stderr, "rtvirt-bitcount: method %d counted %" PRIu64 " bits, not %" PRIu64 "\n", (int)(done % METHODS), sum, expected);
            return 1;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds = (double)(ended.tv_sec - began.tv_sec) + 1e-9 * (double)(ended.tv_nsec - began.tv_nsec);
    printf("{\"workload\": \"bitcount\", \"iterations\": %" PRIu64 ", \"seconds\": %.6f, \"seconds_per_iteration\": %.9f, \"bits\": %" PRIu64 "}\n",
           done, seconds, done ? seconds / (double)done : 0.0, expected);
    return 0;
}
