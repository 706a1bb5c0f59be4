/* Lateness: see lateness.h. */
#include "lateness.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT_CENTIDEG = 1000, POSITION_MDEG = 6000 };

static int histogram_init(struct histogram *histogram, int64_t limit)
{
    histogram->limit = limit;
    histogram->bins = calloc((size_t)(limit + DOUBLINGS), sizeof *histogram->bins);
    return histogram->bins ? 0 : -1;
}

static int64_t bin_of(const struct histogram *histogram, int64_t value)
{
    if (value < histogram->limit)
        return value;
    int64_t bin = histogram->limit;
    while ((value /= 2) >= histogram->limit && bin < histogram->limit + DOUBLINGS - 1)
        bin++;
    return bin;
}

static int64_t lower_edge(const struct histogram *histogram, int64_t bin)
{
    return bin < histogram->limit ? bin : histogram->limit << (bin - histogram->limit);
}

int lateness_init(struct lateness *lateness, int64_t limit_us, int64_t tolerance_mdeg)
{
    memset(lateness, 0, sizeof *lateness);
    lateness->tolerance_mdeg = tolerance_mdeg;
    return histogram_init(&lateness->us, limit_us) || histogram_init(&lateness->centideg, LIMIT_CENTIDEG) ? -1 : 0;
}

void lateness_free(struct lateness *lateness)
{
    free(lateness->us.bins);
    free(lateness->centideg.bins);
}

static void keep_worst(struct lateness *lateness, int64_t late_ns, int64_t late_mdeg, int64_t at_ns)
{
    if (late_ns > lateness->max_ns) {
        lateness->max_ns = late_ns;
        lateness->max_at_ns = at_ns;
    }
    if (late_mdeg > lateness->max_mdeg)
        lateness->max_mdeg = late_mdeg;
}

void lateness_add(struct lateness *lateness, int64_t due_ns, int64_t late_ns, int32_t position_ns)
{
    int64_t late_mdeg = late_ns * POSITION_MDEG / position_ns;
    lateness->count++;
    lateness->sum_ns += late_ns;
    lateness->missed += late_mdeg > lateness->tolerance_mdeg;
    lateness->us.bins[bin_of(&lateness->us, late_ns / 1000)]++;
    lateness->centideg.bins[bin_of(&lateness->centideg, late_mdeg / 10)]++;
    keep_worst(lateness, late_ns, late_mdeg, due_ns);
}

static void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    for (int64_t i = 0; i < histogram->limit + DOUBLINGS; i++)
        histogram->bins[i] += other->bins[i];
}

void lateness_merge(struct lateness *lateness, const struct lateness *other)
{
    lateness->count += other->count;
    lateness->missed += other->missed;
    lateness->sum_ns += other->sum_ns;
    histogram_merge(&lateness->us, &other->us);
    histogram_merge(&lateness->centideg, &other->centideg);
    keep_worst(lateness, other->max_ns, other->max_mdeg, other->max_at_ns);
}

double lateness_p99_us(const struct lateness *lateness)
{
    uint64_t left = lateness->count / 100; /* samples that may be later */
    double max_us = (double)lateness->max_ns / 1e3;
    for (int64_t bin = lateness->us.limit + DOUBLINGS - 1; bin >= 0; bin--) {
        if (lateness->us.bins[bin] > left) {
            double upper_us = (double)lower_edge(&lateness->us, bin + 1);
            return upper_us < max_us ? upper_us : max_us;
        }
        left -= lateness->us.bins[bin];
    }
    return max_us;
}

double lateness_average_us(const struct lateness *lateness)
{
    return lateness->count ? (double)lateness->sum_ns / (double)lateness->count / 1e3 : 0.0;
}

void histogram_print(const struct histogram *histogram, double unit, int decimals, FILE *out)
{
    const char *separator = "";
    fputc('{', out);
    for (int64_t bin = 0; bin < histogram->limit + DOUBLINGS; bin++) {
        if (!histogram->bins[bin])
            continue;
        double edge = (double)lower_edge(histogram, bin) * unit;
        fprintf(out, "%s\"%.*f\": %llu", separator, decimals, edge, (unsigned long long)histogram->bins[bin]);
        separator = ", ";
    }
    fputc('}', out);
}
