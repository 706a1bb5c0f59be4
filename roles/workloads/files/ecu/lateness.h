/* How late something was: every sample is counted, in microseconds and in degrees of crank angle. */
#ifndef ECU_LATENESS_H
#define ECU_LATENESS_H

#include <stdint.h>
#include <stdio.h>

/* bins[i] counts values of i for i < limit, then of limit to 2 limit - 1, of 2 limit to 4 limit - 1, and so on. */
enum { DOUBLINGS = 40 };

struct histogram {
    int64_t limit;
    uint64_t *bins;
};

struct lateness {
    uint64_t count, missed; /* missed: later than the tolerance */
    int64_t tolerance_mdeg;
    int64_t sum_ns, max_ns, max_mdeg;
    int64_t max_at_ns; /* when the latest was due, since the start */
    struct histogram us, centideg;
};

/* Allocates; -1 if there is no memory. */
int lateness_init(struct lateness *lateness, int64_t limit_us, int64_t tolerance_mdeg);
void lateness_free(struct lateness *lateness);

/* Something due at due_ns came late_ns later; position_ns is the crank's time for 6 degrees. */
void lateness_add(struct lateness *lateness, int64_t due_ns, int64_t late_ns, int32_t position_ns);

/* Add what another one has counted. */
void lateness_merge(struct lateness *lateness, const struct lateness *other);

/* 99 % of the samples were at most this late. */
double lateness_p99_us(const struct lateness *lateness);
double lateness_average_us(const struct lateness *lateness);

/* As JSON: {"lower edge": count, ...}; bins without samples are left out. */
void histogram_print(const struct histogram *histogram, double unit, int decimals, FILE *out);

#endif
