/*
 * ecu: an event-driven engine controller, as a real-time workload.
 *
 * A 60-2 trigger wheel (wheel.h) drives it. At each tooth's ideal instant a SCHED_FIFO thread wakes; once per revolution it
 * computes fuel and spark (engine.h); injectors and coils are switched at crank angles (controller.h), each by a thread of its own
 * (outputs.h). How late each of them was is counted in microseconds and in degrees of crank angle (lateness.h), and told as one
 * line of JSON (report.h). What is computed depends on ideal time and the seed alone, so its digest is the same everywhere.
 *
 *   rtvirt-ecu --help
 */
#define _GNU_SOURCE /* sched_setaffinity() */
#include "report.h"
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EXIT_RAN = 0, EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_LATE = 3 };
enum { KNOWN_SEED = 1, KNOWN_REVOLUTIONS = 50, MOST_HISTOGRAM_US = 100000, MOST_DIGEST_REVOLUTIONS = 1000000 };

/* Of 50 revolutions with seed 1; the same from gcc with glibc and with musl on arm64, armhf and x86_64. */
static const struct {
    const char *profile;
    uint64_t digest;
} known_digests[] = {
    {"idle", UINT64_C(0x0abd2814b1bd3395)},
    {"cruise", UINT64_C(0x406feca5dde20d21)},
    {"redline", UINT64_C(0xf44b87d5fa0e2f38)},
    {"ramp", UINT64_C(0x4d50ddf2bdb54f5e)},
    {"bursts", UINT64_C(0xadb23c16a4ac6963)},
    {"cycle", UINT64_C(0x2524de70794819f7)},
};

static const char help_head[] =
    "usage: ecu [--profile NAME | --rpm N] [--duration S | --forever] [option ...]\n"
    "\n"
    "An event-driven engine controller, to see how late a system is. A simulated 60-2 trigger wheel wakes it at every tooth;\n"
    "it computes fuel and spark for four cylinders and switches injectors and coils at their instants, from SCHED_FIFO threads.\n"
    "Prints one line of JSON at the end, also after SIGINT or SIGTERM: how late each kind of event was, in us and in degrees.\n"
    "\n"
    "what the engine does\n"
    "  --profile NAME             the speed over time (default: cycle):\n";
static const char help_tail[] =
    "  --rpm N                    a constant speed instead, 100 to 15000 RPM; above 9500 RPM the limiter cuts the fuel\n"
    "  --seed N                   of the variations of speed and sensors, 0 to 4294967295 (default: 1)\n"
    "\n"
    "how long\n"
    "  --duration S               no revolution begins after S seconds (default: 10); the last one is completed\n"
    "  --iterations N             nor after N revolutions\n"
    "  --forever                  until SIGINT or SIGTERM\n"
    "\n"
    "what counts as missed\n"
    "  --tolerance DEG            spark or dwell start later than this, in degrees of crank angle (default: 1.0)\n"
    "  --injection-tolerance DEG  injector switched later than this (default: 3.0)\n"
    "  --strict                   exit with status 3 if anything was missed or lost\n"
    "\n"
    "how it runs\n"
    "  --priority N               SCHED_FIFO priority of the outputs, 2 to 99; the wheel has one less (default: 80)\n"
    "  --cpu N                    on this core alone (default: as it was started)\n"
    "  --no-realtime              with ordinary scheduling and unlocked memory\n"
    "\n"
    "what it tells\n"
    "  --histogram US             bins of 1 us up to US, doubling ones above (default: 1000; at most 100000)\n"
    "  --digest-revolutions N     the digest covers the first N revolutions (default: 50; at most 1000000)\n"
    "  --summary                  also a table, on stderr\n"
    "  --help                     this text\n"
    "\n"
    "exit status\n"
    "  0  ran, whatever the verdict      1  computed something wrong\n"
    "  2  bad usage, or not permitted    3  --strict, and the verdict is fail\n"
    "\n"
    "examples\n"
    "  ecu --rpm 9000 --duration 60 --cpu 3 --summary    a minute at the red line, on core 3\n"
    "  ecu --no-realtime --profile idle --iterations 20  try it without privileges\n";

static void print_help(void)
{
    fputs(help_head, stdout);
    for (int i = 0; i < profile_count; i++)
        printf("                               %-9s%s\n", profiles[i].name, profiles[i].meaning);
    fputs(help_tail, stdout);
}

static double read_number(const char *option, const char *text, double lowest, double highest)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !(number >= lowest && number <= highest)) {
        fprintf(stderr, "ecu: --%s expects a number from %.9g to %.9g, not \"%s\".\n", option, lowest, highest, text);
        exit(EXIT_USAGE);
    }
    return number;
}

