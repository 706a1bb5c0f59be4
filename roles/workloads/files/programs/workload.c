/*
 * The frame of the workloads: command line, signals, timing, random numbers, digests and the line of JSON at the end.
 *
 * A program's first answer is checked by the program's own check, against the digest known for seed 1 and against --expect;
 * each later answer must have the digest of the first. Only the iterations are timed, not setup and checks.
 */
#define _POSIX_C_SOURCE 200809L
#include "workload.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
    uint64_t iterations; /* 0: without end */
    enum workload_size size;
    uint32_t seed;
    const char *expected; /* a digest, or NULL */
};

struct result {
    uint64_t iterations;
    double seconds;
    uint64_t digest; /* of the first iteration */
};

static const char *const size_names[SIZES] = {"small", "large"};
static const char *program = "";
static volatile sig_atomic_t stopped;
static bool wrong;

static void complain(const char *format, va_list arguments)
{
    fprintf(stderr, "rtvirt-%s: ", program);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void workload_wrong(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!wrong)
        complain(format, arguments);
    va_end(arguments);
    wrong = true;
}

void workload_refuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(format, arguments);
    va_end(arguments);
    exit(2);
}

/* Xorshift (Marsaglia, 2003). */
uint32_t random_next(uint32_t *state)
{
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

uint32_t random_below(uint32_t *state, uint32_t limit)
{
    return (uint32_t)((uint64_t)random_next(state) * limit >> 32);
}

/* FNV-1a of 64 bits (Fowler, Noll and Vo). */
uint64_t digest_bytes(uint64_t digest, const void *bytes, size_t count)
{
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < count; i++)
        digest = (digest ^ byte[i]) * UINT64_C(0x100000001b3);
    return digest;
}

/* Numbers count as their bytes from the lowest to the highest, whatever the machine's byte order. */
uint64_t digest_u32(uint64_t digest, uint32_t value)
{
    const unsigned char bytes[4] = {value & 0xff, value >> 8 & 0xff, value >> 16 & 0xff, value >> 24};
    return digest_bytes(digest, bytes, sizeof bytes);
}

uint64_t digest_u64(uint64_t digest, uint64_t value)
{
    return digest_u32(digest_u32(digest, (uint32_t)value), (uint32_t)(value >> 32));
}

uint64_t digest_double(uint64_t digest, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return digest_u64(digest, bits);
}

static void show_help(const struct workload *workload)
{
    printf("usage: rtvirt-%s [--forever | --iterations N] [--size small|large] [--seed N] [--expect DIGEST]\n\n", program);
    printf("%s\n\n", workload->summary);
    printf("The same input is worked on again and again. At the end, also after SIGTERM, SIGINT or SIGHUP (when the\n"
           "iteration under way is finished), one line of JSON tells the number of iterations, the seconds they took,\n"
           "the digest of the answer and whether every answer was correct.\n\n");
    printf("options:\n"
           "  --forever         do not end before a signal comes\n"
           "  --iterations N    end after N iterations (default: 100)\n");
    printf("  --size SIZE       small: %s (default)\n"
           "                    large: %s\n", workload->inputs[SMALL], workload->inputs[LARGE]);
    printf("  --seed N          what the input is made from, 1 to 4294967295 (default: 1)\n"
           "  --expect DIGEST   the digest that the answer must have, 16 hex digits\n"
           "  --help            show this and end\n\n"
           "exit status:\n"
           "  0  every answer was correct\n"
           "  1  an answer was wrong\n"
           "  2  an option was wrong, or the program could not work\n\n");
    printf("example:\n"
           "  rtvirt-%s --iterations 10 --size large\n", program);
}

static uint64_t read_number(const char *option, const char *text, uint64_t highest)
{
    uint64_t number = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits > 0 && digits < 20 && !text[digits])
        number = strtoull(text, NULL, 10);
    if (number == 0 || number > highest)
        workload_refuse("%s expects a whole number from 1 to %" PRIu64 ", not \"%s\".", option, highest, text);
    return number;
}

static enum workload_size read_size(const char *text)
{
    for (int size = SMALL; size < SIZES; size++)
        if (!strcmp(text, size_names[size]))
            return (enum workload_size)size;
    workload_refuse("--size expects small or large, not \"%s\".", text);
    return SIZES;
}

static const char *read_digest(const char *text)
{
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        workload_refuse("--expect expects a digest of 16 hex digits in lower case, not \"%s\".", text);
    return text;
}

