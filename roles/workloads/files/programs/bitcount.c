/*
 * bitcount: count the bits that are set in an array of integers, in several ways.
 *
 * A CPU-bound workload in the manner of the automotive suite of MiBench (Guthaus et al., WWC-4, 2001), written for rtvirt from
 * the methods' public descriptions. Every method counts the same array, so each checks the others.
 *
 *   rtvirt-bitcount [--forever | --iterations N] [--size small|large] [--seed N] [--expect DIGEST]
 */
#include "workload.h"

#include <inttypes.h>

enum { SMALL_VALUES = 16384, LARGE_VALUES = 524288 };

static uint8_t bits_of_byte[256];
static uint32_t values[LARGE_VALUES];
static int value_count;

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
static uint64_t sums[METHODS];

static uint64_t sum_with(unsigned (*count)(uint32_t))
{
    uint64_t sum = 0;
    for (int i = 0; i < value_count; i++)
        sum += count(values[i]);
    return sum;
}

static void setup(enum workload_size size, uint32_t seed)
{
    for (int i = 0; i < 256; i++)
        bits_of_byte[i] = (uint8_t)count_by_shift((uint32_t)i);
    value_count = size == SMALL ? SMALL_VALUES : LARGE_VALUES;
    for (int i = 0; i < value_count; i++)
        values[i] = random_next(&seed);
}

static uint64_t iterate(void)
{
    uint64_t digest = DIGEST_START;
    for (int method = 0; method < METHODS; method++) {
        sums[method] = sum_with(methods[method]);
        digest = digest_u64(digest, sums[method]);
    }
    return digest;
}

static void check(void)
{
    for (int method = 1; method < METHODS; method++)
        if (sums[method] != sums[0])
            workload_wrong("method %d counted %" PRIu64 " bits, but method 0 %" PRIu64 ".", method, sums[method], sums[0]);
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "bitcount",
        .summary = "Counts the bits that are set in an array of integers, in five ways that must agree.",
        .inputs = {"16384 integers", "524288 integers"},
        .setup = setup,
        .iterate = iterate,
        .check = check,
        .known = {UINT64_C(0x8f9bfdbcb0e1f8fd), UINT64_C(0x919fd33b2dc43846)},
    };
    return workload_main(&workload, argc, argv);
}
