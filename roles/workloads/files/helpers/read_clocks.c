/*
 * read-clocks: what this machine's clocks are at one instant, as rows of a reply.
 *
 *   @row clocks raw_ns=N real_ns=N error_ns=N     CLOCK_MONOTONIC_RAW, the clock of traces, and CLOCK_REALTIME to so much
 *   @row ptp raw_ns=N host_real_ns=N              in a guest: CLOCK_REALTIME of its host at an instant of its own clock (PTP_KVM), a few times
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PTP "/sys/class/ptp"
#define NAME "KVM virtual PTP"

enum { READS = 200, SAMPLES = 5 };

/* As linux/ptp_clock.h has it, which the C library of these programs does not bring. */
struct ptp_time {
    int64_t s;
    uint32_t ns, reserved;
};
struct ptp_instant {
    struct ptp_time device, realtime, monotonic_raw;
    uint32_t reserved[4];
};
#define PTP_SYS_OFFSET_PRECISE _IOWR('=', 8, struct ptp_instant)

static long long read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long in_ns(struct ptp_time time)
{
    return time.s * 1000000000LL + time.ns;
}

/* The reading between two others that lie closest. */
static void say_own_clocks(void)
{
    long long raw = 0, real = 0, error = LLONG_MAX;
    for (int n = 0; n < READS; n++) {
        const long long before = read_clock(CLOCK_MONOTONIC_RAW), between = read_clock(CLOCK_REALTIME);
        const long long after = read_clock(CLOCK_MONOTONIC_RAW);
        if ((after - before + 1) / 2 >= error)
            continue;
        error = (after - before + 1) / 2;
        raw = before + (after - before) / 2;
        real = between;
    }
    printf("@row clocks raw_ns=%lld real_ns=%lld error_ns=%lld\n", raw, real, error);
}

static void say_host_clock(const char *device)
{
    char path[PATH_MAX];
    struct ptp_instant both;
    snprintf(path, sizeof path, "/dev/%s", device);
    const int clock = open(path, O_RDONLY);
    if (clock < 0)
        return;
    for (int n = 0; n < SAMPLES; n++) {
        memset(&both, 0, sizeof both);
        if (ioctl(clock, PTP_SYS_OFFSET_PRECISE, &both))
            break;
        printf("@row ptp raw_ns=%lld host_real_ns=%lld\n", in_ns(both.monotonic_raw), in_ns(both.device));
    }
    close(clock);
}

static int is_kvm(const char *device)
{
    char path[PATH_MAX], name[64] = "";
    snprintf(path, sizeof path, PTP "/%s/clock_name", device);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    const int is_read = fgets(name, sizeof name, file) != NULL;
    fclose(file);
    return is_read && strncmp(name, NAME, strlen(NAME)) == 0;
}

int main(void)
{
    say_own_clocks();
    DIR *devices = opendir(PTP);
    for (const struct dirent *device; devices && (device = readdir(devices));)
        if (is_kvm(device->d_name))
            say_host_clock(device->d_name);
    return 0;
}