static bool takes_value(const char *option)
{
    static const char *const options[] = {"--iterations", "--size", "--seed", "--expect"};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (!strcmp(option, options[i]))
            return true;
    return false;
}

static void read_option(struct options *options, const char *option, const char *value)
{
    if (!strcmp(option, "--forever"))
        options->iterations = 0;
    else if (!strcmp(option, "--iterations"))
        options->iterations = read_number(option, value, UINT64_C(999999999999));
    else if (!strcmp(option, "--size"))
        options->size = read_size(value);
    else if (!strcmp(option, "--seed"))
        options->seed = (uint32_t)read_number(option, value, UINT32_MAX);
    else if (!strcmp(option, "--expect"))
        options->expected = read_digest(value);
    else
        workload_refuse("unknown option \"%s\"; --help shows those there are.", option);
}

static struct options read_options(const struct workload *workload, int argc, char **argv)
{
    struct options options = {.iterations = 100, .size = SMALL, .seed = 1, .expected = NULL};
    bool counted = false, forever = false;
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i];
        if (!strcmp(option, "--help")) {
            show_help(workload);
            exit(0);
        }
        counted = counted || !strcmp(option, "--iterations");
        forever = forever || !strcmp(option, "--forever");
        if (takes_value(option) && ++i == argc)
            workload_refuse("%s expects a value; --help shows which.", option);
        read_option(&options, option, argv[i]);
    }
    if (counted && forever)
        workload_refuse("--forever and --iterations exclude each other; give one of them.");
    return options;
}

static void stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

static void catch_signals(void)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction before, action;
    memset(&action, 0, sizeof action);
    action.sa_handler = stop;
    action.sa_flags = SA_RESTART;
    sigset_t caught;
    sigemptyset(&caught);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        sigaction(signals[i], NULL, &before);
        if (signals[i] == SIGHUP && before.sa_handler == SIG_IGN)
            continue; /* nohup */
        sigaction(signals[i], &action, NULL);
        sigaddset(&caught, signals[i]);
    }
    sigprocmask(SIG_UNBLOCK, &caught, NULL); /* whoever started the program may have blocked them */
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void check_first(const struct workload *workload, const struct options *options, uint64_t digest)
{
    if (!wrong)
        workload->check();
    uint64_t known = workload->known[options->size];
    if (options->seed == 1 && digest != known)
        workload_wrong("the answer's digest is %016" PRIx64 ", but %016" PRIx64 " is known for seed 1.", digest, known);
    if (options->expected && digest != strtoull(options->expected, NULL, 16))
        workload_wrong("the answer's digest is %016" PRIx64 ", but --expect says %s.", digest, options->expected);
}

static struct result run(const struct workload *workload, const struct options *options)
{
    struct result result = {0, 0, 0};
    while (!stopped && !wrong && (options->iterations == 0 || result.iterations < options->iterations)) {
        double began_s = now_s();
        uint64_t digest = workload->iterate();
        result.seconds += now_s() - began_s;
        if (result.iterations++ == 0) {
            result.digest = digest;
            check_first(workload, options, digest);
        } else if (digest != result.digest) {
            workload_wrong("iteration %" PRIu64 " has the digest %016" PRIx64 ", but the first has %016" PRIx64 ".",
                           result.iterations, digest, result.digest);
        }
    }
    return result;
}

static void print_result(const struct options *options, const struct result *result)
{
    char digest[17] = "";
    if (result->iterations)
        snprintf(digest, sizeof digest, "%016" PRIx64, result->digest);
    double each_s = result->iterations ? result->seconds / (double)result->iterations : 0;
    printf("{\"workload\": \"%s\", \"size\": \"%s\", \"seed\": %" PRIu32 ", \"iterations\": %" PRIu64
           ", \"seconds\": %.6f, \"seconds_per_iteration\": %.9f, \"digest\": \"%s\", \"correct\": %s}\n",
           program, size_names[options->size], options->seed, result->iterations,
           result->seconds, each_s, digest, wrong ? "false" : "true");
    if (fflush(stdout))
        workload_refuse("the result could not be written to standard output.");
}

int workload_main(const struct workload *workload, int argc, char **argv)
{
    program = workload->name;
    struct options options = read_options(workload, argc, argv);
    catch_signals();
    workload->setup(options.size, options.seed);
    struct result result = run(workload, &options);
    print_result(&options, &result);
    return wrong;
}