static int64_t read_integer(const char *option, const char *text, int64_t lowest, int64_t highest)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end || errno || number < lowest || number > highest) {
        fprintf(stderr, "ecu: --%s expects an integer from %lld to %lld, not \"%s\".\n", option, (long long)lowest,
                (long long)highest, text);
        exit(EXIT_USAGE);
    }
    return number;
}

static const char *read_profile(const char *text)
{
    if (!find_profile(text)) {
        fprintf(stderr, "ecu: --profile expects one of");
        for (int i = 0; i < profile_count; i++)
            fprintf(stderr, " %s", profiles[i].name);
        fprintf(stderr, ", not \"%s\".\n", text);
        exit(EXIT_USAGE);
    }
    return find_profile(text)->name;
}

enum choice {
    PROFILE, RPM, SEED, DURATION, ITERATIONS, FOREVER, TOLERANCE, INJECTION_TOLERANCE, STRICT,
    PRIORITY, CPU, NO_REALTIME, HISTOGRAM, DIGEST_REVOLUTIONS, SUMMARY, HELP,
};
static const struct option choices[] = {
    [PROFILE] = {"profile", required_argument, NULL, 0},
    [RPM] = {"rpm", required_argument, NULL, 0},
    [SEED] = {"seed", required_argument, NULL, 0},
    [DURATION] = {"duration", required_argument, NULL, 0},
    [ITERATIONS] = {"iterations", required_argument, NULL, 0},
    [FOREVER] = {"forever", no_argument, NULL, 0},
    [TOLERANCE] = {"tolerance", required_argument, NULL, 0},
    [INJECTION_TOLERANCE] = {"injection-tolerance", required_argument, NULL, 0},
    [STRICT] = {"strict", no_argument, NULL, 0},
    [PRIORITY] = {"priority", required_argument, NULL, 0},
    [CPU] = {"cpu", required_argument, NULL, 0},
    [NO_REALTIME] = {"no-realtime", no_argument, NULL, 0},
    [HISTOGRAM] = {"histogram", required_argument, NULL, 0},
    [DIGEST_REVOLUTIONS] = {"digest-revolutions", required_argument, NULL, 0},
    [SUMMARY] = {"summary", no_argument, NULL, 0},
    [HELP] = {"help", no_argument, NULL, 0},
    {NULL, 0, NULL, 0},
};

static void choose(struct options *options, enum choice choice, const char *text)
{
    const char *name = choices[choice].name;
    switch (choice) {
    case PROFILE: options->profile = read_profile(text); break;
    case RPM: options->rpm = (int32_t)read_integer(name, text, LOWEST_RPM, HIGHEST_RPM); break;
    case SEED: options->seed = (uint32_t)read_integer(name, text, 0, UINT32_MAX); break;
    case DURATION: options->duration_s = read_number(name, text, 0.001, 1e9); break;
    case ITERATIONS: options->revolutions = read_integer(name, text, 1, INT64_MAX); break;
    case FOREVER: options->duration_s = INFINITY; break;
    case TOLERANCE: options->tolerance_deg = read_number(name, text, 0.0, 360.0); break;
    case INJECTION_TOLERANCE: options->injection_tolerance_deg = read_number(name, text, 0.0, 360.0); break;
    case STRICT: options->strict = true; break;
    case PRIORITY: options->priority = (int)read_integer(name, text, 2, 99); break;
    case CPU: options->cpu = (int)read_integer(name, text, 0, CPU_SETSIZE - 1); break;
    case NO_REALTIME: options->realtime = false; break;
    case HISTOGRAM: options->histogram_us = read_integer(name, text, 1, MOST_HISTOGRAM_US); break;
    case DIGEST_REVOLUTIONS: options->digest_revolutions = read_integer(name, text, 1, MOST_DIGEST_REVOLUTIONS); break;
    case SUMMARY: options->summary = true; break;
    case HELP: print_help(); exit(EXIT_RAN);
    }
}

