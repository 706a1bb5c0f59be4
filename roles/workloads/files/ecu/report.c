/* JSON and table: see report.h. */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const kind_names[KINDS] = {"injector_open", "injector_close", "dwell_start", "spark"};

static double rpm_of(int64_t revolution_ns)
{
    return 60e9 / (double)revolution_ns;
}

bool passed(const struct run *run)
{
    uint64_t bad = run->teeth.lost;
    for (int kind = 0; kind < KINDS; kind++)
        bad += run->events[kind].lost + run->events[kind].lateness.missed;
    return bad == 0;
}

static uint64_t events_done(const struct run *run)
{
    uint64_t done = run->teeth.lateness.count;
    for (int kind = 0; kind < KINDS; kind++)
        done += run->events[kind].lateness.count;
    return done;
}

static double cost_us_per_event(const struct run *run)
{
    uint64_t done = events_done(run);
    return done ? (double)run->cpu_ns / (double)done / 1e3 : 0.0;
}

static void print_event(const char *name, const struct count *count)
{
    const struct lateness *lateness = &count->lateness;
    printf("\"%s\": {\"expected\": %" PRIu64 ", \"fired\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"missed\": %" PRIu64, name,
           count->expected, lateness->count, count->lost, lateness->missed);
    printf(", \"avg_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f, \"max_deg\": %.3f, \"max_at_s\": %.6f, \"histogram_us\": ",
           lateness_average_us(lateness), lateness_p99_us(lateness), (double)lateness->max_ns / 1e3,
           (double)lateness->max_mdeg / 1e3, (double)lateness->max_at_ns / 1e9);
    histogram_print(&lateness->us, 1.0, 0, stdout);
    printf(", \"histogram_deg\": ");
    histogram_print(&lateness->centideg, 0.01, 2, stdout);
    putchar('}');
}

/* Of whole revolutions; before there is one, of the speed at the start. */
static void print_rpm(const struct run *run)
{
    int64_t begin_ns = (int64_t)run->controller.wheel.position_ns * POSITIONS;
    int64_t fastest_ns = run->fastest_ns ? run->fastest_ns : begin_ns, slowest_ns = run->slowest_ns ? run->slowest_ns : begin_ns;
    double mean_ns = run->whole_revolutions ? (double)run->tooth_0_ns / (double)run->whole_revolutions : (double)begin_ns;
    printf("\"rpm\": {\"min\": %.3f, \"max\": %.3f, \"mean\": %.3f}, ", rpm_of(slowest_ns), rpm_of(fastest_ns), 60e9 / mean_ns);
}

void print_json(const struct run *run, uint64_t digest, bool correct)
{
    const struct options *options = run->options;
    const struct controller *controller = &run->controller;
    printf("{\"workload\": \"ecu\", \"profile\": \"%s\", \"seed\": %" PRIu32 ", \"seconds\": %.6f, ",
           options->profile ? options->profile : "constant", options->seed, (double)run->end_ns / 1e9);
    printf("\"revolutions\": %" PRId64 ", \"lost_revolutions\": %" PRId64 ", ", run->revolutions, run->lost_revolutions);
    printf("\"teeth\": {\"expected\": %" PRIu64 ", \"seen\": %" PRIu64 ", \"lost\": %" PRIu64 "}, ", run->teeth.expected,
           run->teeth.lateness.count, run->teeth.lost);
    print_rpm(run);
    printf("\"events\": {");
    print_event("tooth", &run->teeth);
    for (int kind = 0; kind < KINDS; kind++) {
        printf(", ");
        print_event(kind_names[kind], &run->events[kind]);
    }
    printf("}, \"tolerance_deg\": %.3f, \"injection_tolerance_deg\": %.3f, \"verdict\": \"%s\", ", options->tolerance_deg,
           options->injection_tolerance_deg, passed(run) ? "pass" : "fail");
    printf("\"realtime\": %s, \"priority\": %d, ", options->realtime ? "true" : "false", options->realtime ? options->priority : 0);
    printf("\"iterations\": %" PRId64 ", \"seconds_per_iteration\": %.9f, ", controller->computed,
           (double)controller->computing_ns / (double)controller->computed / 1e9);
    printf("\"cost_us_per_event\": %.3f, \"digest_revolutions\": %" PRId64 ", \"digest\": \"%016" PRIx64 "\", \"correct\": %s}\n",
           cost_us_per_event(run), options->digest_revolutions, digest, correct ? "true" : "false");
}

static void summarize_event(const char *name, const struct count *count)
{
    const struct lateness *lateness = &count->lateness;
    fprintf(stderr, "%-15s %10" PRIu64 " %10" PRIu64 " %8" PRIu64 " %8" PRIu64 " %9.1f %9.1f %9.1f %9.3f\n", name, count->expected,
            lateness->count, count->lost, lateness->missed, lateness_average_us(lateness), lateness_p99_us(lateness),
            (double)lateness->max_ns / 1e3, (double)lateness->max_mdeg / 1e3);
}

void print_summary(const struct run *run)
{
    fprintf(stderr, "%-15s %10s %10s %8s %8s %9s %9s %9s %9s\n", "event", "expected", "fired", "lost", "missed", "avg us", "p99 us",
            "max us", "max deg");
    summarize_event("tooth", &run->teeth);
    for (int kind = 0; kind < KINDS; kind++)
        summarize_event(kind_names[kind], &run->events[kind]);
    fprintf(stderr, "%" PRId64 " revolutions in %.3f s, %" PRId64 " of them lost; %.2f us of processor time per event: %s\n",
            run->revolutions, (double)run->end_ns / 1e9, run->lost_revolutions, cost_us_per_event(run),
            passed(run) ? "pass" : "fail");
}
