/*
 * Stop this emulated machine at one instruction, so that its state can be saved and later machines can go on from there.
 *
 * A write to QEMU's device pvpanic-pci (docs/specs/pvpanic.rst) says that the system has panicked. With -action panic=pause QEMU then stands still
 * until it is told to continue, with -action panic=none nothing happens. Both must be the same to the machine. So core 0 runs this program
 * when it stops, all others sleep, and all sleep once it has gone on: then nothing depends on how QEMU divides time among vCPUs.
 *
 * QEMU's vCPUs take turns on one thread, so time that another one took shows as a gap between two readings of the clock. So does the
 * time that QEMU lets pass when its main thread comes late: with this vCPU stopped, none has anything to do until the next timer.
 * The device has no event but this where QEMU is to stop, and more where it is not.
 * Exit status: 0, also when the machine was not stopped; 1 when it has no such device; 2 when time has passed while it stood still.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PANICKED = 1, PAGE = 4096, GAPS_PER_MS = 500 };

static int holds(const char *folder, const char *name, const char *wanted)
{
    char path[256], found[16] = "";
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "r");
    if (file == NULL)
        return 0;
    if (fgets(found, sizeof found, file) == NULL)
        found[0] = '\0';
    fclose(file);
    return strncmp(found, wanted, strlen(wanted)) == 0;
}

static volatile unsigned char *registers(void)
{
    glob_t devices;
    char path[256];
    unsigned char *mapped = MAP_FAILED;
    unsigned long start = 0;

    if (glob("/sys/bus/pci/devices/*", 0, NULL, &devices) != 0)
        return NULL;
    for (size_t i = 0; i < devices.gl_pathc && mapped == MAP_FAILED; i++) {
        const char *folder = devices.gl_pathv[i];
        FILE *enable, *resource;
        int file;

        if (!holds(folder, "vendor", "0x1b36") || !holds(folder, "device", "0x0011"))
            continue;
        snprintf(path, sizeof path, "%s/enable", folder);
        enable = fopen(path, "w");
        if (enable == NULL || fputs("1", enable) == EOF || fclose(enable) != 0)
            break;
        snprintf(path, sizeof path, "%s/resource", folder);
        resource = fopen(path, "r");
        if (resource == NULL || fscanf(resource, "%lx", &start) != 1 || fclose(resource) != 0)
            break;
        snprintf(path, sizeof path, "%s/resource0", folder);
        file = open(path, O_RDWR | O_SYNC);
        if (file < 0)
            break;
        mapped = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
    }
    globfree(&devices);
    return mapped == MAP_FAILED ? NULL : mapped + start % PAGE;
}

/* The counter that Linux' clocks count, read without a call of anything: what is to be seen are gaps of a microsecond. */
static unsigned long now(void)
{
    unsigned long count;

    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(count) : : "memory");
    return count;
}

static unsigned long per_ms(void)
{
    unsigned long hertz;

    __asm__("mrs %0, cntfrq_el0" : "=r"(hertz));
    return hertz / 1000;
}

/* Run until nothing else has run for a third of a millisecond, at most for a second. */
static void wait_until_alone(void)
{
    const unsigned long began = now(), gap = per_ms() / GAPS_PER_MS;
    unsigned long alone_since = began, before = began, at;

    do {
        at = now();
        if (at - before > gap)
            alone_since = at;
        before = at;
    } while (at - alone_since < per_ms() / 3 && at - began < per_ms() * 1000);
}

int main(void)
{
    const struct timespec until_all_sleep = {1, 0};
    volatile unsigned char *events = registers();
    cpu_set_t core_0;
    unsigned long before;
    int may_stop;

    if (events == NULL) {
        fputs("save_point: this machine has no pvpanic-pci\n", stderr);
        return 1;
    }
    CPU_ZERO(&core_0);
    CPU_SET(0, &core_0);
    sched_setaffinity(0, sizeof core_0, &core_0);
    nanosleep(&until_all_sleep, NULL);
    may_stop = *events == PANICKED;
    wait_until_alone();
    before = now();
    *events = PANICKED;
    if (now() - before > per_ms() / GAPS_PER_MS && may_stop)
        return 2;
    nanosleep(&until_all_sleep, NULL);
    return 0;
}