static void read_options(struct options *options, int argc, char **argv)
{
    bool given[HELP + 1] = {false};
    int choice = 0, found;
    opterr = 0;
    while ((found = getopt_long(argc, argv, "", choices, &choice)) == 0) {
        given[choice] = true;
        choose(options, (enum choice)choice, optarg);
    }
    const char *problem = NULL;
    if (found == '?' || optind < argc)
        problem = found == '?' ? argv[optind - 1] : argv[optind];
    if (problem)
        fprintf(stderr, "ecu: \"%s\" is not an option, or its value is missing; see ecu --help.\n", problem);
    else if (given[PROFILE] && given[RPM])
        fprintf(stderr, "ecu: --profile and --rpm exclude each other: give one of them.\n");
    else if (given[DURATION] && given[FOREVER])
        fprintf(stderr, "ecu: --duration and --forever exclude each other: give one of them.\n");
    else {
        if (given[RPM])
            options->profile = NULL;
        return;
    }
    exit(EXIT_USAGE);
}

static void stop(int signal_number)
{
    (void)signal_number;
    run_stop();
}

static void stop_at_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = stop;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

/* The file counts while it is open, and is closed when the program ends. Without permission the core may sleep deeply. */
static void keep_out_of_deep_idle_states(void)
{
    const int32_t latency_us = 0;
    int file = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);
    if (file >= 0 && write(file, &latency_us, sizeof latency_us) != sizeof latency_us)
        close(file);
}

static void settle(const struct options *options)
{
    if (options->cpu >= 0) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        CPU_SET(options->cpu, &cpus);
        if (sched_setaffinity(0, sizeof cpus, &cpus) == -1) {
            fprintf(stderr, "ecu: cannot run on core %d (%s): give --cpu a core that is online and allowed.\n", options->cpu,
                    strerror(errno));
            exit(EXIT_USAGE);
        }
    }
    if (options->realtime)
        keep_out_of_deep_idle_states();
    if (options->realtime && mlockall(MCL_CURRENT | MCL_FUTURE) == -1) {
        fprintf(stderr, "ecu: the kernel refuses to lock memory (%s): run as root, raise ulimit -l, or give --no-realtime.\n",
                strerror(errno));
        exit(EXIT_USAGE);
    }
}

/* True if this is not a digest that is known, or the right one. */
static bool is_as_known(const struct options *options, uint64_t digest)
{
    if (!options->profile || options->seed != KNOWN_SEED || options->digest_revolutions != KNOWN_REVOLUTIONS)
        return true;
    for (size_t i = 0; i < sizeof known_digests / sizeof known_digests[0]; i++)
        if (!strcmp(known_digests[i].profile, options->profile) && known_digests[i].digest != digest) {
            fprintf(stderr, "ecu: computed the digest %016llx, not %016llx as on other machines: this program was compiled wrongly, "
                    "or the processor errs.\n", (unsigned long long)digest, (unsigned long long)known_digests[i].digest);
            return false;
        }
    return true;
}

static void fail_without(const char *what, int error)
{
    fprintf(stderr, "ecu: %s (%s): run as root, raise ulimit -r, or give --no-realtime.\n", what, strerror(error));
    exit(EXIT_USAGE);
}

static int finish(const struct run *run, uint64_t digest, bool correct)
{
    if (!run->controller.digest.agrees)
        fprintf(stderr, "ecu: the run's commands are not those computed before it: memory or the processor errs.\n");
    correct = correct && run->controller.digest.agrees;
    print_json(run, digest, correct);
    if (run->options->summary)
        print_summary(run);
    if (!correct)
        return EXIT_WRONG;
    return run->options->strict && !passed(run) ? EXIT_LATE : EXIT_RAN;
}

int main(int argc, char **argv)
{
    struct options options = {
        .profile = "cycle", .duration_s = 10.0, .revolutions = INT64_MAX, .seed = KNOWN_SEED,
        .tolerance_deg = 1.0, .injection_tolerance_deg = 3.0, .priority = 80, .cpu = -1, .realtime = true,
        .histogram_us = 1000, .digest_revolutions = KNOWN_REVOLUTIONS,
    };
    read_options(&options, argc, argv);
    stop_at_signals();
    settle(&options);

    static struct run run;
    struct speed speed = {options.profile ? find_profile(options.profile) : NULL, options.rpm, options.seed};
    struct digest digest = {.revolutions = options.digest_revolutions};
    digest.after = calloc((size_t)digest.revolutions, sizeof *digest.after);
    uint64_t rehearsed = digest.after ? rehearse(&speed, &digest) : 0;
    if (!digest.after || run_init(&run, &options, &speed, &digest) == -1)
        fail_without("there is not enough memory that may be locked", ENOMEM);
    bool correct = is_as_known(&options, rehearsed);
    int error = run_all(&run);
    if (error)
        fail_without("the kernel refuses threads with SCHED_FIFO", error);
    int status = finish(&run, rehearsed, correct);
    run_free(&run);
    free(digest.after);
    return status;
}
